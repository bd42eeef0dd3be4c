"""What the client scripts share: the server's address, spoken questions, and a table of what held.

OMNISERVE_URL is a server with nano (http://127.0.0.1:8000), OMNISERVE_TOOLS_URL one whose checkpoint has tools
(`npx node testing/tools-server.ts`; checks of tools are skipped without it), OMNISERVE_KEY the key of both.
"""

import array
import base64
import json
import math
import os
import re
import subprocess
import sys
import traceback
import urllib.request
import uuid
from pathlib import Path

URL = os.environ.get("OMNISERVE_URL", "http://127.0.0.1:8000").rstrip("/")
TOOLS_URL = os.environ.get("OMNISERVE_TOOLS_URL", "").rstrip("/")
KEY = os.environ.get("OMNISERVE_KEY", "sk-local")
STRICT, OPEN = f"{URL}/compatible-mode/v1", f"{URL}/v1"
FLASH, NANO = "qwen3-omni-flash", "nano"

PICTURE = Path(__file__).parents[2] / "testdata" / "nano" / "picture-05.jpg"  # a star
PICTURE_URI = "data:image/jpeg;base64," + base64.b64encode(PICTURE.read_bytes()).decode()

# Questions, and what nano's answers have in them.
QUESTIONS = [
    ("What colour is grass?", "green"),
    ("How are you?", "fine"),
    ("Can you sing?", "sing"),
    ("Thank you.", "welcome"),
    ("Good night.", "night"),
    ("What is 12 plus 6?", "18"),
    ("Who are you?", "nano"),
    ("What is 20 minus 5?", "15"),
    ("What colour is the sky?", "blue"),
    ("What is 3 plus 4?", "7"),
]

WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
# The tools server calls what it is asked to.
CALL = 'call weather {"city": "Rome"}'

_held, _failed = 0, 0


def check(name: str, fine: object, seen: object = "") -> None:
    global _held, _failed
    _held, _failed = _held + bool(fine), _failed + (not fine)
    print(f"{'ok  ' if fine else 'FAIL'} {name}: {str(seen)[:160]}", flush=True)


def attempt(name: str, work) -> None:
    """Runs one check; an exception is a failure of it."""
    try:
        check(name, *work())
    except Exception as error:  # noqa: BLE001
        traceback.print_exc(limit=-3)
        check(name, False, f"{type(error).__name__}: {error}")


def refused(name: str, work, wanted: str) -> None:
    """Expects an exception whose text has `wanted`."""
    try:
        check(name, False, f"was taken: {work()}")
    except Exception as error:  # noqa: BLE001
        check(name, wanted in str(error), f"{type(error).__name__}: {error}")


def finish() -> None:
    print(f"{_held} held, {_failed} failed")
    sys.exit(1 if _failed else 0)


def post(path: str, body: dict) -> bytes:
    request = urllib.request.Request(
        URL + path, json.dumps(body).encode(), {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    )
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def say(text: str, rate: int = 16000) -> bytes:
    """16-bit mono PCM of a question, in one of espeak-ng's voices that nano knows; it is as loud as nano is used to."""
    file = subprocess.run(
        ["espeak-ng", "-v", "en-us+f2", "-s", "160", "--stdout", text], capture_output=True, check=True
    ).stdout
    samples = array.array("h", file[44 : len(file) // 2 * 2])
    gain = 0.1 * 32768 / math.sqrt(sum(sample * sample for sample in samples) / len(samples))
    loudened = array.array("h", [max(-32767, min(32767, round(gain * sample))) for sample in samples])
    return resample(loudened.tobytes(), 22050, rate)


def resample(pcm: bytes, rate: int, wanted: int) -> bytes:
    if rate == wanted:
        return pcm
    samples = array.array("h", pcm)
    out = array.array("h")
    for index in range(len(samples) * wanted // rate):
        at = index * rate / wanted
        low = int(at)
        high = min(low + 1, len(samples) - 1)
        out.append(round(samples[low] + (samples[high] - samples[low]) * (at - low)))
    return out.tobytes()


def wav(pcm: bytes, rate: int) -> bytes:
    head = b"RIFF" + (36 + len(pcm)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += b"\1\0\1\0" + rate.to_bytes(4, "little") + (2 * rate).to_bytes(4, "little") + b"\2\0\x10\0"
    return head + b"data" + len(pcm).to_bytes(4, "little") + pcm


def recognise(pcm: bytes, rate: int = 24000) -> str:
    """What nano takes a reply's audio for."""
    edge = uuid.uuid4().hex
    body = b""
    for name, value in (("model", NANO.encode()), ("file", wav(pcm, rate))):
        file = '; filename="reply.wav"' if name == "file" else ""
        body += f'--{edge}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
    request = urllib.request.Request(
        OPEN + "/audio/transcriptions",
        body + f"--{edge}--\r\n".encode(),
        {"content-type": f"multipart/form-data; boundary={edge}", "authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())["text"]


def silence(seconds: float, rate: int = 16000) -> bytes:
    return bytes(2 * int(seconds * rate))


def has(text: str, wanted: str) -> bool:
    return wanted.lower() in text.lower()


def alike(said: str, heard: str) -> bool:
    """Half of the words at least."""
    words = re.findall(r"\w+", said.lower())
    return sum(word in re.findall(r"\w+", heard.lower()) for word in words) >= len(words) / 2


def sensible(answers: list[tuple[bool, str, str]]) -> tuple[bool, str]:
    """Turns as (right, said, transcribed): all are right, and most transcripts equal what was said.

    Not all: nano's numbers and its "blue" are hard to recognise.
    """
    for answer in answers:
        print("     ", answer)
    right, heard = sum(fine for fine, _, _ in answers), sum(alike(said, heard) for _, said, heard in answers)
    return right == len(answers) and heard >= 0.6 * len(answers), f"{right} of {len(answers)} right, {heard} heard"


def loud(pcm: bytes) -> bool:
    return max(map(abs, array.array("h", pcm[: len(pcm) // 2 * 2])), default=0) > 2000
