"""Trains the thinker and its two encoders on the skills' mix; resumes from work/thinker.pt.

    python3 train_thinker.py SECONDS [text=1,image=0.5,...]
    torchrun --nproc-per-node 2 train_thinker.py SECONDS ...    on two free cores: each its own batches, gradients averaged
    STATE=other.pt SEED=1 SHARE=1/2 python3 train_thinker.py ...  on busy cores: two runs that do not wait for one another; `export.py mean` joins them

GUIDE=0.2 (with EAGER=1) also asks heads for the attention that copying needs (`copying.py`); PART=text or PART=encoders
trains only these weights; TOKENS is a text batch's size.

A step is one batch of one kind for each process. The token embedding stays as initialised (see model.py).
The encoders are also trained directly, by auxiliary heads (`senses.py`).
"""

import os
import random
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
import torch.nn.functional as F

import config as c
import copying
import fast
import long_talks
import media_batches
import model as m
import open_text
import text_data
from chat import Chat
from senses import Ear, Eye
from training import Run

PATH = c.WORK / os.environ.get("STATE", "thinker.pt")


def text_messages(rng):
    """Of the first grammar, of the open one, or a long conversation of both."""
    kind = rng.random()
    if kind < 0.42:
        return text_data.sample(rng)["messages"]
    lang = rng.choice(["en", "zh"])
    if kind < 0.9:
        messages = open_text.sample(rng, "train", lang)
        return text_data.dressed(rng, messages, lang)
    return long_talks.talk(rng, "train", lang, rng.choice([3, 4, 6, 8, 10, 12]))[0]


def copy_messages(rng):
    lang = rng.choice(["en", "zh"])
    return text_data.dressed(rng, copying.sample(rng, lang), lang)


def copy_batch(rng, chat):
    return text_batch(rng, chat, make=copy_messages)


TOKENS = int(os.environ.get("TOKENS", "4096"))  # of a text batch


def text_batch(rng, chat, tokens=TOKENS, make=text_messages):
    """Conversations of about one length in batches of about `tokens`, padding included."""
    pool = sorted((chat.encode(make(rng)) for _ in range(tokens // 10)), key=lambda x: len(x[0]))
    out = []
    while pool:
        size = min(96, max(8, tokens // len(pool[-1][0])))
        ids, att, lab = chat.batch(pool[-size:])
        pool = pool[:-size]
        out.append({"input_ids": ids, "labels": lab})  # causal and right-padded: no mask needed
    rng.shuffle(out)
    return out


def makers():
    table = {"text": text_batch, "copy": copy_batch}
    return {**table, **media_batches.TABLE}


SHARED = 8.0
GUIDE = float(os.environ.get("GUIDE", "0"))  # weight of the attention targets of `copying.py`
PART = os.environ.get("PART", "")  # "text" or "encoders": only these learn; `export.py join` makes two runs one


def output_rows(thinker):
    """The output head's rows: their own values, and a part that all tokens share, linear in the token's embedding. A token that is never
    an answer has an untrained row; through the shared part, copying one token teaches copying all. `state` adds both: the checkpoint has plain rows."""
    if not hasattr(thinker, "shared_rows"):
        return thinker.lm_head.weight
    return thinker.lm_head.weight + SHARED * thinker.model.get_input_embeddings().weight @ thinker.shared_rows


def plain_state(thinker):
    out = {k: v for k, v in thinker.state_dict().items() if k != "shared_rows"}
    out["lm_head.weight"] = output_rows(thinker).detach().clone()
    return out


def loss_of(thinker, batch, ear=None, eye=None):
    """Loss of the answers' tokens, share of them right, and the loss of ear or eye (0 without audio or image)."""
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
        logits = F.linear(h[:, :-1].reshape(-1, h.shape[-1])[rows], output_rows(thinker))
        sensed = 0
        if eye is not None and scenes is not None:
            sensed, _ = eye.loss(len(scenes["kind"]), scenes)
        if facts is not None and ear is not None:
            sensed = sensed + ear.loss((ids == thinker.config.audio_token_id).sum(1), facts)[0]
    hits = (logits.argmax(-1) == target)[: len(rows) - extra]
    if fast.SCORES and "attention_mask" not in batch:
        sensed = GUIDE / 0.2 * copying.loss(ids, lab)
    return F.cross_entropy(logits.float(), target), hits.float().mean().item(), sensed


def fit_heads(thinker, chat, ear, eye, rng, steps=40):
    """New heads on encoders that are trained already: only the heads learn first, from the encoders' output for some images and audio.
    Untrained heads would disturb the encoders in the first hundred steps."""
    pictures, sounds = media_batches.image_batch(rng, chat, 32)[:12], media_batches.sound_batch(rng, chat, 32)[:8]
    seen, heard = [], []
    with torch.no_grad(), fast.autocast():
        for batch in pictures:
            thinker.model.visual(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
            seen.append((eye.seen.detach(), batch["scenes"]))
        for batch in sounds:
            mask = batch["feature_attention_mask"]
            thinker.model.audio_tower(batch["input_features"].permute(0, 2, 1)[mask.bool()].T, feature_lens=mask.sum(1))
            heard.append((ear.heard.detach(), (batch["input_ids"] == thinker.config.audio_token_id).sum(1), batch["facts"]))
    opt = torch.optim.AdamW([*ear.parameters(), *eye.parameters()], 1e-2)
    for step in range(steps):
        eye.seen, scenes = seen[step % len(seen)]
        ear.heard, counts, facts = heard[step % len(heard)]
        with fast.autocast():
            sights, sounds = eye.loss(len(scenes["kind"]), scenes)[0], ear.loss(counts, facts)[0]
        opt.zero_grad()
        (sights + sounds).backward()
        opt.step()
        if step % 10 == 9:
            print("heads", step + 1, round(sights.item(), 2), round(sounds.item(), 2), flush=True)


def main(seconds, mix):
    run = Run(PATH, seconds, 1.2e-3)
    net = m.build(c.WORK / "tok")
    thinker = net.thinker
    fast.install(dynamic=True)
    fast.eager(thinker)
    chat = Chat(m.load_tokenizer(c.WORK / "tok"))
    thinker.model.get_input_embeddings().weight.requires_grad_(False)
    if run.state:
        thinker.load_state_dict(run.state["net"])
    if GUIDE:
        copying.watch(chat.tok)
    for name, p in thinker.named_parameters():
        if PART and name.startswith(("model.visual", "model.audio_tower")) != (PART == "encoders"):
            p.requires_grad_(False)
    width = thinker.config.text_config.hidden_size
    thinker.shared_rows = torch.nn.Parameter(torch.zeros(width, width), requires_grad=PART != "encoders")
    params = [p for p in thinker.parameters() if p.requires_grad]
    opt = fast.optimizer(thinker, 1e-3)
    ear, eye = Ear(thinker, chat), Eye(thinker)
    heads = torch.optim.AdamW([*ear.parameters(), *eye.parameters()], 2e-3)
    if run.state:
        sizes = lambda groups: [len(group["params"]) for group in groups]
        if run.state["opt"] and sizes(run.state["opt"]["param_groups"]) == sizes(opt.param_groups):
            opt.load_state_dict(run.state["opt"])
        for name, head in (("ear", ear), ("eye", eye)):
            if name in run.state and "HEADS" not in os.environ:
                head.load_state_dict(run.state[name], strict=False)
    for name, part in (("vision", thinker.model.visual), ("audio", thinker.model.audio_tower)):
        path = c.WORK / f"{name}.pt"
        if path.exists() and (not PATH.exists() or path.stat().st_mtime > PATH.stat().st_mtime):
            print("encoder from", path.name, flush=True)
            alone = torch.load(path)
            part.load_state_dict(alone["net"])
            (ear if name == "audio" else eye).load_state_dict(alone["head"], strict=False)
    table = makers()
    kinds = [k for k in mix if k in table]
    print("kinds", kinds, "step", run.step, flush=True)
    if run.state and ("eye" not in run.state or "HEADS" in os.environ):
        fit_heads(thinker, chat, ear, eye, random.Random(1))
    rng = random.Random(run.step + 1 + 7919 * (run.rank + int(os.environ.get("SEED", "0"))))
    ready = {k: [] for k in kinds}
    log = {}
    state = lambda: {"net": plain_state(thinker), "opt": opt.state_dict(), "ear": ear.state_dict(), "eye": eye.state_dict()}
    means = lambda: {k: [round(sum(column) / len(v), 3) for column in zip(*v)] for k, v in sorted(log.items())}
    while run.going():
        run.rate(opt)
        opt.zero_grad(set_to_none=True)
        heads.zero_grad(set_to_none=True)
        kind = rng.choices(kinds, [mix[k] for k in kinds])[0]
        if not ready[kind]:
            ready[kind] = table[kind](rng, chat)
        loss, acc, sensed = loss_of(thinker, ready[kind].pop(), ear, eye)
        (loss + 0.2 * sensed).backward()
        log.setdefault(kind, []).append((loss.item(), acc, sensed.item() if torch.is_tensor(sensed) else 0.0))
        run.average([*params, *ear.parameters(), *eye.parameters()])
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        heads.step()
        run.stepped(state)
        if run.log(int(os.environ.get("EVERY", "100")), means):
            log = {}
    run.stepped(state, last=True)


if __name__ == "__main__":
    spec = sys.argv[2] if len(sys.argv) > 2 else "text=1"
    main(float(sys.argv[1]), {k: float(v) for k, v in (x.split("=") for x in spec.split(","))})
