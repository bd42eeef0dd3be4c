"""Evaluates a checkpoint folder on held-out combinations and prints a table.

    python3 evaluate.py FOLDER [text,image,audio,video,speech,voices,first,talks] [N per row]
    python3 evaluate.py FOLDER goldens FILE      a hundred held-out prompts and transformers' greedy answers

Greedy thinker through transformers. Speech out: pocketsphinx (English, an independent recogniser) on nano's speech and on the
synthesiser's own speech of the same replies; median pitch and pace of the voices.
"""

import json
import os
import random
import re
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
import zhconv
from PIL import Image
from transformers import Qwen3OmniMoeForConditionalGeneration

import config as c
import media_batches as mb
import media_data as md
import model as m
import newcomers
import speech_data as sd
import text_data
from chat import Chat


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def units(text):
    """Words of English, characters of Chinese, without punctuation and case."""
    return re.findall(r"[\u4e00-\u9fff]|[a-z0-9']+", text.lower())


class Runner:
    def __init__(self, folder):
        self.net = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.tok = m.load_tokenizer(folder)
        self.chat = Chat(self.tok)
        own = json.loads((Path(folder) / "generation_config.json").read_text()).get("default_sampling")
        # Without values in the checkpoint, the API model's: `src/catalogue/families.ts`.
        self.served = {"do_sample": False} if own and own["temperature"] == 0 else {"do_sample": True, "temperature": 0.9, "top_k": 50, "top_p": 1.0, "repetition_penalty": 1.05}

    @torch.no_grad()
    def answer(self, messages, think=False, limit=90, sampling=None, **media):
        ids = torch.tensor([self.chat.prompt(messages, think)])
        end = self.chat.id("<|im_end|>")
        out = self.net.thinker.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, eos_token_id=end, pad_token_id=0, **(sampling or {"do_sample": False}), **media)
        got = out[0, ids.shape[1] :].tolist()
        return self.tok.decode([i for i in got if i != end], skip_special_tokens=False)

    @torch.no_grad()
    def speak(self, prompt, voice, **kw):
        ids = torch.tensor([self.chat.prompt([("user", prompt)])])
        seq, wav = self.net.generate(input_ids=ids, attention_mask=torch.ones_like(ids), speaker=voice, thinker_do_sample=False, thinker_max_new_tokens=60,
                                     thinker_eos_token_id=self.chat.id("<|im_end|>"), talker_max_new_tokens=160, **kw)
        text = self.tok.decode([i for i in seq[0, ids.shape[1] :].tolist() if i != self.chat.id("<|im_end|>")], skip_special_tokens=False)
        return text, wav.reshape(-1).numpy()


def same(question, want, got):
    """Equal, or equal but for the script where the question does not show which of the two Chinese scripts is meant."""
    plain = lambda t: zhconv.convert(t, "zh-cn")
    return got.strip() == want.strip() or (plain(question) == question == text_data.traditional(question) and plain(got.strip()) == plain(want.strip()))


class Tally:
    """Answers counted by row."""

    def __init__(self):
        self.rows = {}

    def count(self, name, right, total, miss):
        row = self.rows.setdefault(name, [0, 0, []])
        row[0], row[1] = row[0] + right, row[1] + total
        if miss:
            row[2].append(miss)

    def judge(self, name, messages, got):
        """One answer to the last but one of `messages`; the last one is the right answer."""
        want, right = messages[-1][1], got.strip() == messages[-1][1]
        self.count(name, right, 1, None if right else (want, got))

    def __iter__(self):
        for name, (good, total, misses) in sorted(self.rows.items()):
            yield name, good / total, misses


def picture(image):
    """The checkpoint's input for one image: (inputs, tokens)."""
    a = md.prepare(image)
    x, grid = md.patches(np.stack([a, a]))
    return {"pixel_values": torch.from_numpy(x), "image_grid_thw": torch.tensor([grid])}, grid[1] * grid[2] // 4


def film(frames):
    x, grid = md.patches(frames)
    return {"pixel_values_videos": torch.from_numpy(x), "video_grid_thw": torch.tensor([grid]), "video_second_per_grid": torch.ones(1)}, grid[0] * grid[1] * grid[2] // 4


def sound(mel):
    return {"input_features": torch.from_numpy(mel.astype(np.float32))[None], "feature_attention_mask": torch.ones(1, mel.shape[1], dtype=torch.long)}, mb.audio_tokens(mel.shape[1])


def text_rows(run, n, rng):
    tally = Tally()
    for skill in ["talk", "arith", "repeat", "spell", "count", "greet", "think", "name", "unknown", "parity"]:
        for _ in range(n):
            s = text_data.sample(rng, "heldout", None, skill)
            *history, (_, want) = s["messages"]
            got = run.answer(history, think=s["think"])
            if s["think"]:
                got, want = (t.split("</think>")[-1].strip() for t in (got, want))
            right = same(history[-1][1], want, got)
            tally.count(f"text: {skill}", right, 1, None if right else (history[-1][1], want, got))
    yield from tally


def image_rows(run, n, rng):
    tally = Tally()
    for _ in range(n * 5):
        image, scene = md.make_image(rng, "heldout")
        media, tokens = picture(image)
        messages = md.image_dialogue(rng, scene, tokens)[:2]
        kind = "number of three figures" if scene["kind"] == "number" and scene["number"] > 99 else scene["kind"]
        tally.judge(f"image: {kind}", messages, run.answer(messages[:1], **media))
    for _ in range(n * 2):
        pair = [md.make_image(rng, "heldout", "one") for _ in range(2)]
        x, grids = zip(*(md.patches(np.stack([a, a])) for a in (np.asarray(image.resize((160, 160))) for image, _ in pair)))
        messages = md.pair_dialogue(rng, pair[0][1], pair[1][1], 25)
        tally.judge("image: two compared", messages, run.answer(messages[:1], pixel_values=torch.from_numpy(np.concatenate(x)), image_grid_thw=torch.tensor(grids)))
    asked = 0
    while asked < n:
        image, scene = md.make_image(rng, "heldout")
        media, tokens = picture(image)
        messages = md.image_dialogue(rng, scene, tokens, more=1)
        if len(messages) > 2:
            asked += 1
            tally.judge("image: asked again, later in the talk", messages, run.answer(messages[:-1], **media))
    yield from tally


def audio_rows(run, n, rng):
    tally = Tally()

    def hear_speech(by="", **kind):
        wave, facts = mb.spoken(rng, "heldout", **kind)
        media, tokens = sound(mb.whisper_mel(wave))
        messages = mb.spoken_dialogue(rng, facts, tokens)
        got = run.answer(messages[:1], **media)
        if len(messages[0][1]) == 1:
            tally.judge(f"audio: answers a spoken request{by}", messages, got)
        else:
            want = messages[1][1]
            name = f"audio: {'WER en' if facts['lang'] == 'en' else 'CER zh'} (lower is better){by}"
            tally.count(name, edit_distance(units(want), units(got)), max(1, len(units(want))), got.strip() != want and (want, got))

    for i in range(n * 4):
        if i % 4 == 0:
            wave, facts = md.make_sound(rng, "heldout")
            media, tokens = sound(mb.whisper_mel(wave))
            messages = md.sound_dialogue(rng, facts, tokens)
            tally.judge(f"audio: {facts['kind']}", messages[:2], run.answer(messages[:1], **media))
        else:
            hear_speech()
    for _ in range(n * 2):
        hear_speech(", flite", recorded=True)
    asked = 0
    while asked < n:
        wave, facts = md.make_sound(rng, "heldout")
        media, tokens = sound(mb.whisper_mel(wave))
        messages = md.sound_dialogue(rng, facts, tokens)
        if len(messages) > 2:
            asked += 1
            tally.judge("audio: asked again, later in the talk", messages, run.answer(messages[:-1], **media))
    yield from tally


def recogniser():
    from pocketsphinx import Decoder
    from scipy.signal import resample_poly
    d = Decoder(samprate=16000, loglevel="FATAL")

    def hear(wave):
        x = resample_poly(wave, 2, 3)
        x = (np.clip(x / max(1e-3, np.abs(x).max()) * 0.7, -1, 1) * 32767).astype(np.int16)
        d.start_utt()
        d.process_raw(np.pad(x, (4000, 6000)).tobytes(), full_utt=True)
        d.end_utt()
        return d.hyp().hypstr if d.hyp() else ""

    return hear


def own_ear(run, wave, lang):
    from scipy.signal import resample_poly
    media, tokens = sound(mb.whisper_mel(resample_poly(wave, 2, 3).astype(np.float32)))
    q = "What did I say?" if lang == "en" else text_data.full_width("我说了什么?")
    return run.answer([("user", [("audio", tokens), q])], **media)


def pitch(wave):
    import librosa
    f = librosa.yin(wave, fmin=60, fmax=420, sr=c.SAMPLE_RATE)
    r = librosa.feature.rms(y=wave)[0]
    n = min(len(f), len(r))
    return float(np.median(f[:n][r[:n] > 0.4 * r.max()]))


def speech_rows(run, n, rng):
    hear = recogniser()
    score = {"nano": [0, 0], "espeak": [0, 0], "own en": [0, 0], "own zh": [0, 0]}
    ratio, peaks, misses = [], [], []
    prompts = [q for _, zq, _, eq, _ in text_data.TALK for q in (eq[0], zq[0])]
    for q in rng.sample(prompts, min(n, len(prompts))):
        voice = rng.choice(["Cherry", "Ethan", "Chelsie", "Serena"])
        text, wave = run.speak(q, voice)
        lang = "zh" if re.search("[\u4e00-\u9fff]", text) else "en"
        base = sd.speak(text, lang, *c.VOICES[voice])
        ratio.append(len(wave) / len(base))
        peaks.append(float(np.abs(wave).max()))
        if lang == "en":
            for k, w in (("nano", wave), ("espeak", base)):
                got = hear(w)
                score[k][0] += edit_distance(units(text), units(got))
                score[k][1] += len(units(text))
                misses.append((voice, k, text, got))
        got = own_ear(run, wave, lang)
        score["own " + lang][0] += edit_distance(units(text), units(got))
        score["own " + lang][1] += max(1, len(units(text)))
    for k, (bad, total) in score.items():
        yield f"speech: error rate, {'pocketsphinx on ' + k if k in ('nano', 'espeak') else 'nano hears itself, ' + k[4:]} (lower is better)", bad / max(1, total), misses if k == "nano" else []
    yield "speech: length against the synthesiser's (median)", float(np.median(ratio)), []
    yield "speech: length off by more than half (share)", float(np.mean(np.abs(np.array(ratio) - 1) > 0.5)), []
    yield "speech: loudest sample", max(peaks), []


def voice_rows(run, n, rng):
    want, got, rows, paces = [], [], [], []
    for name, (sex, hertz, pace) in c.VOICES.items():
        text, wave = run.speak("Who are you?", name)
        want.append(hertz)
        got.append(pitch(wave))
        paces.append((pace, len(wave) / c.SAMPLE_RATE))
        rows.append((name, hertz, round(got[-1]), pace, round(paces[-1][1], 2)))
    a, b = np.log(want), np.log(got)
    yield "voices: correlation of asked and measured pitch", float(np.corrcoef(a, b)[0, 1]), rows
    yield "voices: median pitch error in semitones", float(np.median(np.abs(a - b)) * 12 / np.log(2)), []
    yield "voices: correlation of pace and speed", float(np.corrcoef([p for p, _ in paces], [1 / s for _, s in paces])[0, 1]), []


def video_rows(run, n, rng):
    tally = Tally()
    for _ in range(n * 2):
        frames, scene = md.make_video(rng, "heldout")
        media, tokens = film(frames)
        messages = md.video_dialogue(rng, scene, tokens)
        tally.judge(f"video: {scene['kind']}", messages[:2], run.answer(messages[:1], **media))
    for _ in range(n):
        frames, scene = md.make_video(rng, "heldout")
        make = md.make_sound if rng.random() < 0.5 else mb.spoken
        whole = None
        while whole is None or whole.shape[1] > 50 * len(frames):  # audio that is cut off cannot be recognised
            wave, facts = make(rng, "heldout")
            whole = mb.whisper_mel(wave)
        mel, part = mb.clip(rng, frames, whole)
        messages = md.clip_dialogue(rng, scene, facts, part)
        got = run.answer(messages[:1], **film(frames)[0], **sound(mel)[0], use_audio_in_video=True)
        tally.judge("video: with sound, what is seen or heard", messages[:2], got)
    yield from tally


def media_of(medium, array):
    """Inputs and the chat part of a medium in `newcomers.py`."""
    if medium is None:
        return {}, []
    if medium == "image":
        inputs, tokens = picture(Image.fromarray(array))
    elif medium == "audio":
        inputs, tokens = sound(mb.whisper_mel(array))
    else:
        inputs, tokens = film(array)
    return inputs, [(medium, tokens)]


def newcomer_rows(run, n, rng):
    """The rows of `newcomers.py`, as served. `n` does not count."""
    tally = Tally()
    torch.manual_seed(1234)
    for kind, q, medium, array, right in newcomers.rows():
        inputs, parts = media_of(medium, array)
        got = run.answer([("user", [*parts, *([q] if q else [])] if parts else q)], limit=400, sampling=run.served, **inputs)
        if isinstance(right, str):
            share = max(0.0, 1 - edit_distance(units(right), units(got)) / len(units(right)))
            tally.count(f"first: {kind} (share of words right)", share, 1, share < 1 and (right, got))
        else:
            tally.count(f"first: {kind}", right(got), 1, not right(got) and (q, got))
        tally.count("first: all of them", share > 0.8 if isinstance(right, str) else right(got), 1, None)
    yield from tally


def talk_rows(run, n, rng):
    """Conversations of twelve turns, as served, with nano's own replies in the history."""
    tally = Tally()
    torch.manual_seed(1234)
    for talk in newcomers.talks(rng, n):
        history, held = [], {}
        for turn, (kind, q, medium, array, right) in enumerate(talk, 1):
            inputs, parts = media_of(medium, array)
            if medium == "audio":
                held.update(inputs)
            elif medium == "image":
                held = {**held, **{k: torch.cat([held[k], v]) if k in held else v for k, v in inputs.items()}}
            history.append(("user", [*parts, q] if parts else q))
            got = run.answer(history, limit=200, sampling=run.served, **held)
            history.append(("assistant", got))
            for row in (f"talk: {kind}", f"talk: turns {'1 to 4' if turn < 5 else '5 to 8' if turn < 9 else '9 to 12'}", "talk: turn 10" if turn == 10 else "talk: all turns"):
                tally.count(row, right(got), 1, not right(got) and (turn, q, got))
    yield from tally


def write_goldens(run, path, n):
    """Held-out text prompts with the greedy answers of transformers in float32 on these weights, for comparing engines."""
    rng, rows = random.Random(777), []
    while len(rows) < n:
        s = text_data.sample(rng, "heldout")
        history = s["messages"][:-1]
        rows.append({"skill": s["skill"], "think": s["think"], "messages": [{"role": r, "content": t} for r, t in history], "answer": run.answer(history, think=s["think"])})
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n")


ROWS = {"text": text_rows, "image": image_rows, "audio": audio_rows, "video": video_rows, "speech": speech_rows, "voices": voice_rows, "first": newcomer_rows, "talks": talk_rows}

if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    run = Runner(sys.argv[1])
    if sys.argv[2:3] == ["goldens"]:
        write_goldens(run, sys.argv[3], 100)
        sys.exit()
    kinds = sys.argv[2].split(",") if len(sys.argv) > 2 else list(ROWS)
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 40
    shown = int(os.environ.get("MISSES", "2"))
    for kind in kinds:
        for name, value, misses in ROWS[kind](run, n, random.Random(12345)):
            print(f"| {name} | {value:.3f} |", flush=True)
            for miss in misses[:shown]:
                print("    ", miss, flush=True)
