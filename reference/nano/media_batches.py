"""Images and audio on disk, and training batches from them.

    python3 media_batches.py images N SEED [KIND=SHARE,...]     work/images/*.npz, of all kinds or of these
    python3 media_batches.py sounds N SEED      work/sounds/*.npz (beeps, noise, spoken questions, sentences to transcribe)
    python3 media_batches.py beeps N SEED       the same without speech
    python3 media_batches.py replies N SEED     nano's own replies, to transcribe
    python3 media_batches.py requests N SEED    questions
    python3 media_batches.py asked N SEED       the same with open vocabulary
    python3 media_batches.py free N SEED        word sequences of no grammar
    python3 media_batches.py recorded N SEED    English from recorded speech (flite)
"""

import os
import random
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch

import config as c
import long_talks
import media_data as md
import speech_data as sd
import text_data
import open_text
from senses import films_of, labels_of
from wordings import ask

IMAGES, SOUNDS = c.WORK / "images", c.WORK / "sounds"
_FEATURES = None


def whisper_mel(wave):
    """16 kHz mono to the checkpoint's log-mel [128, frames] float16, as WhisperFeatureExtractor without padding."""
    global _FEATURES
    if _FEATURES is None:
        from transformers import WhisperFeatureExtractor
        _FEATURES = WhisperFeatureExtractor(feature_size=128, hop_length=160, n_fft=400, sampling_rate=16000)
    return _FEATURES(wave, sampling_rate=16000, padding=False, return_tensors="np")["input_features"][0].astype(np.float16)


def audio_tokens(frames):
    left = frames % 100
    return ((((left - 1) // 2 + 1) - 1) // 2 + 1 - 1) // 2 + 1 + frames // 100 * 13


# espeak-ng's training variants; m7 and f5 are kept for the evaluation
SPEAKERS = {"m": "m1 m2 m3 m4 m5 m6 m8 Alex Andy Lee Michael adam benjamin david edward john paul robert victor".split(),
            "f": "f1 f2 f3 f4 Alicia Andrea Annie anika belinda linda steph shelby".split()}


def said_aloud(text, lang):
    """A typed request in spoken form."""
    signs = {"+": (" plus ", "加"), "-": (" minus ", "减"), "*": (" times ", "乘"), "×": (" times ", "乘"), " x ": (" times ", "乘"), "/": (" divided by ", "除以"), "÷": (" divided by ", "除以"), "=": (" ", "等于"), "?": ("", ""), '"': ("", ""), "“": ("", ""), "”": ("", "")}
    for sign, (en, zh) in signs.items():
        if sign != "-" or any(ch.isdigit() for ch in text):
            text = text.replace(sign, en if lang == "en" else zh)
    return " ".join(text.split()) if lang == "en" else text.replace("等于等于", "等于")


def spoken(rng, split, only=None, recorded=False):
    """A clip of speech and what may be asked about it: (wave 16 kHz, {"text", "answer", "lang"}). `only`: "reply", what nano says itself,
    half of it in one of its voices; "request", what wants an answer; "asked", the same in open words; "free", words that no grammar
    of ours puts together. `recorded`: English of a person's recordings."""
    lang = "en" if recorded else rng.choice(["zh", "en"])
    kind = "free" if only == "free" else "asked" if only == "asked" else "reply" if only == "reply" else rng.choices(["talk", "arith", "count"], [5, 2, 1])[0] if only == "request" else rng.choices(["talk", "arith", "count", "copy", "reply"], [34, 12, 6, 26, 22] if split == "train" else [34, 12, 6, 48, 0])[0]
    answer = None
    if kind == "free":
        text = open_text.free_sentence(rng, split, lang) if rng.random() < 0.5 else open_text.odd_sentence(rng, split, lang)
    elif kind == "asked":
        skill = rng.choice(["arith", "arith", "talk", "talk", "talk", "name", "name", "bigger", "count", "repeat", "spell", "unknown"])
        (_, text), (_, answer), *_ = open_text.SKILLS[skill](rng, split, lang)
        text, answer = said_aloud(text, lang), answer if lang == "en" else text_data.full_width(answer)
    elif kind == "copy":
        text = text_data._until(rng, split, lambda: (lambda s: (("copy", s), s))(text_data.sentence(rng, lang)))
    elif kind == "reply":
        text = text_data.sample(rng, split, lang, "talk")["messages"][-1][1] if only == "reply" and rng.random() < 0.5 else sd.utterance_text(rng, lang)
    elif kind == "talk":
        key, zq, za, eq, ea = rng.choice(text_data.TALK)
        text, answer = (text_data.pick(rng, eq, split, key), ea[0]) if lang == "en" else (text_data.pick(rng, zq, split, key), text_data.full_width(za[0]))
        if lang == "zh" and not text.endswith(("。", "?", "!")):
            text += "。" if rng.random() < 0.5 else ""
    else:
        messages = text_data.sample(rng, split, lang, kind)["messages"]
        text, answer = next(t for r, t in messages if r == "user"), messages[-1][1]
        text = said_aloud(text, lang)
    if recorded:
        voice = rng.choice(list(sd.RECORDED))
        wave = sd.speak_recorded(text, voice, rng.uniform(0.85, 1.35), sd.RECORDED[voice] * rng.uniform(0.85, 1.2))
    elif rng.random() < (0.5 if only == "reply" else 0.1 if split == "train" else 0):
        wave = sd.speak(text, lang, *rng.choice(list(c.VOICES.values())))
    else:
        sex = rng.choice("mf")
        variant = rng.choice(SPEAKERS[sex]) if split == "train" else {"m": "m7", "f": "f5"}[sex]
        wave = sd.speak(text, lang, sex, rng.uniform(85, 150) if sex == "m" else rng.uniform(160, 270), rng.randint(135, 200), variant)
    if not recorded:
        from scipy.signal import resample_poly
        wave = resample_poly(wave, 2, 3).astype(np.float32)
    wave = wave * rng.uniform(0.4, 1.6)
    if rng.random() < 0.5:
        wave = wave + np.random.default_rng(rng.randint(0, 2**31)).normal(0, rng.choice([0.001, 0.004, 0.01]), len(wave)).astype(np.float32)
    edge = lambda: rng.choice([0, rng.randint(0, 4000)])  # speech that begins at once is harder
    return np.pad(wave, (edge(), edge())), {"text": text, "answer": answer, "lang": lang, **({"free": True} if kind == "free" else {})}


def spoken_dialogue(rng, facts, tokens):
    en = facts["lang"] == "en"
    if facts["answer"] and rng.random() < 0.6:
        return [("user", [("audio", tokens)]), ("assistant", facts["answer"])]
    if facts.get("free") and rng.random() < 0.25:  # no question
        heard = facts["text"] if en else facts["text"].rstrip("。?!")
        return [("user", [("audio", tokens)]), ("assistant", f"I heard: {heard}" if en else text_data.full_width(f"我听到:{heard}"))]
    q = ask(rng, "said", en)
    text = facts["text"] if en else facts["text"].rstrip("。?!")
    return [("user", [("audio", tokens), q if en else text_data.full_width(q)]), ("assistant", text if en else text_data.full_width(text))]


def store(path, **arrays):
    """Trainers read new files while this runs, so a file appears whole."""
    part = path.with_suffix(".part")
    with open(part, "wb") as f:
        np.savez(f, **arrays)
    part.rename(path)


def make_images(n, seed, split="train", kinds=None):
    """`kinds`: shares by kind of image; default: those of `make_image`."""
    rng = random.Random(seed)
    kind = lambda: rng.choices(list(kinds), list(kinds.values()))[0] if kinds else None
    IMAGES.mkdir(parents=True, exist_ok=True)
    for i in range(n // 500):
        pairs = [md.make_image(rng, split, kind()) for _ in range(500)]
        arrays = [md.prepare(image) for image, _ in pairs]
        store(IMAGES / f"{seed + i:06d}.npz", shapes=np.array([a.shape[:2] for a in arrays]), pixels=np.concatenate([a.ravel() for a in arrays]), scenes=np.array([s for _, s in pairs], object))
        print("images", (i + 1) * 500, flush=True)


def make_sounds(n, seed, split="train", speech=0.8, **kind):
    rng = random.Random(seed)
    SOUNDS.mkdir(parents=True, exist_ok=True)
    for i in range(n // 250):
        rows = []
        for _ in range(250):
            wave, facts = md.make_sound(rng, split) if rng.random() >= speech else spoken(rng, split, **kind)
            rows.append((whisper_mel(wave), facts))
        store(SOUNDS / f"{seed + i:06d}.npz", lengths=np.array([r[0].shape[1] for r in rows]), mels=np.concatenate([r[0] for r in rows], 1), facts=np.array([r[1] for r in rows], object))
        print("sounds", (i + 1) * 250, flush=True)


class Store:
    """All files of a folder in memory, re-read when new ones appear; several processes (torchrun, SHARE) split them."""

    def __init__(self, folder, load):
        self.folder, self.load, self.known, self.rows = folder, load, set(), []

    def refresh(self):
        own, of = map(int, os.environ.get("SHARE", f"{os.environ.get('RANK', '0')}/{os.environ.get('WORLD_SIZE', '1')}").split("/"))
        for f in sorted(self.folder.glob("*.npz"))[own::of]:
            if f not in self.known:
                try:
                    self.rows += self.load(np.load(f, allow_pickle=True))
                    self.known.add(f)
                except (OSError, EOFError, ValueError):
                    pass
        return self.rows


def _images(d):
    out, at = [], 0
    for (h, w), scene in zip(d["shapes"], d["scenes"]):
        out.append(((at, h, w), scene))
        at += h * w * 3
    pixels = d["pixels"]
    return [(pixels[a : a + h * w * 3].reshape(h, w, 3), scene) for (a, h, w), scene in out]


def _sounds(d):
    ends = np.cumsum(d["lengths"])
    mels = d["mels"]
    return [(mels[:, e - n : e], f) for n, e, f in zip(d["lengths"], ends, d["facts"])]


images, sounds = Store(IMAGES, _images), Store(SOUNDS, _sounds)


def shake(image, rng):
    """A little brighter or darker, more or less contrast, moved by a few pixels; half of the time through a JPEG file."""
    x = image.astype(np.float32)
    x = (x - 128) * rng.uniform(0.85, 1.15) + 128 + rng.uniform(-12, 12)
    dx, dy = rng.randint(-6, 6), rng.randint(-6, 6)
    x = np.pad(x, ((6, 6), (6, 6), (0, 0)), "edge")[6 + dy : 6 + dy + image.shape[0], 6 + dx : 6 + dx + image.shape[1]]
    x = np.clip(x, 0, 255).astype(np.uint8)
    return md.compressed(x[None], rng)[0] if rng.random() < 0.5 else x


def image_batch(rng, chat, size=32):
    rows = images.refresh()
    groups = {}
    for image, scene in rng.sample(rows, min(len(rows), 7 * size)):
        image = shake(image, rng) if rng.random() < 0.6 else image
        groups.setdefault(image.shape, []).append((image, scene))
    out = []
    for group in groups.values():
        tokens = group[0][0].shape[0] * group[0][0].shape[1] // 1024
        talks = [(chat.encode(md.image_dialogue(rng, scene, tokens, more=0.85)), image, scene) for image, scene in group]
        talks.sort(key=lambda row: len(row[0][0]))  # for little padding
        for i in range(0, len(talks) - size // 2, size):
            part = talks[i : i + size]
            x, g = zip(*(md.patches(np.stack([im, im])) for _, im, _ in part))
            ids, att, lab = chat.batch([row[0] for row in part])
            out.append({"input_ids": ids, "attention_mask": att, "labels": lab, "pixel_values": torch.from_numpy(np.concatenate(x)), "image_grid_thw": torch.tensor(g),
                        "scenes": labels_of([scene for *_, scene in part])})
    rng.shuffle(out)
    return out


def pair_batch(rng, chat, size=24):
    """Two images in a message; one in three pairs shares the colour, one in three the shape."""
    rows = images.refresh()
    groups = {}
    for image, scene in rows:
        if scene["kind"] == "one":
            groups.setdefault(image.shape, []).append((image, scene))
    out = []
    for group in groups.values():
        for _ in range(max(1, 8 * len(group) // len(rows))):
            part, by = [], {}
            for row in group:
                by.setdefault(row[1]["colour"], []).append(row)
                by.setdefault(row[1]["shape"], []).append(row)
            for _ in range(size):
                first = rng.choice(group)
                alike = rng.random()
                part.append((first, rng.choice(by[first[1]["colour"]] if alike < 0.33 else by[first[1]["shape"]] if alike < 0.66 else group)))
            x, g = zip(*(md.patches(np.stack([im, im])) for pair in part for im, _ in pair))
            ids, att, lab = chat.batch([chat.encode(md.pair_dialogue(rng, a[1], b[1], g[0][1] * g[0][2] // 4)) for a, b in part])
            out.append({"input_ids": ids, "attention_mask": att, "labels": lab, "pixel_values": torch.from_numpy(np.concatenate(x)), "image_grid_thw": torch.tensor(g),
                        "scenes": labels_of([scene for pair in part for _, scene in pair])})
    rng.shuffle(out)
    return out


def features(mels):
    """A list of [128, frames] to padded input_features and feature_attention_mask."""
    n = max(m.shape[1] for m in mels)
    padded, mask = torch.zeros(len(mels), 128, n), torch.zeros(len(mels), n, dtype=torch.long)
    for b, mel in enumerate(mels):
        padded[b, :, : mel.shape[1]] = torch.from_numpy(mel.astype(np.float32))
        mask[b, : mel.shape[1]] = 1
    return {"input_features": padded, "feature_attention_mask": mask}


def quiet(mel, before, after):
    """The log-mel with silence around it (the quietest value is what the extractor clips to)."""
    return np.pad(mel, ((0, 0), (before, after)), constant_values=mel.min())


def framed(rng, mel, facts):
    """Silence in front of the log-mel, or speech that begins at once and ends at once: the rests of 70 and 100 ms cut off."""
    if "kind" not in facts and rng.random() < 0.4:
        return mel[:, rng.choice([4, 6, 7]) : mel.shape[1] - rng.choice([0, 5, 9])]
    return quiet(mel, rng.choice([0, rng.randint(0, 60)]), 0)


def sound_batch(rng, chat, size=32):
    rows = rng.sample(sounds.refresh(), min(len(sounds.rows), size * 12))
    rows += [row for row in rng.sample(sounds.rows, min(len(sounds.rows), size * 12)) if row[1].get("free")]  # the hardest kind twice
    rows.sort(key=lambda row: row[0].shape[1])
    out = []
    for i in range(0, len(rows) - size + 1, size):
        part = [(framed(rng, mel, facts), facts) for mel, facts in rows[i : i + size]]
        enc = []
        for mel, facts in part:
            k = audio_tokens(mel.shape[1])
            enc.append(chat.encode(md.sound_dialogue(rng, facts, k) if "kind" in facts else spoken_dialogue(rng, facts, k)))
        ids, att, lab = chat.batch(enc)
        out.append({"input_ids": ids, "attention_mask": att, "labels": lab, **features([m for m, _ in part]), "facts": [f for _, f in part]})
    rng.shuffle(out)
    return out


WAITING = {"video": {}, "small": {}, "clip": {}, "small clip": {}}  # rows by shape, until there are enough of one for a batch


def full_batches(kind, make, size, count=6):
    """`count` lists of `size` rows whose frames are of one shape; `make()` gives a row, its frames first."""
    out, groups = [], WAITING[kind]
    while len(out) < count:
        row = make()
        group = groups.setdefault(row[0].shape, [])
        group.append(row)
        if len(group) == size:
            out.append(groups.pop(row[0].shape))
    return out


def film_inputs(rows, scenes):
    x, g = zip(*(md.patches(row[0]) for row in rows))
    return g, {"pixel_values_videos": torch.from_numpy(np.concatenate(x)), "video_grid_thw": torch.tensor(g), "video_second_per_grid": torch.ones(len(rows)),
               "scenes": labels_of([film for s in scenes for film in films_of(s)])}


def video_batch(rng, chat, size=20):
    """Half of them are small videos about counting, which generalises to larger ones at a lower cost."""
    parts = full_batches("video", lambda: md.make_video(rng), size, 1)
    parts += full_batches("small", lambda: md.make_video(rng, kind="appear", size=(64, 64)), 3 * size, 1)
    out = []
    for part in parts:
        g, inputs = film_inputs(part, [s for _, s in part])
        ids, att, lab = chat.batch([chat.encode(md.video_dialogue(rng, s, g[0][0] * g[0][1] * g[0][2] // 4)) for _, s in part])
        out.append({"input_ids": ids, "attention_mask": att, "labels": lab, **inputs})
    return out


def clip(rng, frames, mel):
    """Audio for a video of about its length: (log-mel as long as the video, or a little longer, chat part)."""
    grids = len(frames) // 2
    room = grids * 100 - mel.shape[1]
    before = rng.randint(0, max(0, min(room, 60)))
    mel = quiet(mel, before, max(0, room - before))
    return mel, ("clip", grids, frames.shape[1] * frames.shape[2] // 1024, 1.0, audio_tokens(mel.shape[1]))


def clip_batch(rng, chat, size=12):
    """Videos with audio, which is speech half of the time; half of them small videos, as in `video_batch`."""
    rows = sounds.refresh()
    spoken_rows, other_rows = [r for r in rows if "kind" not in r[1]], [r for r in rows if "kind" in r[1]]

    def make(**film):
        frames, scene = md.make_video(rng, **film)
        of = spoken_rows if rng.random() < 0.5 else other_rows
        for _ in range(40):
            mel, facts = rng.choice(of)
            if mel.shape[1] <= 50 * len(frames) + 20:
                break
        return frames, scene, mel, facts

    out = []
    for part in full_batches("clip", make, size, 1) + full_batches("small clip", lambda: make(size=(64, 64)), 3 * size, 1):
        _, inputs = film_inputs(part, [s for _, s, *_ in part])
        mels, parts = zip(*(clip(rng, f, mel) for f, _, mel, _ in part))
        ids, att, lab = chat.batch([chat.encode(md.clip_dialogue(rng, s, facts, p)) for (_, s, _, facts), p in zip(part, parts)])
        out.append({"input_ids": ids, "attention_mask": att, "labels": lab, **inputs, **features(mels), "use_audio_in_video": True, "facts": [r[3] for r in part]})
    rng.shuffle(out)
    return out


def talk_batch(rng, chat, size=8):
    """Conversations of three to twelve turns with images of one size and audio."""
    shapes = {}
    for row in rng.sample(images.refresh(), min(len(images.rows), 1500)):
        shapes.setdefault(row[0].shape, []).append(row)
    short = [r for r in rng.sample(sounds.refresh(), min(len(sounds.rows), 1500)) if r[0].shape[1] < 420]
    by = {"en": [r for r in short if r[1].get("lang", "en") == "en"], "zh": [r for r in short if r[1].get("lang", "zh") == "zh"]}
    out = []
    for _ in range(6):
        group = rng.choice(sorted((g for g in shapes.values() if len(g) > 20), key=len)[-6:])
        tokens, rows = group[0][0].shape[0] * group[0][0].shape[1] // 1024, []
        turns = rng.choice([3, 4, 4, 8, 12, 12])
        if turns == 4:  # two images and questions about both
            group = [row for row in group if row[1]["kind"] in ("one", "mixed")] if rng.random() < 0.5 else group
        for _ in range(size if turns > 5 else 2 * size):
            lang = rng.choice(["en", "zh"])
            pictures = [(shake(im, rng) if rng.random() < 0.6 else im, scene, tokens) for im, scene in rng.sample(group, 2 if turns == 4 else rng.choice([0, 1, 2, 2, 2, 3]) if turns > 3 else 1)]
            heard = [(mel, facts, audio_tokens(mel.shape[1])) for mel, facts in rng.sample(by[lang], 0 if turns == 4 else rng.choice([0, 1, 1, 2]) if turns > 3 else rng.choice([0, 1]))]
            rows.append(long_talks.talk(rng, "train", lang, turns, pictures, heard))
        ids, att, lab = chat.batch([chat.encode(messages) for messages, *_ in rows])
        batch = {"input_ids": ids, "attention_mask": att, "labels": lab}
        shown, played = ([x for row in rows for x in row[i]] for i in (2, 3))
        if shown:
            x, g = zip(*(md.patches(np.stack([im, im])) for im, *_ in shown))
            batch.update({"pixel_values": torch.from_numpy(np.concatenate(x)), "image_grid_thw": torch.tensor(g), "scenes": labels_of([scene for _, scene, _ in shown])})
        if played:
            batch.update(features([mel for mel, *_ in played]))
        out.append(batch)
    return out


TABLE = {"talk": talk_batch, "image": image_batch, "pair": pair_batch, "audio": sound_batch, "video": video_batch, "clip": clip_batch}

SOUND_KINDS = {"sounds": {}, "beeps": {"speech": 0}, "replies": {"speech": 1, "only": "reply"}, "requests": {"speech": 1, "only": "request"}, "free": {"speech": 1, "only": "free"}, "asked": {"speech": 1, "only": "asked"}, "recorded": {"speech": 1, "recorded": True}}

if __name__ == "__main__":
    what, n, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if what == "images":
        shares = (part.split("=") for part in sys.argv[4].split(",")) if len(sys.argv) > 4 else ()
        make_images(n, seed, kinds={kind: float(share) for kind, share in shares})
    else:
        make_sounds(n, seed, **SOUND_KINDS[what])
