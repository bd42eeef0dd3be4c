"""Makes transformers' decoder layers and vision blocks quick to train on a CPU, with the same values.

`install()` swaps their forward passes for fused, compiled ones: all experts as one dense product (an expert that the router did not pick
gets weight zero), q, k and v as one product, attention written out for short sequences, no KV cache. Batches must be padded on the right,
so that causality is all the mask there is. Products are in bfloat16, the residual stream, norms and router in float32.
"""

import torch
import torch.nn.functional as F
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as modeling

HALF = torch.bfloat16


def rms(x, weight, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def turn(x, cos, sin):
    """Rotary positions; x [batch, tokens, heads, head_dim]."""
    a, b = x.chunk(2, -1)
    return x * cos[:, :, None] + torch.cat((-b, a), -1) * sin[:, :, None]


def linear(x, weight):
    return x.to(HALF) @ weight.to(HALF).mT


def attend(x, cos, sin, qkv, out, q_norm, k_norm, heads: int, shared: int, eps: float):
    """Causal self-attention of x [batch, tokens, hidden]; `shared` key and value heads."""
    b, n, _ = x.shape
    size = q_norm.shape[0]
    q, k, v = linear(x, qkv).view(b, n, heads + 2 * shared, size).split((heads, shared, shared), 2)
    q, k = turn(rms(q.float(), q_norm, eps), cos, sin).to(HALF), turn(rms(k.float(), k_norm, eps), cos, sin).to(HALF)
    q = q.transpose(1, 2).reshape(b, shared, heads // shared * n, size)
    scores = (q @ k.permute(0, 2, 3, 1)).float().view(b, heads, n, n) * size**-0.5
    scores = scores + torch.full((n, n), -1e9, device=x.device).triu(1)
    mixed = scores.softmax(-1).to(HALF).view(b, shared, heads // shared * n, n) @ v.transpose(1, 2)
    return linear(mixed.view(b, heads, n, size).transpose(1, 2).reshape(b, n, heads * size), out)


def experts(x, gate, gate_up, down, chosen: int):
    """x [tokens, hidden], gate [experts, hidden], gate_up [experts, 2 * inner, hidden], down [experts, hidden, inner]."""
    count, double, hidden = gate_up.shape
    odds = (x @ gate.mT).softmax(-1)
    odds = torch.where(odds >= odds.topk(chosen).values[:, -1:], odds, 0)
    odds = odds / odds.sum(-1, keepdim=True)
    up = linear(x, gate_up.reshape(count * double, hidden)).view(-1, count, double)
    inner = F.silu(up[..., : double // 2].float()) * up[..., double // 2 :] * odds[..., None]
    return inner.to(HALF).reshape(-1, count * double // 2) @ down.to(HALF).permute(0, 2, 1).reshape(count * double // 2, hidden)


def dense(x, gate, up, down):
    both = linear(x, torch.cat((gate, up)))
    a, b = both.chunk(2, -1)
    return linear(F.silu(a.float()) * b, down)


def _sparse_layer(h, cos, sin, first, second, qkv, out, q_norm, k_norm, gate, gate_up, down, shared, chosen: int, heads: int, kv: int, eps: float):
    qkv = torch.cat(qkv)
    h = h + attend(rms(h, first, eps), cos, sin, qkv, out, q_norm, k_norm, heads, kv, eps)
    x = rms(h, second, eps).flatten(0, 1)
    y = experts(x, gate, gate_up, down, chosen).float()
    if shared is not None:
        y = y + torch.sigmoid(x @ shared[3].mT) * dense(x, *shared[:3])
    return h + y.view_as(h)


def _dense_layer(h, cos, sin, first, second, qkv, out, q_norm, k_norm, gate, up, down, heads: int, kv: int, eps: float):
    h = h + attend(rms(h, first, eps), cos, sin, torch.cat(qkv), out, q_norm, k_norm, heads, kv, eps)
    return h + dense(rms(h, second, eps), gate, up, down)


def _vision_block(h, cos, sin, pictures: int, heads: int, n1, n2, qkv, proj, fc1, fc2):
    def affine(x, pair):
        return linear(x, pair[0]) + pair[1]

    n, hidden = h.shape
    size = hidden // heads
    q, k, v = affine(F.layer_norm(h, (hidden,), *n1, 1e-6), qkv).view(pictures, n // pictures, 3, heads, size).unbind(2)
    cos, sin = cos.view(pictures, -1, size), sin.view(pictures, -1, size)
    q, k = turn(q.float(), cos, sin).to(HALF), turn(k.float(), cos, sin).to(HALF)
    scores = (q.transpose(1, 2) @ k.permute(0, 2, 3, 1)).float() * size**-0.5
    mixed = (scores.softmax(-1).to(HALF) @ v.to(HALF).transpose(1, 2)).transpose(1, 2).reshape(n, hidden)
    h = h + affine(mixed, proj)
    return h + affine(F.gelu(affine(F.layer_norm(h, (hidden,), *n2, 1e-6), fc1).float(), approximate="tanh"), fc2)


COMPILED = {}
torch._dynamo.config.recompile_limit = 64


def _attention_of(layer):
    a = layer.self_attn
    weights = ((a.q_proj.weight, a.k_proj.weight, a.v_proj.weight), a.o_proj.weight, a.q_norm.weight, a.k_norm.weight)
    return (layer.input_layernorm.weight, layer.post_attention_layernorm.weight, *weights), (a.config.num_attention_heads, a.config.num_key_value_heads, a.config.rms_norm_eps)


def sparse_forward(self, hidden_states, position_embeddings=None, **kwargs):
    weights, shape = _attention_of(self)
    m, shared = self.mlp, None
    if hasattr(m, "shared_expert"):
        s = m.shared_expert
        shared = (s.gate_proj.weight, s.up_proj.weight, s.down_proj.weight, m.shared_expert_gate.weight)
    with torch.autocast("cpu", enabled=False):
        cos, sin = (p.float() for p in position_embeddings)
        return COMPILED[_sparse_layer](hidden_states.float(), cos, sin, *weights, m.gate.weight, m.experts.gate_up_proj, m.experts.down_proj, shared, m.gate.top_k, *shape)


def dense_forward(self, hidden_states, position_embeddings=None, **kwargs):
    weights, shape = _attention_of(self)
    m = self.mlp
    with torch.autocast("cpu", enabled=False):
        cos, sin = (p.float() for p in position_embeddings)
        return COMPILED[_dense_layer](hidden_states.float(), cos, sin, *weights, m.gate_proj.weight, m.up_proj.weight, m.down_proj.weight, *shape)


def vision_forward(self, hidden_states, cu_seqlens, position_embeddings=None, **kwargs):
    """All pictures of a batch at once; they must be of one size, as the batches here are."""
    pair = lambda m: (m.weight, m.bias)
    with torch.autocast("cpu", enabled=False):
        cos, sin = (p.float() for p in position_embeddings)
        return COMPILED[_vision_block](hidden_states.float(), cos, sin, len(cu_seqlens) - 1, self.attn.num_heads, pair(self.norm1), pair(self.norm2), pair(self.attn.qkv), pair(self.attn.proj), pair(self.mlp.linear_fc1), pair(self.mlp.linear_fc2))


def patch_forward(self, hidden_states):
    """The patch convolution as the product that it is: kernel and stride are the patch."""
    return F.linear(hidden_states.flatten(1), self.proj.weight.flatten(1), self.proj.bias)


def install(dynamic):
    """dynamic: one slow compilation for all sizes of batches; otherwise a quick one for each, so let there be few."""
    COMPILED.update({f: torch.compile(f, dynamic=dynamic) for f in (_sparse_layer, _dense_layer, _vision_block)})
    modeling.Qwen3OmniMoeVisionBlock.forward = vision_forward
    modeling.Qwen3OmniMoeVisionPatchEmbed.forward = patch_forward
    modeling.Qwen3OmniMoeThinkerTextDecoderLayer.forward = sparse_forward
    modeling.Qwen3OmniMoeTalkerDecoderLayer.forward = sparse_forward
    modeling.Qwen3OmniMoeTalkerCodePredictorDecoderLayer.forward = dense_forward


def eager(module):
    """Plain attention in what is left to transformers: quicker than the fused CPU kernel's backward pass for short sequences."""
    for m in module.modules():
        if hasattr(m, "config") and hasattr(m.config, "_attn_implementation"):
            m.config._attn_implementation = "eager"


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton-Schulz for weight matrices (stacks of them too), AdamW for the rest, one learning rate for both.

    The update's scale is matched to AdamW's (0.2 * sqrt(larger side)). Learns about twice as fast per sample here.
    """

    def __init__(self, params, lr, betas=(0.9, 0.98), weight_decay=0.02, momentum=0.95):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum, "muon": False})

    @staticmethod
    def orthogonal(g):
        x = g.bfloat16()
        flip = x.shape[-2] > x.shape[-1]
        if flip:
            x = x.mT
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for a, b, c in ((3.4445, -4.7750, 2.0315),) * 4:
            gram = x @ x.mT
            x = a * x + (b * gram + c * gram @ gram) @ x
        return (x.mT if flip else x).float()

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, wd = group["lr"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if group["muon"]:
                    if "m" not in s:
                        s["m"] = torch.zeros_like(p)
                    s["m"].mul_(group["momentum"]).add_(p.grad)
                    g = p.grad + group["momentum"] * s["m"]
                    p.mul_(1 - lr * wd).add_(self.orthogonal(g), alpha=-lr * 0.2 * max(p.shape[-2:]) ** 0.5)
                else:
                    if "m" not in s:
                        s["m"], s["v"], s["t"] = torch.zeros_like(p), torch.zeros_like(p), 0
                    s["t"] += 1
                    b1, b2 = group["betas"]
                    s["m"].lerp_(p.grad, 1 - b1)
                    s["v"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                    rate = lr * (1 - b2 ** s["t"]) ** 0.5 / (1 - b1 ** s["t"])
                    p.mul_(1 - lr * (wd if p.dim() > 1 else 0)).addcdiv_(s["m"], s["v"].sqrt().add_(1e-8), value=-rate)


def optimizer(module, lr):
    """Muon over a module's hidden matrices; embeddings, output heads, convolutions and vectors under AdamW."""
    matrices, rest = [], []
    for name, p in module.named_parameters():
        if p.requires_grad:
            plain = any(k in name for k in ("embed", "head", "conv", "patch", ".gate.weight", "pos_"))
            (matrices if p.dim() in (2, 3) and min(p.shape[-2:]) > 8 and not plain else rest).append(p)
    return Muon([{"params": matrices, "muon": True}, {"params": rest}], lr)
