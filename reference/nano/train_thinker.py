"""Trains the thinker and its two encoders on the skills' mix; resumes from work/thinker.pt.

    python3 train_thinker.py SECONDS [text=1,image=0.5,...]
    torchrun --nproc-per-node 2 train_thinker.py SECONDS ...    on two free cores: each its own batches, gradients averaged

A step is one batch of one kind for each process. The token embedding stays as initialised (see model.py).
The encoders are taught directly as well, by heads of their own (`senses.py`).
"""

import os
import random
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
import torch.distributed as dist
import torch.nn.functional as F

import config as c
import fast
import media_batches
import model as m
import text_data
from chat import Chat
from senses import Ear, Eye

PATH = c.WORK / "thinker.pt"


def text_batch(rng, chat, tokens=4096):
    """Conversations of about one length in batches of about `tokens`, padding included."""
    pool = sorted((chat.encode(text_data.sample(rng)["messages"]) for _ in range(384)), key=lambda x: len(x[0]))
    out = []
    while pool:
        size = min(96, max(16, tokens // len(pool[-1][0])))
        ids, att, lab = chat.batch(pool[-size:])
        pool = pool[:-size]
        out.append({"input_ids": ids, "labels": lab})  # causal and right-padded: no mask needed
    rng.shuffle(out)
    return out


def makers():
    table = {"text": text_batch}
    return {**table, **media_batches.TABLE}


def loss_of(thinker, batch, ear=None, eye=None):
    """Loss of the answers' tokens, share of them right, and the loss of ear or eye (0 without a sound or picture)."""
    batch = dict(batch)
    lab, facts, scenes = batch.pop("labels"), batch.pop("facts", None), batch.pop("scenes", None)
    ids = batch["input_ids"]
    with fast.autocast():
        h = thinker.model(**batch, use_cache=False).last_hidden_state
        rows = torch.nonzero(lab[:, 1:].reshape(-1))[:, 0]
        target = ids[:, 1:].reshape(-1)[rows]
        extra = -len(rows) % 64
        rows = torch.cat([rows, rows[:1].expand(extra)])
        target = torch.cat([target, torch.full((extra,), -100)])
        logits = thinker.lm_head(h[:, :-1].reshape(-1, h.shape[-1])[rows])
        sensed = 0
        if eye is not None and scenes is not None:
            sensed, _ = eye.loss(len(scenes["kind"]), scenes)
        if facts is not None and ear is not None:
            sensed = sensed + ear.loss((ids == thinker.config.audio_token_id).sum(1), facts)[0]
    hits = (logits.argmax(-1) == target)[: len(rows) - extra]
    return F.cross_entropy(logits.float(), target), hits.float().mean().item(), sensed


def average(params, ranks):
    """Gradients become their means over all processes; where one has none it counts as zero, where all have none it stays so."""
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in params])
    dist.all_reduce(flat)
    flat /= ranks
    for p, g in zip(params, flat.split([p.numel() for p in params])):
        p.grad = g.view_as(p) if g.any() else None


def main(seconds, mix):
    ranks, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if ranks > 1:
        dist.init_process_group("gloo")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    net = m.build(c.WORK / "tok")
    thinker = net.thinker
    fast.install(dynamic=True)
    fast.eager(thinker)
    chat = Chat(m.load_tokenizer(c.WORK / "tok"))
    thinker.model.get_input_embeddings().weight.requires_grad_(False)
    params = [p for p in thinker.parameters() if p.requires_grad]
    opt = fast.optimizer(thinker, 1e-3)
    ear, eye = Ear(thinker, chat), Eye(thinker)
    heads = torch.optim.AdamW([*ear.parameters(), *eye.parameters()], 2e-3)
    step = 0
    if PATH.exists():
        state = torch.load(PATH)
        thinker.load_state_dict(state["net"])
        if state["opt"] and len(state["opt"]["param_groups"]) == len(opt.param_groups):
            opt.load_state_dict(state["opt"])
        for name, head in (("ear", ear), ("eye", eye)):
            if name in state:
                head.load_state_dict(state[name])
        step = state["step"]
    for name, part in (("vision", thinker.model.visual), ("audio", thinker.model.audio_tower)):
        path = c.WORK / f"{name}.pt"
        if path.exists() and (not PATH.exists() or path.stat().st_mtime > PATH.stat().st_mtime):
            print("encoder from", path.name, flush=True)
            alone = torch.load(path)
            part.load_state_dict(alone["net"])
            (ear if name == "audio" else eye).load_state_dict(alone["head"])
    table = makers()
    kinds = [k for k in mix if k in table]
    print("kinds", kinds, "step", step, flush=True)
    rng = random.Random(step + 1 + 7919 * rank)
    ready = {k: [] for k in kinds}
    start = last = time.time()
    log, peak = {}, float(os.environ.get("LR", "1.2e-3"))
    decay = float(os.environ.get("DECAY", "0.25"))  # share of the run at the end over which the rate falls

    def save():
        torch.save({"net": thinker.state_dict(), "opt": opt.state_dict(), "ear": ear.state_dict(), "eye": eye.state_dict(), "step": step}, str(PATH) + ".tmp")
        os.replace(str(PATH) + ".tmp", PATH)

    def elapsed_time():
        """Of the first process, for all: they must stop at the same step."""
        t = torch.tensor(time.time() - start)
        if ranks > 1:
            dist.broadcast(t, 0)
        return t.item()

    while (elapsed := elapsed_time()) < seconds:
        rate = peak * min(1, (step + 1) / 200) * min(1.0, max(0.03, (seconds - elapsed) / (decay * seconds)))
        for g in opt.param_groups:
            g["lr"] = rate
        opt.zero_grad(set_to_none=True)
        heads.zero_grad(set_to_none=True)
        kind = rng.choices(kinds, [mix[k] for k in kinds])[0]
        if not ready[kind]:
            ready[kind] = table[kind](rng, chat)
        loss, acc, sensed = loss_of(thinker, ready[kind].pop(), ear, eye)
        (loss + 0.2 * sensed).backward()
        log.setdefault(kind, []).append((loss.item(), acc, sensed.item() if torch.is_tensor(sensed) else 0.0))
        if ranks > 1:
            average([*params, *ear.parameters(), *eye.parameters()], ranks)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        heads.step()
        step += 1
        if step % 100 == 0 and rank == 0:
            print(step, f"{elapsed:.0f}s lr {rate:.1e}", {k: [round(sum(column) / len(v), 3) for column in zip(*v)] for k, v in sorted(log.items())}, flush=True)
            log = {}
        if time.time() - last > 150 and rank == 0:
            last = time.time()
            save()
    if rank == 0:
        save()


if __name__ == "__main__":
    spec = sys.argv[2] if len(sys.argv) > 2 else "text=1"
    main(float(sys.argv[1]), {k: float(v) for k, v in (x.split("=") for x in spec.split(","))})
