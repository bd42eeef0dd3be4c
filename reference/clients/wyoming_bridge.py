"""Wyoming's OpenAI bridge, as Home Assistant talks to it. pip install wyoming-openai (Python 3.12 or newer)"""

import asyncio
import socket
import subprocess

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeVoice

from common import *

PORT = 10311


def bridge(*more):
    started = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "wyoming_openai",
            "--uri",
            f"tcp://127.0.0.1:{PORT}",
            "--languages",
            "en",
            "--stt-openai-key",
            KEY,
            "--stt-openai-url",
            OPEN,
            "--stt-models",
            NANO,
            "--tts-openai-key",
            KEY,
            "--tts-openai-url",
            OPEN,
            "--tts-models",
            NANO,
            "--tts-voices",
            "Cherry",
            "Ethan",
            *more,
        ]
    )
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", PORT), 1).close()
            return started
        except OSError:
            __import__("time").sleep(0.1)
    raise RuntimeError("the bridge does not start")


async def read(client, kind):
    while True:
        event = await asyncio.wait_for(client.read_event(), 60)
        if event is None:
            raise RuntimeError("the bridge hung up")
        if event.type == "error":
            raise RuntimeError(event.data)
        if kind.is_type(event.type):
            return kind.from_event(event)


async def described():
    async with AsyncTcpClient("127.0.0.1", PORT) as client:
        await client.write_event(Describe().event())
        info = await read(client, Info)
        voices = [voice.name for program in info.tts for voice in program.voices]
        return any("Cherry" in voice for voice in voices) and bool(info.asr), voices[:4]


async def heard():
    pcm = say("How is the weather today?")
    async with AsyncTcpClient("127.0.0.1", PORT) as client:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(rate=16000, width=2, channels=1).event())
        for at in range(0, len(pcm), 2048):
            await client.write_event(AudioChunk(rate=16000, width=2, channels=1, audio=pcm[at : at + 2048]).event())
        await client.write_event(AudioStop().event())
        text = (await read(client, Transcript)).text
        return has(text, "weather"), text


async def spoken(word_for_word=True):
    async with AsyncTcpClient("127.0.0.1", PORT) as client:
        await client.write_event(Synthesize(text="Grass is green.", voice=SynthesizeVoice(name="Cherry")).event())
        start, pcm = await read(client, AudioStart), b""
        while True:
            event = await asyncio.wait_for(client.read_event(), 60)
            if event is None or AudioStop.is_type(event.type):
                heard = recognise(pcm)
                return start.rate == 24000 and loud(pcm) and (
                    has(heard, "green") or not word_for_word
                ), f"{start.rate} Hz, {len(pcm)} bytes: {heard}"
            if AudioChunk.is_type(event.type):
                pcm += AudioChunk.from_event(event).audio


for name, more in (
    ("", ()),
    ("streamed: ", ("--stt-streaming-models", NANO, "--tts-streaming-models", NANO)),
    ("speech over realtime: ", ("--tts-realtime-models", NANO)),
):
    running = bridge(*more)
    try:
        attempt(name + "what it offers", lambda: asyncio.run(described()))
        attempt(name + "speech in", lambda: asyncio.run(heard()))
        # Over realtime the model is asked to read, which nano does not understand.
        attempt(name + "speech out", lambda: asyncio.run(spoken("realtime" not in name)))
    finally:
        running.terminate()
        running.wait()
finish()
