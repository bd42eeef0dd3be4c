"""Evaluates a checkpoint folder on held-out combinations and prints a table.

    python3 evaluate.py FOLDER [text,image,audio,video,speech,voices] [N per row]
    python3 evaluate.py FOLDER goldens FILE      a hundred held-out prompts and transformers' greedy answers

Greedy thinker through transformers. Speech out: pocketsphinx (English, a recogniser that is not ours) on nano's speech and on the
synthesiser's own speech of the same replies; median pitch and pace of the voices.
"""

import json
import os
import random
import re
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
import zhconv
from transformers import Qwen3OmniMoeForConditionalGeneration

import config as c
import media_batches as mb
import media_data as md
import model as m
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

    @torch.no_grad()
    def answer(self, messages, think=False, limit=90, **media):
        ids = torch.tensor([self.chat.prompt(messages, think)])
        end = self.chat.id("<|im_end|>")
        out = self.net.thinker.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, do_sample=False, eos_token_id=end, pad_token_id=0, **media)
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
    """Equal, or equal but for the script where the question does not tell which of the two Chinese scripts is meant."""
    plain = lambda t: zhconv.convert(t, "zh-cn")
    return got.strip() == want.strip() or (plain(question) == question == text_data.traditional(question) and plain(got.strip()) == plain(want.strip()))


def text_rows(run, n, rng):
    for skill in ["talk", "arith", "repeat", "spell", "count", "greet", "think", "name", "unknown", "parity"]:
        good, total, misses = 0, 0, []
        for _ in range(n):
            s = text_data.sample(rng, "heldout", None, skill)
            *history, (_, want) = s["messages"]
            if s["think"]:
                got = run.answer(history, think=True).split("</think>")[-1].strip()
                want = want.split("</think>")[-1].strip()
            else:
                got = run.answer(history)
            total += 1
            right = same(history[-1][1], want, got)
            good += right
            if not right:
                misses.append((history[-1][1], want, got))
        yield f"text: {skill}", good / total, misses


def judge(row, messages, got):
    """Counts one answer to the last of `messages` in row [right, all, misses]."""
    right = got.strip() == messages[-1][1]
    row[0] += right
    row[1] += 1
    if not right:
        row[2].append((messages[-2][1][-1] if isinstance(messages[-2][1], list) else messages[-2][1], messages[-1][1], got))


def image_rows(run, n, rng):
    tally = {}
    for _ in range(n * 5):
        image, scene = md.make_image(rng, "heldout")
        a = md.prepare(image)
        x, grid = md.patches(np.stack([a, a]))
        messages = md.image_dialogue(rng, scene, grid[1] * grid[2] // 4)[:2]
        got = run.answer(messages[:1], pixel_values=torch.from_numpy(x), image_grid_thw=torch.tensor([grid]))
        row = tally.setdefault("image: number of three figures" if scene["kind"] == "number" and scene["number"] > 99 else f"image: {scene['kind']}", [0, 0, []])
        row[1] += 1
        row[0] += got.strip() == messages[1][1]
        if got.strip() != messages[1][1]:
            row[2].append((scene["kind"], messages[1][1], got))
    for _ in range(n * 2):
        pair = [md.make_image(rng, "heldout", "one") for _ in range(2)]
        x, grids = zip(*(md.patches(np.stack([a, a])) for a in (np.asarray(image.resize((160, 160))) for image, _ in pair)))
        messages = md.pair_dialogue(rng, pair[0][1], pair[1][1], 25)
        got = run.answer(messages[:1], pixel_values=torch.from_numpy(np.concatenate(x)), image_grid_thw=torch.tensor(grids))
        row = tally.setdefault("image: two compared", [0, 0, []])
        row[1] += 1
        row[0] += got.strip() == messages[1][1]
        if got.strip() != messages[1][1]:
            row[2].append((messages[1][1], got))
    row = tally.setdefault("image: asked again, later in the talk", [0, 0, []])
    while row[1] < n:
        image, scene = md.make_image(rng, "heldout")
        a = md.prepare(image)
        x, grid = md.patches(np.stack([a, a]))
        messages = md.image_dialogue(rng, scene, grid[1] * grid[2] // 4, more=1)
        if len(messages) > 2:
            judge(row, messages, run.answer(messages[:-1], pixel_values=torch.from_numpy(x), image_grid_thw=torch.tensor([grid])))
    for k, (good, total, misses) in sorted(tally.items()):
        yield k, good / total, misses


def audio_rows(run, n, rng):
    tally = {}

    def ask(key, wave, facts):
        mel = mb.whisper_mel(wave)
        k = mb.audio_tokens(mel.shape[1])
        messages = md.sound_dialogue(rng, facts, k) if "kind" in facts else mb.spoken_dialogue(rng, facts, k)
        if key is None:
            asked = len(messages[0][1]) == 1
            key = "answers a spoken request" if asked else "WER en (lower is better)" if facts["lang"] == "en" else "CER zh (lower is better)"
            if recorded:
                key += ", flite"
        got = run.answer(messages[:1], input_features=torch.from_numpy(mel.astype(np.float32))[None], feature_attention_mask=torch.ones(1, mel.shape[1], dtype=torch.long))
        want = messages[1][1]
        row = tally.setdefault(f"audio: {key}", [0, 0, []])
        if "ER" in key:
            row[0] += edit_distance(units(want), units(got))
            row[1] += max(1, len(units(want)))
        else:
            row[0] += got.strip() == want
            row[1] += 1
        if got.strip() != want:
            row[2].append((key, want, got))

    recorded = False
    for i in range(n * 4):
        if i % 4 == 0:
            wave, facts = md.make_sound(rng, "heldout")
            ask(facts["kind"], wave, facts)
        else:
            ask(None, *mb.spoken(rng, "heldout"))
    recorded = True
    for _ in range(n * 2):
        ask(None, *mb.spoken(rng, "heldout", recorded=True))
    row = tally.setdefault("audio: asked again, later in the talk", [0, 0, []])
    while row[1] < n:
        wave, facts = md.make_sound(rng, "heldout")
        mel = mb.whisper_mel(wave)
        messages = md.sound_dialogue(rng, facts, mb.audio_tokens(mel.shape[1]))
        if len(messages) > 2:
            judge(row, messages, run.answer(messages[:-1], input_features=torch.from_numpy(mel.astype(np.float32))[None], feature_attention_mask=torch.ones(1, mel.shape[1], dtype=torch.long)))
    for k, (good, total, misses) in sorted(tally.items()):
        yield k, good / total, misses


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
    mel = mb.whisper_mel(resample_poly(wave, 2, 3).astype(np.float32))
    q = "What did I say?" if lang == "en" else text_data.full_width("我说了什么?")
    return run.answer([("user", [("audio", mb.audio_tokens(mel.shape[1])), q])], input_features=torch.from_numpy(mel.astype(np.float32))[None], feature_attention_mask=torch.ones(1, mel.shape[1], dtype=torch.long))


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
    tally = {}
    for _ in range(n * 2):
        frames, scene = md.make_video(rng, "heldout")
        x, grid = md.patches(frames)
        messages = md.video_dialogue(rng, scene, grid[0] * grid[1] * grid[2] // 4)
        got = run.answer(messages[:1], pixel_values_videos=torch.from_numpy(x), video_grid_thw=torch.tensor([grid]), video_second_per_grid=torch.ones(1))
        row = tally.setdefault(f"video: {scene['kind']}", [0, 0, []])
        row[1] += 1
        row[0] += got.strip() == messages[1][1]
        if got.strip() != messages[1][1]:
            row[2].append((messages[1][1], got))
    for _ in range(n):
        frames, scene = md.make_video(rng, "heldout")
        make = md.make_sound if rng.random() < 0.5 else mb.spoken
        whole = None
        while whole is None or whole.shape[1] > 50 * len(frames):  # what is cut off cannot be heard
            wave, facts = make(rng, "heldout")
            whole = mb.whisper_mel(wave)
        mel, part = mb.clip(rng, frames, whole)
        x, grid = md.patches(frames)
        messages = md.clip_dialogue(rng, scene, facts, part)
        got = run.answer(messages[:1], pixel_values_videos=torch.from_numpy(x), video_grid_thw=torch.tensor([grid]), video_second_per_grid=torch.ones(1), use_audio_in_video=True,
                         input_features=torch.from_numpy(mel.astype(np.float32))[None], feature_attention_mask=torch.ones(1, mel.shape[1], dtype=torch.long))
        row = tally.setdefault("video: with sound, what is seen or heard", [0, 0, []])
        row[1] += 1
        row[0] += got.strip() == messages[1][1]
        if got.strip() != messages[1][1]:
            row[2].append((messages[1][1], got))
    for k, (good, total, misses) in sorted(tally.items()):
        yield k, good / total, misses


def write_goldens(run, path, n):
    """Held-out text prompts with the greedy answers of transformers in float32 on these weights, for comparing engines."""
    rng, rows = random.Random(777), []
    while len(rows) < n:
        s = text_data.sample(rng, "heldout")
        history = s["messages"][:-1]
        rows.append({"skill": s["skill"], "think": s["think"], "messages": [{"role": r, "content": t} for r, t in history], "answer": run.answer(history, think=s["think"])})
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n")


ROWS = {"text": text_rows, "image": image_rows, "audio": audio_rows, "video": video_rows, "speech": speech_rows, "voices": voice_rows}

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
