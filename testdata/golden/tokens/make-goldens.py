"""Token counts by the functions printed in the Qwen-Omni guide, run as they stand on generated sizes and clips.

Usage: python3 make-goldens.py GUIDE.txt
Writes images.json, videos.json and audio.json beside itself. The guide's text is not kept here. Only these edits are made
to its code: the imports of PIL and OpenCV are replaced by objects of given sizes, prints are dropped, and for turbo the
constants are set as its comments say (with the divisor 32 of the last line following IMAGE_FACTOR, since the text says that
28 x 28 pixels are one token).
"""
import contextlib
import io
import json
import pathlib
import random
import re
import sys
import textwrap
import types

here = pathlib.Path(__file__).parent
lines = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()


def block(first, last):
    """Source between the line holding `first` (with its imports before it) and the one holding `last` after it."""
    at = next(i for i, line in enumerate(lines) if first in line)
    start = max(i for i in range(at) if lines[i].strip() == "import math")
    end = next(i for i in range(at, len(lines)) if lines[i].strip() == last)
    return textwrap.dedent("\n".join(lines[start : end + 1]))


def run_silently(function, *arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments)


random.seed(20251205)

image_code = block("def token_calculate", "return token").replace("from PIL import Image", "")
images = []
sizes = [(11, 11), (28, 28), (32, 32), (48, 48), (16, 16), (80, 80), (56, 28), (2200, 11), (11, 2200), (4000, 3000)]
sizes += [(1024, 1024), (1920, 1080), (720, 1280), (1280 * 32, 32), (1145, 1145), (1144, 1144), (8000, 6000)]
while len(sizes) < 160:
    high = random.choice([60, 300, 1200, 3000, 9000])
    sizes.append((random.randint(11, high), random.randint(11, high)))
for factor in (32, 28):
    for width, height in sizes:
        image = types.SimpleNamespace(width=width, height=height)
        space = {"Image": types.SimpleNamespace(open=lambda path: image)}
        exec(re.sub(r"^factor = 32$", f"factor = {factor}", image_code, flags=re.M), space)
        images.append([factor, width, height, run_silently(space["token_calculate"], "x")])

video_code = block("def video_token_calculate", "return video_token").replace("import cv2", "")
turbo_code = video_code
for old, new in [
    ("IMAGE_FACTOR = 32\n", "IMAGE_FACTOR = 28\n"),
    ("VIDEO_MIN_PIXELS = 128 * 32 * 32", "VIDEO_MIN_PIXELS = 128 * 28 * 28"),
    ("VIDEO_MAX_PIXELS = 768 * 32 * 32", "VIDEO_MAX_PIXELS = 768 * 28 * 28"),
    ("FPS_MAX_FRAMES = 128", "FPS_MAX_FRAMES = 80"),
    ("VIDEO_TOTAL_PIXELS = 16384 * 32 * 32", "VIDEO_TOTAL_PIXELS = 16384 * 28 * 28"),
    ("resized_height / 32 * resized_width / 32", "resized_height / 28 * resized_width / 28"),
]:
    assert old in turbo_code, old
    turbo_code = turbo_code.replace(old, new)
clips = [(640, 360, 60, 30.0), (1920, 1080, 4500, 30.0), (1280, 720, 250, 25.0), (320, 240, 10, 5.0), (64, 64, 48, 24.0)]
clips += [(1080, 1920, 900, 29.97), (640, 480, 37, 15.0), (100, 100, 2, 1.0), (5000, 20, 60, 30.0), (640, 480, 3, 30.0)]
while len(clips) < 160:
    fps = random.choice([5.0, 12.5, 15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0])
    seconds = random.choice([1, 3, 8, 20, 40, 90, 150])
    frames = max(2, int(random.uniform(0.5, 1) * seconds * fps))
    high = random.choice([120, 640, 1920, 3840])
    clips.append((random.randint(16, high), random.randint(16, high), frames, fps))
videos = []
for factor, code in ((32, video_code), (28, turbo_code)):
    for width, height, frames, fps in clips:
        space = {}
        exec(code, space)
        space["get_video"] = lambda path: (height, width, frames, fps)
        try:
            tokens = run_silently(space["video_token_calculate"], "x")
        except ValueError:
            tokens = None
        videos.append([factor, width, height, frames, fps, tokens])

# The guide gives audio as a formula, without code: seconds times 12.5 or 25, under a second counted as one. What it does
# with parts of a token it does not say: only lengths that give whole tokens are golden.
audio = [[rate, tokens / rate, max(tokens, rate)] for rate in (12.5, 25) for tokens in range(25, 1500, 75)]
audio += [[25, 0.2, 25], [25, 0.999, 25], [12.5, 2, 25], [25, 1, 25]]


def write(name, rows):
    body = ",\n".join(json.dumps(row) for row in rows)
    (here / name).write_text(f"[\n{body}\n]\n")


write("images.json", images)
write("videos.json", videos)
write("audio.json", audio)
print(len(images), len(videos), len(audio), sum(row[-1] is None for row in videos), "clips refused")
