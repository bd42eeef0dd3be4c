"""nano's speech codec: a mel encoder with finite scalar quantisation (not shipped) and the real code2wav as its decoder.

Each of the eight code groups holds three numbers of the latent on a grid of 8 x 8 x 4 levels: 256 codes, all in use from the start, and
neighbours on the grid decode to similar audio. An error of one step by the talker has a small effect in every group.

    python3 codec.py render N SEED      utterances into work/speech/*.npz
    python3 codec.py stage1 SECONDS     encoder, codebooks, code2wav's transformer and upsampling: mel to codes to mel
    python3 codec.py trunk SECONDS      code2wav without its decoder on the frozen codes: the band below 1.2 kHz, by a linear layer
    python3 codec.py stage2 SECONDS     code2wav on the frozen codes: the waveform, in step with the frames (pitch_lock.py; torchrun works)

Both stages resume from work/codec1.pt and work/codec2.pt. Codes: [groups, frames], 12.5 frames a second.
"""

import os
import random
import sys
import time
from multiprocessing import Pool

os.environ.setdefault("OMP_NUM_THREADS", "1")
import librosa
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

import config as c
import fast
import pitch_lock
import speech_data as sd
from training import Run

LEVELS = (8, 8, 4)
HUM = 60  # samples of speech below 1.2 kHz in one of the 50 features of a second
LATENT = len(LEVELS) * c.GROUPS
SPEECH = c.WORK / "speech"


class ChannelNorm(nn.Module):
    """Layer normalisation of every frame by itself, so that codes depend only on nearby frames."""

    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Residual(nn.Module):
    def __init__(self, dim, kernel):
        super().__init__()
        self.norm = ChannelNorm(dim)
        self.a = nn.Conv1d(dim, dim, kernel, padding=kernel // 2)
        self.b = nn.Conv1d(dim, dim, 1)

    def forward(self, x):
        return x + self.b(F.gelu(self.a(self.norm(x))))


class Encoder(nn.Module):
    """[batch, 80, 4 * frames] log-mel to [batch, LATENT, frames]. Sees about one frame to either side."""

    def __init__(self, dim=192):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(sd.MELS, dim, 5, padding=2), Residual(dim, 3), nn.Conv1d(dim, 2 * dim, 4, 4), Residual(2 * dim, 3), Residual(2 * dim, 1), ChannelNorm(2 * dim), nn.Conv1d(2 * dim, LATENT, 1))

    def forward(self, mel):
        return torch.tanh(self.net((mel + 4) / 2))


class Quantizer(nn.Module):
    """Rounds every number of the latent (-1 to 1) to its nearest level; straight-through gradients."""

    def __init__(self):
        super().__init__()
        grid = torch.cartesian_prod(*(torch.linspace(-1, 1, n) for n in LEVELS))
        self.register_buffer("book", grid, persistent=False)  # [CODEBOOK, 3], the same for every group
        self.register_buffer("spacing", torch.tensor([2 / (n - 1) for n in LEVELS]), persistent=False)

    def codes(self, z):
        """[..., LATENT] to codes [..., GROUPS]."""
        at = ((z.unflatten(-1, (c.GROUPS, -1)) + 1) / self.spacing).round().long()
        return (at[..., 0] * LEVELS[1] + at[..., 1]) * LEVELS[2] + at[..., 2]

    def values(self, codes):
        """codes [..., GROUPS] to [..., LATENT]."""
        return self.book[codes].flatten(-2)

    def forward(self, z):
        """z [batch, LATENT, frames] -> the same on the grid."""
        rows = z.transpose(1, 2)
        return z + (self.values(self.codes(rows.detach())) - rows).detach().transpose(1, 2)


class Codec(nn.Module):
    def __init__(self, wav_config):
        super().__init__()
        self.encoder, self.quantizer = Encoder(), Quantizer()
        self.expand = nn.Linear(LATENT, wav_config.hidden_size, bias=False)
        self.wav = Qwen3OmniMoeCode2Wav(wav_config)
        self.to_mel = nn.Linear(wav_config.hidden_size, sd.MELS)
        self.to_hum = nn.Conv1d(wav_config.hidden_size, HUM, 3, padding=1)
        for m in self.wav.modules():
            if hasattr(m, "gamma") and m.gamma.dim() == 1:
                nn.init.constant_(m.gamma, 0.1)

    def features(self, hidden):
        """[batch, frames, hidden] through code2wav's transformer and upsampling: [batch, hidden, 4 * frames]."""
        x = self.wav.pre_transformer(inputs_embeds=hidden).last_hidden_state.transpose(1, 2)
        for blocks in self.wav.upsample:
            for block in blocks:
                x = block(x)
        return x

    @torch.no_grad()
    def tie(self):
        """Writes the codebooks into code2wav's embedding, which averages over groups."""
        wide = torch.zeros(c.GROUPS, c.CODEBOOK, c.GROUPS, len(LEVELS))
        for k in range(c.GROUPS):
            wide[k, :, k] = self.quantizer.book
        table = self.expand(wide.flatten(2)).flatten(0, 1) * c.GROUPS
        self.wav.code_embedding.weight.copy_(table)

    @torch.no_grad()
    def latent(self, wave: np.ndarray) -> torch.Tensor:
        """24 kHz mono to [frames, LATENT], before rounding."""
        return self.encoder(torch.from_numpy(sd.log_mel(wave).T)[None])[0].T

    def encode(self, wave: np.ndarray) -> np.ndarray:
        """24 kHz mono to codes [groups, frames] uint8."""
        return self.quantizer.codes(self.latent(wave)).T.numpy().astype(np.uint8)


def new_codec():
    import json
    from transformers import Qwen3OmniMoeConfig
    config = Qwen3OmniMoeConfig(**json.loads((c.WORK / "tok" / "config.json").read_text()))
    return Codec(config.code2wav_config)


def pcm(wave):
    return (np.clip(wave, -1, 1) * 32767).astype(np.int16)


def _render(args):
    seed, n = args
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        text, lang, voice = sd.utterance(rng)
        wave = sd.speak(text, lang, *c.VOICES[voice])
        if len(wave) < 15 * c.SAMPLE_RATE:
            rows.append((text, lang, voice, pcm(wave), pcm(pitch_lock.lock(wave))))
    SPEECH.mkdir(parents=True, exist_ok=True)
    np.savez(SPEECH / f"{seed:06d}.npz", text=np.array([r[0] for r in rows], object), lang=np.array([r[1] for r in rows], object),
             voice=np.array([r[2] for r in rows], object), wave=np.concatenate([r[3] for r in rows]), locked=np.concatenate([r[4] for r in rows]), length=np.array([len(r[3]) for r in rows]))
    return sum(len(r[3]) for r in rows) / c.SAMPLE_RATE


def render(n, seed):
    with Pool(2) as pool:
        seconds = sum(pool.imap_unordered(_render, [(seed + i, 200) for i in range(n // 200)]))
    print(f"{seconds / 3600:.2f} hours", flush=True)


def load_waves(limit=None):
    """[(voice, int16 samples, the same in step with the frames)]"""
    rows = []
    for f in sorted(SPEECH.glob("*.npz"))[:limit]:
        d = np.load(f, allow_pickle=True)
        ends = np.cumsum(d["length"])[:-1]
        rows += zip(d["voice"], np.split(d["wave"], ends), np.split(d["locked"], ends))
    return rows


def stage1(seconds):
    torch.manual_seed(0)
    net = new_codec()
    old = c.WORK / "codec-start.pt"  # a code2wav to start from, if there is one
    if old.exists():
        net.wav.load_state_dict(torch.load(old))
    waves = load_waves(20)
    mels = [sd.log_mel(w.astype(np.float32) / 32767) for _, w, _ in waves]
    mels = [m for m in mels if len(m) >= 104]
    print(len(mels), "utterances", sum(map(len, mels)) / 50, "seconds", flush=True)
    skip = ("decoder", "code_embedding")
    params = [p for n, p in net.named_parameters() if not any(s in n for s in skip)]
    opt = torch.optim.AdamW(params, lr=2e-3, betas=(0.8, 0.95), weight_decay=0.01)
    start, step, rng, seen = time.time(), 0, np.random.default_rng(0), []
    while (elapsed := time.time() - start) < seconds:
        for g in opt.param_groups:
            g["lr"] = 2e-3 * min(1, step / 50) * max(0.02, 1 - elapsed / seconds)
        picks = rng.integers(len(mels), size=24)
        batch = []
        for p in picks:
            at = rng.integers(0, len(mels[p]) - 100 + 1)
            batch.append(mels[p][at : at + 100])
        mel = torch.from_numpy(np.stack(batch)).transpose(1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            z = net.encoder(mel)
        z = z.float()
        q = net.quantizer(z) if step >= 100 else z
        with torch.autocast("cpu", torch.bfloat16):
            out = net.to_mel(net.features(net.expand(q.transpose(1, 2))).transpose(1, 2)).transpose(1, 2).float()
        out = out * 2 - 4
        l1 = (out - mel).abs().mean()
        # slowly changing latents are easier to predict
        loss = l1 + 0.3 * (out - mel).square().mean() + 0.02 * (z[..., 1:] - z[..., :-1]).square().mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        seen.append(l1.item())
        if step % 100 == 0:
            print(f"{step} {elapsed:.0f}s l1 {np.mean(seen[-100:]):.3f} spread {z.std().item():.2f}", flush=True)
        step += 1
    net.tie()
    torch.save(net.state_dict(), c.WORK / "codec1.pt")
    print("done", step)


def spectrum(wave, n):
    """[batch, n / 2 + 1, frames] complex; white noise of unit power has unit power in each."""
    w = torch.hann_window(n)
    return torch.stft(wave, n, n // 4, window=w, return_complex=True) / w.square().sum().sqrt()


def wave_loss(out, target):
    """(what magnitudes differ by, what waveforms differ by): log magnitudes and convergence over several resolutions and log-mel; below 4 kHz,
    where speech in step with the frames follows from its codes, complex spectra with square-rooted magnitudes."""
    loss, phases = 0, 0
    for n in (256, 512, 1024, 2048):
        x, y = spectrum(out, n), spectrum(target, n)
        a, b = x.abs().clamp_min(1e-6), y.abs().clamp_min(1e-6)
        loss = loss + (torch.log(a + FLOOR[n]) - torch.log(b + FLOOR[n])).abs().mean() + 0.5 * (torch.norm(a - b) / torch.norm(b))
        if n in MEL:
            loss = loss + (torch.log(MEL[n] @ a + FLOOR[n]) - torch.log(MEL[n] @ b + FLOOR[n])).abs().mean()
        if n in (512, 1024):
            low = n // 6  # of n bins in 24 kHz
            apart = x[:, :low] * (a[:, :low] + 1e-3).rsqrt() - y[:, :low] * (b[:, :low] + 1e-3).rsqrt()
            phases = phases + torch.view_as_real(apart).abs().mean() / b[:, :low].sqrt().mean()
    return loss / 4, phases / 2


FLOOR = {n: 1e-3 / (0.375 * n) ** 0.5 for n in (256, 512, 1024, 2048)}  # of magnitudes, against logarithms of zero
MEL = {n: torch.from_numpy(librosa.filters.mel(sr=c.SAMPLE_RATE, n_fft=n, n_mels=80, fmin=30)) for n in (1024, 2048)}


def load_codec(stage=2):
    net = new_codec()
    for s in (stage, 1):
        path = c.WORK / f"codec{s}.pt"
        if path.exists():
            state = torch.load(path)
            state, own = state.get("net", state), net.state_dict()
            net.load_state_dict({k: v for k, v in state.items() if own[k].shape == v.shape}, strict=False)
            break
    return net


class Targets:
    """Codes of all utterances and the speech in step with them."""

    def __init__(self, limit=40):
        voices, waves, self.waves = zip(*(row for row in load_waves(limit) if len(row[1]) > 26 * c.FRAME))
        net = load_codec(1)
        self.codes = [net.encode(w.astype(np.float32) / 32767) for w in waves]
        self.mels = [sd.log_mel(w.astype(np.float32) / 32767).astype(np.float16) for w in waves]
        # low voices are the harder half: their harmonics lie close together
        share = np.array([2.0 if c.VOICES[v][0] == "m" else 1.0 for v in voices])
        self.share = share / share.sum()
        print(len(waves), "utterances", flush=True)

    def batch(self, rng, size, frames):
        """codes [size, GROUPS, frames], waveform [size, frames * FRAME], log-mel [size, 4 * frames, MELS]."""
        xs, ys, ms = [], [], []
        for p in rng.choice(len(self.codes), size=size, p=self.share):
            at = int(rng.integers(0, self.codes[p].shape[1] - frames))
            xs.append(self.codes[p][:, at : at + frames])
            w = self.waves[p][at * c.FRAME : (at + frames) * c.FRAME].astype(np.float32) / 32767
            ys.append(np.pad(w, (0, frames * c.FRAME - len(w))))
            ms.append(self.mels[p][4 * at : 4 * (at + frames)].astype(np.float32))
        return torch.from_numpy(np.stack(xs)).long(), torch.from_numpy(np.stack(ys)), torch.from_numpy(np.stack(ms))


def low_band(wave):
    """[batch, samples] below 1.2 kHz as [batch, HUM, features]."""
    from scipy.signal import resample_poly
    low = torch.from_numpy(resample_poly(wave.numpy(), 1, sd.HOP // HUM, axis=-1).astype(np.float32))
    return low.unflatten(-1, (-1, HUM)).transpose(1, 2)


def hum_loss(out, low):
    return (out - low).abs().mean() / low.abs().mean()


def trunk(seconds):
    torch.manual_seed(2)
    run = Run(c.WORK / "codec2.pt", seconds, 2e-3, warm=1, fall=0.6)
    net = load_codec(2)
    data = Targets()
    params = [p for name, p in net.named_parameters() if not any(s in name for s in ("encoder", "expand", "decoder"))]
    opt = torch.optim.AdamW(params, lr=1e-3, betas=(0.8, 0.95), weight_decay=0.0)
    rng, mean, context = np.random.default_rng(run.step + 7919 * run.rank), [], 6
    state = lambda: {"net": net.state_dict(), "opt": None}
    while run.going():
        run.rate(opt)
        x, y, mel = data.batch(rng, 32, 26)
        with fast.autocast():
            features = net.features(net.wav.code_embedding(x + net.wav.code_offset).mean(1))
            hum, seen = net.to_hum(features), net.to_mel(features.transpose(1, 2)) * 2 - 4
        low = hum_loss(hum.float()[..., 4 * context :], low_band(y)[..., 4 * context :])
        shape = (seen.float() - mel)[:, 4 * context :].abs().mean()
        opt.zero_grad()
        (low + 0.5 * shape).backward()
        run.average(params)
        nn.utils.clip_grad_norm_(params, 2.0)
        opt.step()
        mean.append((low.item(), shape.item()))
        run.stepped(state)
        if run.log(50, lambda: [round(float(v), 4) for v in np.mean(mean, 0)]):
            mean = []
    run.stepped(state, last=True)


def stage2(seconds):
    torch.manual_seed(1)
    run = Run(c.WORK / "codec2.pt", seconds, 1e-3, fall=0.4)
    net = load_codec(2)
    data = Targets()
    params = [*net.wav.parameters(), *net.to_hum.parameters()]
    opt = torch.optim.AdamW(params, lr=1e-3, betas=(0.8, 0.95), weight_decay=0.0)
    if run.state.get("opt"):
        opt.load_state_dict(run.state["opt"])
    rng = np.random.default_rng(run.step + 7919 * run.rank)
    mean, frames, context = [], 20, 6
    state = lambda: {"net": net.state_dict(), "opt": opt.state_dict()}

    def decode(x):
        for block in net.wav.decoder:
            x = block(x)
        return x

    if fast.HALF != torch.float32:
        decode = torch.compile(decode)  # one shape; fuses the snakes into the convolutions' copies (slower with float32)

    while run.going():
        run.rate(opt)
        x, y, _ = data.batch(rng, 6, frames)
        with fast.autocast():
            features = net.features(net.wav.code_embedding(x + net.wav.code_offset).mean(1))
            hum = net.to_hum(features)
            wav = decode(features[..., context * 4 :])
        wav = wav.float()[:, 0]
        target = y[:, context * c.FRAME :][:, : wav.shape[-1]]
        edge = 2000  # the convolutions' own left context
        heard, phases = wave_loss(wav[:, edge:], target[:, edge:])
        low = hum_loss(hum.float()[..., 4 * context :], low_band(y)[..., 4 * context :])
        opt.zero_grad()
        (heard + phases + 0.5 * low).backward()
        run.average(params)
        nn.utils.clip_grad_norm_(params, 2.0)
        opt.step()
        mean.append((heard.item(), phases.item(), low.item()))
        run.stepped(state)
        if run.log(50, lambda: [round(float(v), 4) for v in np.mean(mean, 0)]):
            mean = []
    run.stepped(state, last=True)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    command, rest = sys.argv[1], sys.argv[2:]
    {"render": render, "stage1": stage1, "trunk": trunk, "stage2": stage2}[command](*map(int, rest))
