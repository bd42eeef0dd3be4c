"""Makes transformers' decoder layers and vision blocks fast to train on a CPU, with the same values.

`install()` swaps their forward passes for fused, compiled ones: all experts as one dense product (an expert that the router did not pick
gets weight zero), q, k and v as one product, attention written out for short sequences, no KV cache. Batches must be padded on the right,
so that the causal mask suffices. Products are in bfloat16 where the processor has it (elsewhere it is much
slower than float32), the residual stream, norms and router in float32.
"""

import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as modeling

HALF = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def autocast():
    """Products in transformers' own modules, in the same type."""
    return torch.autocast("cpu", torch.bfloat16, enabled=HALF == torch.bfloat16)


GUIDED = {}  # layer: heads whose attention scores are kept in SCORES, by layer; only without compilation
SCORES, NOW = {}, [None]


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
    if GUIDED and NOW[0] in GUIDED:
        SCORES[NOW[0]] = scores[:, GUIDED[NOW[0]]]
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


class Picked(torch.autograd.Function):
    """`experts` over the picked ones only, half the work: for processors that are limited by products."""

    @staticmethod
    def forward(ctx, x, odds, gate_up, down):
        inner = down.shape[-1]
        y, kept = torch.zeros_like(x), []
        x, gate_up, down = x.to(HALF), gate_up.to(HALF), down.to(HALF)
        for e in range(len(gate_up)):
            rows = odds[:, e].nonzero()[:, 0]
            part = x[rows]
            up = part @ gate_up[e].mT
            a, b = up[:, :inner], up[:, inner:]
            act = F.silu(a) * b
            out = act @ down[e].mT
            y.index_add_(0, rows, out.float() * odds[rows, e, None])
            kept += [rows, part, up]
        ctx.save_for_backward(odds, gate_up, down, *kept)
        return y

    @staticmethod
    def backward(ctx, grad):
        odds, gate_up, down, *kept = ctx.saved_tensors
        inner = down.shape[-1]
        gx, godds = torch.zeros_like(grad), torch.zeros_like(odds)
        gup, gdown = torch.empty_like(gate_up, dtype=torch.float32), torch.empty_like(down, dtype=torch.float32)
        for e in range(len(gate_up)):
            rows, part, up = kept[3 * e : 3 * e + 3]
            a, b = up[:, :inner], up[:, inner:]
            s = torch.sigmoid(a)
            silu = a * s
            act = silu * b
            g, w = grad[rows], odds[rows, e, None]
            back = g.to(HALF) @ down[e]  # before the router's weight
            godds[rows, e] = (back * act).float().sum(-1)
            gdown[e] = (g * w).to(HALF).mT @ act
            back = back * w.to(HALF)
            gate = torch.cat((back * b * (s + silu * (1 - s)), back * silu), -1)
            gup[e] = gate.mT @ part
            gx.index_add_(0, rows, (gate @ gate_up[e]).float())
        return gx, godds, gup, gdown


def picked(x, gate, gate_up, down, chosen):
    odds = (x @ gate.mT).softmax(-1)
    odds = torch.where(odds >= odds.topk(chosen).values[:, -1:], odds, 0)
    return Picked.apply(x, odds / odds.sum(-1, keepdim=True), gate_up, down)


def dense(x, gate, up, down):
    both = linear(x, torch.cat((gate, up)))
    a, b = both.chunk(2, -1)
    return linear(F.silu(a.float()) * b, down)


def _attention_part(h, cos, sin, first, second, qkv, out, q_norm, k_norm, heads: int, kv: int, eps: float):
    """Residual stream after attention, and its norm for what follows [tokens, hidden]."""
    h = h + attend(rms(h, first, eps), cos, sin, torch.cat(qkv), out, q_norm, k_norm, heads, kv, eps)
    return h, rms(h, second, eps).flatten(0, 1)


def _shared_part(x, shared):
    return torch.sigmoid(x @ shared[3].mT) * dense(x, *shared[:3])


def _sparse_layer(h, cos, sin, weights, gate, gate_up, down, shared, chosen: int, heads: int, kv: int, eps: float):
    h, x = _attention_part(h, cos, sin, *weights, heads, kv, eps)
    y = experts(x, gate, gate_up, down, chosen).float()
    if shared is not None:
        y = y + _shared_part(x, shared)
    return h + y.view_as(h)


def _picked_layer(h, cos, sin, weights, gate, gate_up, down, shared, chosen: int, heads: int, kv: int, eps: float):
    h, x = COMPILED[_attention_part](h, cos, sin, *weights, heads, kv, eps)
    y = picked(x, gate, gate_up, down, chosen)
    if shared is not None:
        y = y + COMPILED[_shared_part](x, shared)
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
    m, shared, NOW[0] = self.mlp, None, self.self_attn.layer_idx
    if hasattr(m, "shared_expert"):
        s = m.shared_expert
        shared = (s.gate_proj.weight, s.up_proj.weight, s.down_proj.weight, m.shared_expert_gate.weight)
    with torch.autocast("cpu", enabled=False):
        cos, sin = (p.float() for p in position_embeddings)
        layer = COMPILED[_sparse_layer] if COMPILED[_sparse_layer] is not _sparse_layer else _picked_layer
        return layer(hidden_states.float(), cos, sin, weights, m.gate.weight, m.experts.gate_up_proj, m.experts.down_proj, shared, m.gate.top_k, *shape)


def dense_forward(self, hidden_states, position_embeddings=None, **kwargs):
    weights, shape = _attention_of(self)
    m = self.mlp
    with torch.autocast("cpu", enabled=False):
        cos, sin = (p.float() for p in position_embeddings)
        return COMPILED[_dense_layer](hidden_states.float(), cos, sin, *weights, m.gate_proj.weight, m.up_proj.weight, m.down_proj.weight, *shape)


def vision_forward(self, hidden_states, cu_seqlens, position_embeddings=None, **kwargs):
    """All images of a batch at once; they must be of one size, as in the batches here."""
    pair = lambda m: (m.weight, m.bias)
    with torch.autocast("cpu", enabled=False):
        cos, sin = (p.float() for p in position_embeddings)
        return COMPILED[_vision_block](hidden_states.float(), cos, sin, len(cu_seqlens) - 1, self.attn.num_heads, pair(self.norm1), pair(self.norm2), pair(self.attn.qkv), pair(self.attn.proj), pair(self.mlp.linear_fc1), pair(self.mlp.linear_fc2))


def patch_forward(self, hidden_states):
    """The patch convolution as one product: kernel and stride are the patch."""
    return F.linear(hidden_states.flatten(1), self.proj.weight.flatten(1), self.proj.bias)


def install(dynamic):
    """dynamic: one slow compilation for all sizes of batches (in float32 none, it takes more than it gives; nor with EAGER in the environment); otherwise a quick one for each, so let there be few."""
    functions = (_sparse_layer, _attention_part, _shared_part, _dense_layer, _vision_block)
    plain = dynamic and (HALF == torch.float32 or "EAGER" in os.environ)
    COMPILED.update({f: f if plain else torch.compile(f, dynamic=dynamic) for f in functions})
    modeling.Qwen3OmniMoeVisionBlock.forward = vision_forward
    modeling.Qwen3OmniMoeVisionPatchEmbed.forward = patch_forward
    modeling.Qwen3OmniMoeThinkerTextDecoderLayer.forward = sparse_forward
    modeling.Qwen3OmniMoeTalkerDecoderLayer.forward = sparse_forward
    modeling.Qwen3OmniMoeTalkerCodePredictorDecoderLayer.forward = dense_forward


def eager(module):
    """Plain attention in transformers' remaining modules: faster than the fused CPU kernel's backward pass for short sequences."""
    for m in module.modules():
        if hasattr(m, "config") and hasattr(m.config, "_attn_implementation"):
            m.config._attn_implementation = "eager"


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton-Schulz for weight matrices (stacks of them too), AdamW for the rest, one learning rate for both.

    The update's scale is matched to AdamW's (0.2 * sqrt(larger side)). Learns faster per sample here.
    """

    def __init__(self, params, lr, betas=(0.9, 0.98), weight_decay=0.02, momentum=0.95):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum, "muon": False})

    @staticmethod
    def orthogonal(g):
        x = g.to(HALF)
        flip = x.shape[-2] > x.shape[-1]
        if flip:
            x = x.mT
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for a, b, c in ((3.4445, -4.7750, 2.0315),) * 4:
            gram = x @ x.mT
            x = a * x + (b * gram + c * gram @ gram) @ x
        return (x.mT if flip else x).float()

    def updates(self, group):
        """Orthogonal updates of a group's matrices, by their index in it; several processes share the work."""
        out, ranks, rank = {}, dist.get_world_size() if dist.is_initialized() else 1, dist.get_rank() if dist.is_initialized() else 0
        for i, p in enumerate(group["params"]):
            if p.grad is None:
                continue
            s = self.state[p]
            if "m" not in s:
                s["m"] = torch.zeros_like(p)
            s["m"].mul_(group["momentum"]).add_(p.grad)
            out[i] = self.orthogonal(p.grad + group["momentum"] * s["m"]) if len(out) % ranks == rank else torch.zeros_like(p)
        if ranks > 1 and out:
            flat = torch.cat([u.flatten() for u in out.values()])
            dist.all_reduce(flat)
            out = {i: u.view_as(group["params"][i]) for i, u in zip(out, flat.split([u.numel() for u in out.values()]))}
        return out

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, wd = group["lr"], group["weight_decay"]
            if group["muon"]:
                for i, update in self.updates(group).items():
                    p = group["params"][i]
                    p.mul_(1 - lr * wd).add_(update, alpha=-lr * 0.2 * max(p.shape[-2:]) ** 0.5)
                continue
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
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
