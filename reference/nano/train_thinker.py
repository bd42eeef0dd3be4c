"""Trains the thinker and its two encoders on the skills' mix; resumes from work/thinker.pt.

    python3 train_thinker.py SECONDS [text=1,image=0.5,...]

One step is one batch of one kind. The token embedding stays as initialised (see model.py). CPU, bfloat16 autocast.
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
import model as m
import text_data
from chat import Chat

PATH = c.WORK / "thinker.pt"


def text_batch(rng, chat):
    pool = sorted((chat.encode(text_data.sample(rng)["messages"]) for _ in range(256)), key=lambda x: len(x[0]))
    out = []
    for i in range(0, 256, 64):
        ids, att, lab = chat.batch(pool[i : i + 64])
        out.append({"input_ids": ids, "labels": lab})  # causal and right-padded: no mask needed
    rng.shuffle(out)
    return out


def makers():
    table = {"text": text_batch}
    try:
        import media_batches
        table.update(media_batches.TABLE)
    except ImportError:
        pass
    return table


def loss_of(thinker, batch):
    batch = dict(batch)
    lab = batch.pop("labels")
    ids = batch["input_ids"]
    with torch.autocast("cpu", torch.bfloat16):
        h = thinker.model(**batch).last_hidden_state
        rows = torch.nonzero(lab[:, 1:].reshape(-1))[:, 0]
        target = ids[:, 1:].reshape(-1)[rows]
        extra = -len(rows) % 64
        rows = torch.cat([rows, rows[:1].expand(extra)])
        target = torch.cat([target, torch.full((extra,), -100)])
        logits = thinker.lm_head(h[:, :-1].reshape(-1, h.shape[-1])[rows])
    hits = (logits.argmax(-1) == target)[: len(rows) - extra]
    return F.cross_entropy(logits.float(), target), hits.float().mean().item()


def main(seconds, mix):
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    net = m.build(c.WORK / "tok")
    thinker = net.thinker
    fast.install()
    fast.eager(thinker)
    chat = Chat(m.load_tokenizer(c.WORK / "tok"))
    thinker.model.get_input_embeddings().weight.requires_grad_(False)
    params = [p for p in thinker.parameters() if p.requires_grad]
    opt = fast.optimizer(thinker, 1e-3)
    step = 0
    if PATH.exists():
        state = torch.load(PATH)
        thinker.load_state_dict(state["net"])
        if state["opt"] and len(state["opt"]["param_groups"]) == len(opt.param_groups):
            opt.load_state_dict(state["opt"])
        step = state["step"]
    table = makers()
    kinds = [k for k in mix if k in table]
    print("kinds", kinds, "step", step, flush=True)
    rng = random.Random(step + 1)
    ready = {k: [] for k in kinds}
    start = last = time.time()
    log, peak = {}, float(os.environ.get("LR", "1.2e-3"))
    decay = float(os.environ.get("DECAY", "0.25"))  # share of the run at the end over which the rate falls

    def save():
        torch.save({"net": thinker.state_dict(), "opt": opt.state_dict(), "step": step}, str(PATH) + ".tmp")
        os.replace(str(PATH) + ".tmp", PATH)

    while (elapsed := time.time() - start) < seconds:
        rate = peak * min(1, (step + 1) / 200) * min(1.0, max(0.03, (seconds - elapsed) / (decay * seconds)))
        for g in opt.param_groups:
            g["lr"] = rate
        kind = rng.choices(kinds, [mix[k] for k in kinds])[0]
        if not ready[kind]:
            ready[kind] = table[kind](rng, chat)
        loss, acc = loss_of(thinker, ready[kind].pop())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        step += 1
        log.setdefault(kind, []).append((loss.item(), acc))
        if step % 100 == 0:
            print(step, f"{elapsed:.0f}s lr {rate:.1e}", {k: (round(sum(x[0] for x in v) / len(v), 3), round(sum(x[1] for x in v) / len(v), 3)) for k, v in sorted(log.items())}, flush=True)
            log = {}
        if time.time() - last > 150:
            last = time.time()
            save()
    save()


if __name__ == "__main__":
    spec = sys.argv[2] if len(sys.argv) > 2 else "text=1"
    main(float(sys.argv[1]), {k: float(v) for k, v in (x.split("=") for x in spec.split(","))})
