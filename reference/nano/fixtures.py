"""Writes the held-out images, audio and videos of `tests/nano.test.ts`.

    python3 fixtures.py OUT_DIR

cases.json: [{"skill", "kind", "files", "question", "answer"}]; images and frames as JPEG, audio as Opus, videos as H.264 in MP4, those
with audio with AAC. Needs ffmpeg. The answers are the grammars', not a checkpoint's. Skills
without a floor in OUT_DIR/floors.json are left out: all fixtures together stay under 15 MB.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

import media_batches as mb
import media_data as md

RATE = 16000


def ask(messages):
    """Question and answer of a dialogue's first turn."""
    (_, content), (_, answer) = messages[:2]
    return next((part for part in content if isinstance(part, str)), ""), answer


def record(path, wave):
    with tempfile.TemporaryDirectory() as tmp:
        soundfile.write(f"{tmp}/sound.wav", wave, RATE)
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", f"{tmp}/sound.wav", "-c:a", "libopus", "-b:a", "32k", str(path)], check=True)


def film(path, frames, wave=None):
    with tempfile.TemporaryDirectory() as tmp:
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(f"{tmp}/{i:03d}.png")
        sound = []
        if wave is not None:
            soundfile.write(f"{tmp}/sound.wav", wave, RATE)
            sound = ["-i", f"{tmp}/sound.wav", "-c:a", "aac", "-b:a", "48k"]
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-framerate", "2", "-i", f"{tmp}/%03d.png", *sound, "-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", str(path)], check=True)


def main(out):
    out, rng, cases = Path(out), random.Random(4242), []
    out.mkdir(parents=True, exist_ok=True)
    floors = json.loads((out / "floors.json").read_text())

    def add(skill, kind, files, messages):
        question, answer = ask(messages)
        cases.append({"skill": skill, "kind": kind, "files": files, "question": question, "answer": answer})

    for i in range(25):
        image, scene = md.make_image(rng, "heldout", ["one", "count", "number", "word", "emoji"][i % 5])
        name = f"picture-{i:02d}.jpg"
        image.save(out / name, quality=75)
        add(scene["kind"], "image", [name], md.image_dialogue(rng, scene, 1, "en" if i % 3 else "zh"))
    for i in range(5):
        pair = [md.make_image(rng, "heldout", "one") for _ in range(2)]
        names = [f"pair-{i:02d}-{j}.jpg" for j in range(2)]
        for name, (image, _) in zip(names, pair):
            image.resize((160, 160)).save(out / name, quality=75)
        add("two compared", "images", names, md.pair_dialogue(rng, pair[0][1], pair[1][1], 1, "en" if i % 2 else "zh"))
    for i in range(10):
        name = f"sound-{i:02d}.ogg"
        wave, facts = md.make_sound(rng, "heldout") if i < 3 else mb.spoken(rng, "heldout")
        record(out / name, wave)
        add("beeps" if i < 3 else "speech", "audio", [name], md.sound_dialogue(rng, facts, 1) if i < 3 else mb.spoken_dialogue(rng, facts, 1))
    for i in range(9):
        frames, scene = md.make_video(rng, "heldout", ["move", "change", "appear"][i % 3])
        if i < 4:
            files = []
            for j, frame in enumerate(frames):
                files.append(f"frames-{i:02d}-{j}.jpg")
                Image.fromarray(frame).save(out / files[-1], quality=75)
            add(scene["kind"], "frames", files, md.video_dialogue(rng, scene, 1, "en" if i % 2 else "zh"))
        else:
            name = f"video-{i:02d}.mp4"
            film(out / name, frames)
            add(scene["kind"], "video", [name], md.video_dialogue(rng, scene, 1, "en" if i % 2 else "zh"))
    for i in range(3):
        frames, scene = md.make_video(rng, "heldout", "move")
        wave, facts = md.make_sound(rng, "heldout")
        want = len(frames) * RATE // 2
        name = f"clip-{i:02d}.mp4"
        film(out / name, frames, wave[:want] if len(wave) > want else np.pad(wave, (0, want - len(wave))))
        add("sound of a video", "video", [name], md.clip_dialogue(rng, scene, facts, None, "en"))
    for case in cases:
        if case["skill"] not in floors:
            for name in case["files"]:
                (out / name).unlink()
    cases = [case for case in cases if case["skill"] in floors]
    (out / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
