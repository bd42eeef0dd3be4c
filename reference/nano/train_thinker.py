"""Trains the thinker and its two encoders on the skills' mix; resumes from work/thinker.pt.

    python3 train_thinker.py SECONDS [text=1,image=0.5,...]

One step is one batch of one kind. The token embedding stays as initialised (see model.py). CPU, bfloat16 autocast.
The encoders are taught directly as well, by heads of their own (`senses.py`).
"""

import os
import random
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
import torch.nn.functional as F

import config as c
import fast
import media_batches
import model as m
import text_data
from chat import Chat
from senses import Ear, Eye

PATH = c.WORK / "thinker.pt"


def text_batch(rng, chat):
    pool = sorted((chat.encode(text_data.sample(rng)["messages"]) for _ in range(384)), key=lambda x: len(x[0]))
    out = []
    for i in range(0, 384, 96):
        ids, att, lab = chat.batch(pool[i : i + 96])
        out.append({"input_ids": ids, "labels": lab})  # causal and right-padded: no mask needed
    rng.shuffle(out)
    return out


def makers():
    table = {"text": text_batch}
    return {**table, **media_batches.TABLE}


def loss_of(thinker, batch, ear=None, eye=None):
    """Loss of the answers' tokens, share of them right, and the loss of ear or eye (0 without a sound or picture)."""
    batch = dict(batch)
    lab, said, scenes = batch.pop("labels"), batch.pop("said", None), batch.pop("scenes", None)
    ids = batch["input_ids"]
    with torch.autocast("cpu", torch.bfloat16):
        h = thinker.model(**batch, use_cache=False).last_hidden_state
        rows = torch.nonzero(lab[:, 1:].reshape(-1))[:, 0]
        target = ids[:, 1:].reshape(-1)[rows]
        extra = -len(rows) % 64
        rows = torch.cat([rows, rows[:1].expand(extra)])
        target = torch.cat([target, torch.full((extra,), -100)])
        logits = thinker.lm_head(h[:, :-1].reshape(-1, h.shape[-1])[rows])
        sensed = 0
        if eye is not None and scenes is not None:
            sensed, _ = eye.loss(batch["image_grid_thw"], scenes)
        if said is not None and ear is not None:
            sensed = ear.loss((ids == thinker.config.audio_token_id).sum(1), said)
    hits = (logits.argmax(-1) == target)[: len(rows) - extra]
    return F.cross_entropy(logits.float(), target), hits.float().mean().item(), sensed


def main(seconds, mix):
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    net = m.build(c.WORK / "tok")
    thinker = net.thinker
    fast.install(dynamic=True)
    fast.eager(thinker)
    chat = Chat(m.load_tokenizer(c.WORK / "tok"))
    thinker.model.get_input_embeddings().weight.requires_grad_(False)
    params = [p for p in thinker.parameters() if p.requires_grad]
    opt = fast.optimizer(thinker, 1e-3)
    ear, eye = Ear(thinker, len(chat.tok.get_vocab())), Eye(thinker)
    heads = torch.optim.AdamW([*ear.parameters(), *eye.parameters()], 2e-3)
    step = 0
    if PATH.exists():
        state = torch.load(PATH)
        thinker.load_state_dict(state["net"])
        if state["opt"] and len(state["opt"]["param_groups"]) == len(opt.param_groups):
            opt.load_state_dict(state["opt"])
        if "eye" in state:
            ear.load_state_dict(state["ear"])
            eye.load_state_dict(state["eye"])
        step = state["step"]
    for name, part in (("vision", thinker.model.visual), ("audio", thinker.model.audio_tower)):
        path = c.WORK / f"{name}.pt"
        if path.exists() and (not PATH.exists() or path.stat().st_mtime > PATH.stat().st_mtime):
            print("encoder from", path.name, flush=True)
            alone = torch.load(path)
            part.load_state_dict(alone["net"])
            (ear.head if name == "audio" else eye).load_state_dict(alone["head"])
    table = makers()
    kinds = [k for k in mix if k in table]
    print("kinds", kinds, "step", step, flush=True)
    rng = random.Random(step + 1)
    ready = {k: [] for k in kinds}
    start = last = time.time()
    log, peak = {}, float(os.environ.get("LR", "1.2e-3"))
    decay = float(os.environ.get("DECAY", "0.25"))  # share of the run at the end over which the rate falls

    def save():
        torch.save({"net": thinker.state_dict(), "opt": opt.state_dict(), "ear": ear.state_dict(), "eye": eye.state_dict(), "step": step}, str(PATH) + ".tmp")
        os.replace(str(PATH) + ".tmp", PATH)

    while (elapsed := time.time() - start) < seconds:
        rate = peak * min(1, (step + 1) / 200) * min(1.0, max(0.03, (seconds - elapsed) / (decay * seconds)))
        for g in opt.param_groups:
            g["lr"] = rate
        kind = rng.choices(kinds, [mix[k] for k in kinds])[0]
        if not ready[kind]:
            ready[kind] = table[kind](rng, chat)
        loss, acc, sensed = loss_of(thinker, ready[kind].pop(), ear, eye)
        opt.zero_grad(set_to_none=True)
        heads.zero_grad(set_to_none=True)
        (loss + 0.2 * sensed).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        heads.step()
        step += 1
        log.setdefault(kind, []).append((loss.item(), acc, sensed.item() if torch.is_tensor(sensed) else 0.0))
        if step % 100 == 0:
            print(step, f"{elapsed:.0f}s lr {rate:.1e}", {k: [round(sum(column) / len(v), 3) for column in zip(*v)] for k, v in sorted(log.items())}, flush=True)
            log = {}
        if time.time() - last > 150:
            last = time.time()
            save()
    save()


if __name__ == "__main__":
    spec = sys.argv[2] if len(sys.argv) > 2 else "text=1"
    main(float(sys.argv[1]), {k: float(v) for k, v in (x.split("=") for x in spec.split(","))})
