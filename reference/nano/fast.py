"""Makes transformers' experts quick to train on a CPU: all experts as one dense product instead of a loop of varying shapes.

Same values: an expert that the router did not pick gets weight zero. (oneDNN compiles a kernel per shape, so fixed shapes matter.)
"""

import torch
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as modeling


def dense_experts(self, hidden_states, top_k_index, top_k_weights):
    experts, double, hidden = self.gate_up_proj.shape
    weights = torch.zeros(hidden_states.shape[0], experts, dtype=top_k_weights.dtype).scatter(1, top_k_index, top_k_weights)
    both = (hidden_states @ self.gate_up_proj.reshape(experts * double, hidden).T).view(-1, experts, double)
    gate, up = both.chunk(2, dim=-1)
    inner = self.act_fn(gate) * up * weights.to(both.dtype)[..., None]
    return inner.reshape(-1, experts * double // 2) @ self.down_proj.permute(0, 2, 1).reshape(experts * double // 2, hidden)


def vision_attention(self, hidden_states, cu_seqlens, position_embeddings=None, max_seqlen=None, **kwargs):
    """All pictures of a batch at once; they must be of one size, as the batches here are."""
    n = hidden_states.shape[0]
    q, k, v = self.qkv(hidden_states).reshape(n, 3, self.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
    q, k = modeling.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    fold = lambda x: x.to(v.dtype).view(len(cu_seqlens) - 1, -1, self.num_heads, self.head_dim).transpose(1, 2)
    scores = fold(q) @ fold(k).mT * self.scaling
    return self.proj((scores.float().softmax(-1).to(v.dtype) @ fold(v)).transpose(1, 2).reshape(n, -1))


def install():
    modeling.Qwen3OmniMoeVisionAttention.forward = vision_attention
    for name in ("Qwen3OmniMoeThinkerTextExperts", "Qwen3OmniMoeTalkerTextExperts"):
        getattr(modeling, name).forward = dense_experts


def eager(module):
    """Plain attention everywhere: quicker than the fused CPU kernel's backward pass for short sequences."""
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
