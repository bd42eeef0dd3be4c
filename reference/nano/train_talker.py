"""Trains the talker and its code predictor on codes of synthesised replies, thinker embedding frozen; resumes from work/talker.pt.

    python3 train_talker.py data N SEED     render, encode and tokenise N utterances into work/talk/*.pt
    python3 train_talker.py train SECONDS   (torchrun --nproc-per-node 2 on two free cores)

Teacher forcing exactly as `Qwen3OmniMoeForConditionalGeneration.generate` builds the talker's input: the user's turn through
text_projection, then the assistant's header, speaker and codec markers, then one frame a step, each with the next text token.
"""

import os
import random
import sys
import time
from multiprocessing import Pool

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
import torch.nn.functional as F

import codec
import config as c
import fast
import model as m
import speech_data as sd
import text_data
from training import Run

TALK = c.WORK / "talk"
PATH = c.WORK / "talker.pt"
COMPILED = fast.HALF != torch.float32  # on other processors compiling does not pay off
WIDTHS = 64 if COMPILED else 8  # compiling a shape is slow: few shapes


def _make(args):
    seed, n = args
    torch.set_num_threads(1)
    net = codec.load_codec(1).eval()
    tok = m.load_tokenizer(c.WORK / "tok")
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        text, lang, voice = sd.utterance(rng)
        wave = sd.speak(text, lang, *c.VOICES[voice])
        latent = net.latent(wave)
        if len(latent) <= 150:
            rows.append((tok.encode(text, add_special_tokens=False).ids, list(c.VOICES).index(voice), latent.half(), text, lang))
    TALK.mkdir(parents=True, exist_ok=True)
    torch.save(rows, TALK / f"{seed:06d}.pt")
    return len(rows)


def data(n, seed):
    with Pool(int(os.environ.get("POOL", "1"))) as pool:
        total = 0
        for k in pool.imap_unordered(_make, [(seed + i, 250) for i in range(n // 250)]):
            total += k
            print(total, flush=True)


class Soft:
    """Targets that know the codec's grid: the levels around a frame's latent share the probability of a code, and a near code may
    replace the best one in the talker's input, so that it learns to continue from its own small errors."""

    def __init__(self, tau=0.25, wide=0.8):
        quantizer = codec.Quantizer()
        self.book, self.spacing, self.tau, self.wide = quantizer.book, quantizer.spacing, tau, wide

    @torch.no_grad()
    def __call__(self, latent, share):
        """latent [frames, LATENT] -> codes [groups, frames] with near ones swapped in for `share` of the frames, targets
        [groups, frames, CODEBOOK]."""
        z = latent.float().unflatten(-1, (c.GROUPS, -1)).transpose(0, 1)  # [groups, frames, 3]
        away = (((z[:, :, None] - self.book) / self.spacing) ** 2).sum(-1)
        targets = torch.softmax(-away / self.tau, -1)
        near = torch.multinomial(torch.softmax(-away / self.wide, -1).flatten(0, 1), 1).view(away.shape[:2])
        swap = torch.rand(away.shape[1]) < share
        return torch.where(swap, near, away.argmin(-1)), targets


class Batcher:
    """Builds talker inputs from rows; every tensor batch first."""

    def __init__(self, net, tok):
        self.net, self.tok, self.t = net, tok, net.talker
        self.soft = Soft()
        self.embed = net.thinker.model.get_input_embeddings().weight
        cfg = net.config
        self.special = torch.tensor([cfg.tts_bos_token_id, cfg.tts_eos_token_id, cfg.tts_pad_token_id])
        enc = lambda s: tok.encode(s, add_special_tokens=False).ids
        self.head = enc("<|im_start|>assistant\n")
        rng = random.Random(0)
        self.user = []
        for _ in range(3000):
            q = next(t for r, t in text_data.sample(rng)["messages"] if r == "user")
            self.user.append(enc("<|im_start|>user\n") + enc(q) + enc("<|im_end|>\n"))
        self.user.sort(key=len)

    def __call__(self, rows, rng):
        t = self.t
        bos, eos, pad = t.text_projection(self.embed[self.special]).unbind(0)
        # one projection for all text of the batch
        at = int((len(self.user) - 200) * rng.random() ** 1.5)  # prompts of about one length: little padding; short ones more often
        users = [rng.choice(self.user[at : at + 200]) for _ in rows]
        # an image's or video's positions reach the talker as zeros (by hidden_projection): some in training, one
        # number for the batch
        media = rng.choice([0] * 9 + [16, 25, 50])
        flat = torch.tensor([i for u, r in zip(users, rows) for i in u + self.head + list(r[0])])
        projected = t.text_projection(self.embed[flat])
        width = max(len(u) + media + 9 + len(r[2]) for u, r in zip(users, rows))
        width = -(-width // WIDTHS) * WIDTHS
        table = t.model.get_input_embeddings()
        residual = t.code_predictor.get_input_embeddings()
        talker = self.net.config.talker_config
        counts = [len(r[2]) for r in rows]
        every, targets = self.soft(torch.cat([r[2] for r in rows]), 0.5)
        every, targets = every.split(counts, 1), targets.split(counts, 1)
        pieces, labels, frames, at = [], torch.full((len(rows), width), -100), [], 0
        for b, (u, r) in enumerate(zip(users, rows)):
            n = len(u) + 3 + len(r[0])
            text = projected[at : at + n]
            at += n
            user, head, words = text[: len(u)], text[len(u) : len(u) + 3], text[len(u) + 3 :]
            codes = every[b]
            length = codes.shape[1]
            markers = table(torch.tensor([talker.codec_nothink_id, talker.codec_think_bos_id, talker.codec_think_eos_id, c.FIRST_SPEAKER + r[1], talker.codec_pad_id, talker.codec_bos_id]))
            start = torch.cat([user[:3], user.new_zeros(media, user.shape[1]), user[3:], head, torch.cat([pad.expand(4, -1), bos[None], words[:1]]) + markers])
            # as in generate(): the reply's tokens without <|im_end|>, then tts_eos, then pads
            trailing = torch.cat([words[1:], eos[None]])
            trailing = torch.cat([trailing, pad.expand(max(0, length - len(trailing)), -1)])[:length]
            frame = table(codes[0])
            for k in range(1, c.GROUPS):
                frame = frame + residual[k - 1](codes[k])
            pieces.append(F.pad(torch.cat([start, frame + trailing]), (0, 0, 0, width - len(start) - length)))
            first = len(start) - 1
            labels[b, first : first + length] = codes[0]
            labels[b, first + length] = talker.codec_eos_token_id
            frames.append((first, codes, targets[b]))
        return torch.stack(pieces), labels, frames


def losses(net, batcher, rows, rng, predict=448):
    """Talker loss on the first codebook, code predictor loss on a sample of frames."""
    t = net.talker
    with fast.autocast():
        x, labels, frames = batcher(rows, rng)
        positions = torch.arange(x.shape[1])[None, None].expand(4, x.shape[0], -1)
        h = t.model(inputs_embeds=x, position_ids=positions, use_cache=False).last_hidden_state
        sel = labels != -100
        logits = t.codec_head(h[sel])
        target = labels[sel]
        soft = torch.zeros(len(target), logits.shape[1])
        soft[torch.arange(len(target)), target] = 1  # unchanged for the end of speech
        spoken = target < c.CODEBOOK
        soft[spoken] = F.pad(torch.cat([x[0] for _, _, x in frames]), (0, logits.shape[1] - c.CODEBOOK))
        main = F.cross_entropy(logits.float(), soft)
        hidden = torch.cat([h[b, f : f + codes.shape[1]] for b, (f, codes, _) in enumerate(frames)])
        codes = torch.cat([codes for _, codes, _ in frames], 1)
        aim = torch.cat([x for _, _, x in frames], 1)
        chosen = torch.randperm(hidden.shape[0])[:predict]
        hidden, codes, aim = hidden[chosen], codes[:, chosen], aim[:, chosen]
        cp = t.code_predictor
        seq = [hidden, t.model.get_input_embeddings()(codes[0])] + [cp.get_input_embeddings()[k - 1](codes[k]) for k in range(1, c.GROUPS - 1)]
        out = cp.model(inputs_embeds=torch.stack(seq, 1), use_cache=False).last_hidden_state
        rest, hits = 0, []
        for k in range(1, c.GROUPS):
            lg = cp.lm_head[k - 1](out[:, k])
            # how far above the targets' own entropy: the reducible loss
            rest = rest + F.cross_entropy(lg.float(), aim[k]) + (aim[k] * aim[k].clamp_min(1e-9).log()).sum(-1).mean()
            hits.append((lg.argmax(-1) == aim[k].argmax(-1)).float().mean().item())
        main = main + (soft * soft.clamp_min(1e-9).log()).sum(-1).mean()
    return main, rest / (c.GROUPS - 1), (logits.argmax(-1) == soft.argmax(-1)).float().mean().item(), hits


def weight(row):
    """How often a row is drawn. FOCUS=Cherry,Ethan makes those voices, and short replies, come up more."""
    focus = os.environ.get("FOCUS", "")
    if not focus:
        return 1.0
    name = list(c.VOICES)[row[1]]
    return (4.0 if name in focus.split(",") else 1.0 if name in ("Serena", "Chelsie") else 0.3) * (2.0 if len(row[0]) <= 20 else 1.0)


class Rows:
    """Utterances of work/talk, new files too, in batches of about one length; several processes split them."""

    def __init__(self, run, rng):
        self.run, self.rng, self.rows, self.known, self.queue, self.scanned = run, rng, [], set(), [], 0.0

    def scan(self):
        for f in sorted(TALK.glob("*.pt"))[self.run.rank :: self.run.ranks]:
            if f not in self.known:
                self.known.add(f)
                self.rows += [(r[0], r[1], r[2].float()) for r in torch.load(f)]
        self.weights = [weight(r) for r in self.rows]
        print("rows", len(self.rows), flush=True)

    def batch(self, size=32):
        if not self.queue:
            if time.time() - self.scanned > 60:
                self.scanned = time.time()
                self.scan()
            pool = sorted(self.rng.choices(self.rows, self.weights, k=12 * size), key=lambda r: len(r[2]))
            self.queue = [pool[i : i + size] for i in range(0, len(pool), size)]
            self.rng.shuffle(self.queue)
        return self.queue.pop()


def train(seconds):
    run = Run(PATH, seconds, 1.5e-3)
    net = m.build(c.WORK / "tok")
    fast.install(dynamic=not COMPILED)
    fast.eager(net.talker)
    tok = m.load_tokenizer(c.WORK / "tok")
    params = list(net.talker.parameters())
    opt = fast.optimizer(net.talker, 1e-3)
    if run.state:
        net.talker.load_state_dict(run.state["net"])
        if run.state["opt"] and "muon" in run.state["opt"]["param_groups"][0]:
            opt.load_state_dict(run.state["opt"])
    with torch.no_grad():
        net.talker.hidden_projection.linear_fc2.weight.zero_()
        net.talker.hidden_projection.linear_fc2.bias.zero_()
    batcher = Batcher(net, tok)
    rng = random.Random(run.step + 7 + 7919 * run.rank)
    rows, log = Rows(run, rng), []
    state = lambda: {"net": net.talker.state_dict(), "opt": opt.state_dict()}
    while run.going():
        run.rate(opt)
        main, rest, acc, hits = losses(net, batcher, rows.batch(), rng)
        opt.zero_grad(set_to_none=True)
        (main + rest).backward()
        run.average(params)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        log.append((main.item(), rest.item(), acc, *hits))
        run.stepped(state)
        if run.log(50, lambda: [round(v, 3) for v in np.mean(log, 0).tolist()]):
            log = []
    run.stepped(state, last=True)


if __name__ == "__main__":
    {"data": data, "train": train}[sys.argv[1]](*map(int, sys.argv[2:]))
