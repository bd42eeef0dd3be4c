"""Trains the thinker's encoders by themselves, before the thinker: images by a scene's content, speech by CTC.

    python3 pretrain_encoders.py vision SECONDS
    python3 pretrain_encoders.py audio SECONDS        (torchrun --nproc-per-node 2 for one of them on two cores)

A step costs much less than one through the thinker and has a stronger signal. Both start from and write to their own file
(work/vision.pt, work/audio.pt), so that they can run in parallel; `train_thinker.py` loads those when they are newer than its own,
and they start from its own when that is newer.
"""

import os
import random
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch

import config as c
import fast
import media_batches as mb
import media_data as md
import model as m
from chat import Chat
from senses import LABELS, SOUNDS, Ear, Eye, films_of, labels_of
from training import Run

THINKER = c.WORK / "thinker.pt"
HEADS = {}  # the heads of senses.py that train_thinker.py saved


@torch.no_grad()
def open_eyes(visual, rng):
    """An initialisation for images: patches as cosine coefficients of brightness and two colour differences, each to unit
    variance over drawn pictures, and positions as waves. From noise, that takes thousands of steps."""
    size, width = visual.config.patch_size, visual.config.hidden_size
    n = torch.arange(size)
    wave = torch.cos(torch.pi * (n + 0.5) * n[:, None] / size) * torch.where(n == 0, 0.5**0.5, 1.0)[:, None] * (2 / size) ** 0.5
    colours = torch.tensor([[1, 1, 1], [1, 0, -1], [0.5, -1, 0.5]]) / 3**0.5
    rows = [colours[k][:, None, None] * torch.outer(wave[u], wave[v]) for k, side in ((0, 8), (1, 4), (2, 4)) for u in range(side) for v in range(side)]
    basis = torch.stack(rows)[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1) / 2  # both frames of a patch alike
    patches = torch.from_numpy(np.concatenate([md.patches(np.stack([a, a]))[0] for a in (md.prepare(md.make_image(rng)[0]) for _ in range(200))]))
    seen = patches @ basis.T
    scale = 1 / seen.std(0).clamp_min(1e-3)
    weight, bias = visual.patch_embed.proj.weight, visual.patch_embed.proj.bias
    weight[: len(basis)] = (basis * scale[:, None]).view(len(basis), *weight.shape[1:])
    bias[: len(basis)] = -seen.mean(0) * scale
    side = round(len(visual.pos_embed.weight) ** 0.5)
    at = torch.linspace(-1, 1, side)[:, None] * torch.arange(1, (width - len(basis)) // 4 + 1) * torch.pi / 4
    line = torch.cat([at.sin(), at.cos()], 1)  # [side, (width - len(basis)) / 2]
    visual.pos_embed.weight.zero_()
    visual.pos_embed.weight[:, len(basis) :] = torch.cat([line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)], 2).flatten(0, 1)


def vision_batches(rng, size=48):
    groups = {}
    for image, scene in rng.sample(mb.images.refresh(), 12 * size):
        image = mb.shake(image, rng)
        groups.setdefault(image.shape, []).append((np.stack([image, image]), scene))
    for _ in range(size):
        frames, scene = md.make_video(rng)
        for i, film in enumerate(films_of(scene)):
            groups.setdefault(frames.shape[1:], []).append((frames[2 * i : 2 * i + 2], film))
    for group in groups.values():
        rng.shuffle(group)
        for i in range(0, len(group) - size + 1, size):
            part = group[i : i + size]
            x, g = zip(*(md.patches(pair) for pair, _ in part))
            yield torch.from_numpy(np.concatenate(x)), torch.tensor(g), labels_of([scene for _, scene in part])


def train_vision(net, seconds):
    visual = net.thinker.model.visual
    if not THINKER.exists():
        open_eyes(visual, random.Random(0))
    eye = Eye(net.thinker)
    if "eye" in HEADS:
        eye.load_state_dict(HEADS["eye"], strict=False)

    def losses(batch):
        x, grid, labels = batch
        with fast.autocast():
            visual(x, grid_thw=grid)
            return eye.loss(len(grid), labels)

    return train("vision", visual, eye, vision_batches, losses, seconds)


def train_audio(net, seconds):
    chat = Chat(m.load_tokenizer(c.WORK / "tok"))
    ear = Ear(net.thinker, chat)
    if "ear" in HEADS:
        ear.load_state_dict(HEADS["ear"], strict=False)
    tower = net.thinker.model.audio_tower

    def batches(rng):
        for batch in mb.sound_batch(rng, chat, 32):
            yield batch

    def losses(batch):
        mask = batch["feature_attention_mask"]
        counts = (batch["input_ids"] == net.thinker.config.audio_token_id).sum(1)
        with fast.autocast():
            tower(batch["input_features"].permute(0, 2, 1)[mask.bool()].T, feature_lens=mask.sum(1))
            return ear.loss(counts, batch["facts"])

    return train("audio", tower, ear, batches, losses, seconds)


def train(name, encoder, head, batches, losses, seconds):
    run = Run(c.WORK / f"{name}.pt", seconds, 2e-3, warm=100, fall=0.3, low=0.05, every=120)
    opt = fast.optimizer(encoder, 1e-3)
    plain = torch.optim.AdamW(head.parameters(), 3e-3)
    params = [*encoder.parameters(), *head.parameters()]
    if run.state:
        if not THINKER.exists() or run.path.stat().st_mtime > THINKER.stat().st_mtime:
            encoder.load_state_dict(run.state["net"])
            head.load_state_dict(run.state["head"], strict=False)
        opt.load_state_dict(run.state["opt"])
    rng, ready, log = random.Random(run.step + 11 + 7919 * run.rank), [], []
    state = lambda: {"net": encoder.state_dict(), "head": head.state_dict(), "opt": opt.state_dict()}

    def means():
        right = {k: round(float(np.mean([r[k] for _, r in log if k in r])), 2) for k in ["ctc", *LABELS, *SOUNDS] if any(k in r for _, r in log)}
        return f"loss {np.mean([v for v, _ in log]):.3f} {right}"

    while run.going():
        share = run.rate(opt) / run.peak
        for group in plain.param_groups:
            group["lr"] = 3e-3 * share
        if not ready:
            ready = list(batches(rng))
            rng.shuffle(ready)
        loss, right = losses(ready.pop())
        opt.zero_grad(set_to_none=True)
        plain.zero_grad(set_to_none=True)
        loss.backward()
        run.average(params)
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        opt.step()
        plain.step()
        log.append((loss.item(), right))
        run.stepped(state)
        if run.log(100, means):
            log = []
    run.stepped(state, last=True)


if __name__ == "__main__":
    net = m.build(c.WORK / "tok")
    fast.install(dynamic=False)
    fast.eager(net.thinker)
    if THINKER.exists():
        state = torch.load(THINKER)
        net.thinker.load_state_dict(state["net"])
        HEADS = {k: state[k] for k in ("ear", "eye") if k in state}
    {"vision": train_vision, "audio": train_audio}[sys.argv[1]](net, float(sys.argv[2]))
