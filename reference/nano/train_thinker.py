"""Trains the thinker and its two encoders on the skills' mix; resumes from work/thinker.pt.

    python3 train_thinker.py SECONDS [text=1,image=0.5,...]

One step is one batch of one kind. The token embedding stays as initialised (see model.py). CPU, bfloat16 autocast.
What the audio encoder hears is also read by a CTC head of its own (training only): it teaches the encoder to write down words long
before the thinker learns where to look.
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


class Ear(torch.nn.Module):
    """CTC over the tokens of what is said, on the audio encoder's output; the last class is the blank."""

    def __init__(self, thinker, tokens):
        super().__init__()
        self.head = torch.nn.Linear(thinker.config.audio_config.output_dim, tokens + 1)
        thinker.model.audio_tower.register_forward_hook(self.keep)

    def keep(self, module, args, output):
        self.heard = output.last_hidden_state

    def loss(self, counts, said):
        """counts: the encoder's tokens of each sound; said: token ids of each, empty where there is no speech."""
        odds = self.head(self.heard).float().log_softmax(-1).split(counts.tolist())
        odds = torch.nn.utils.rnn.pad_sequence(odds)
        target = torch.tensor([i for s in said for i in s])
        return F.ctc_loss(odds, target, counts, torch.tensor([len(s) for s in said]), blank=self.head.out_features - 1, zero_infinity=True)


def loss_of(thinker, batch, ear=None):
    """Loss of the answers' tokens, share of them right, and the ear's loss (0 without a sound)."""
    batch = dict(batch)
    lab, said = batch.pop("labels"), batch.pop("said", None)
    ids = batch["input_ids"]
    with torch.autocast("cpu", torch.bfloat16):
        h = thinker.model(**batch, use_cache=False).last_hidden_state
        rows = torch.nonzero(lab[:, 1:].reshape(-1))[:, 0]
        target = ids[:, 1:].reshape(-1)[rows]
        extra = -len(rows) % 64
        rows = torch.cat([rows, rows[:1].expand(extra)])
        target = torch.cat([target, torch.full((extra,), -100)])
        logits = thinker.lm_head(h[:, :-1].reshape(-1, h.shape[-1])[rows])
        heard = 0
        if said is not None and ear is not None:
            heard = ear.loss((ids == thinker.config.audio_token_id).sum(1), said)
    hits = (logits.argmax(-1) == target)[: len(rows) - extra]
    return F.cross_entropy(logits.float(), target), hits.float().mean().item(), heard


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
    ear = Ear(thinker, len(chat.tok.get_vocab()))
    hearing = torch.optim.AdamW(ear.head.parameters(), 3e-3)
    step = 0
    if PATH.exists():
        state = torch.load(PATH)
        thinker.load_state_dict(state["net"])
        if state["opt"] and len(state["opt"]["param_groups"]) == len(opt.param_groups):
            opt.load_state_dict(state["opt"])
        if "ear" in state:
            ear.load_state_dict(state["ear"])
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
        torch.save({"net": thinker.state_dict(), "opt": opt.state_dict(), "ear": ear.state_dict(), "step": step}, str(PATH) + ".tmp")
        os.replace(str(PATH) + ".tmp", PATH)

    while (elapsed := time.time() - start) < seconds:
        rate = peak * min(1, (step + 1) / 200) * min(1.0, max(0.03, (seconds - elapsed) / (decay * seconds)))
        for g in opt.param_groups:
            g["lr"] = rate
        kind = rng.choices(kinds, [mix[k] for k in kinds])[0]
        if not ready[kind]:
            ready[kind] = table[kind](rng, chat)
        loss, acc, heard = loss_of(thinker, ready[kind].pop(), ear)
        opt.zero_grad(set_to_none=True)
        hearing.zero_grad(set_to_none=True)
        (loss + 0.3 * heard).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        hearing.step()
        step += 1
        log.setdefault(kind, []).append((loss.item(), acc, heard.item() if torch.is_tensor(heard) else 0.0))
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
