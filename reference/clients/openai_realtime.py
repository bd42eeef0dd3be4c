"""The `openai` package's realtime client. pip install 'openai[realtime]'"""

import asyncio
import base64

from openai import AsyncOpenAI

from common import *

RATE = 24000
PIECE = 4800  # 100 ms


def text_of(response):
    part = response.output[0].content[0]
    return getattr(part, "transcript", None) or part.text


class Talk:
    """A connection that remembers the audio of its replies."""

    def __init__(self, connection):
        self.connection, self.audio, self.kinds = connection, {}, []

    async def until(self, kind):
        async for event in self.connection:
            self.kinds.append(event.type)
            if event.type == "response.output_audio.delta":
                self.audio[event.response_id] = self.audio.get(event.response_id, b"") + base64.b64decode(event.delta)
            if event.type == "error":
                raise RuntimeError(event.error.message)
            if event.type == kind:
                return event
        raise RuntimeError("the session ended")

    async def send(self, pcm):
        for at in range(0, len(pcm), PIECE):
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(pcm[at : at + PIECE]).decode())


def session(work, url=URL, model=NANO, **settings):
    async def run():
        sdk = AsyncOpenAI(api_key=KEY, base_url=url + "/v1", websocket_base_url=url.replace("http", "ws") + "/v1")
        async with sdk.realtime.connect(model=model) as connection:
            talk = Talk(connection)
            await connection.session.update(session={"type": "realtime", **settings})
            await talk.until("session.updated")
            return await work(talk)

    return asyncio.run(asyncio.wait_for(run(), 180))


BY_HAND = {"audio": {"input": {"turn_detection": None, "transcription": {"model": NANO}}}}
BY_VOICE = {
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": RATE},
            "transcription": {"model": NANO},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500},
        },
        "output": {"voice": "Cherry"},
    },
}


async def by_voice(talk):
    await talk.send(silence(0.4, RATE) + say("What colour is grass?", RATE) + silence(1, RATE))
    response = (await talk.until("response.done")).response
    words = (await talk.until("conversation.item.input_audio_transcription.completed")).transcript
    check("the user's words", has(words, "grass"), words)
    heard = recognise(talk.audio[response.id])
    return has(heard, "green"), (text_of(response), heard, response.usage.total_tokens)


async def by_hand(talk):
    await talk.send(say("What colour is grass?", RATE))
    await talk.connection.input_audio_buffer.commit()
    await talk.connection.response.create()
    response = (await talk.until("response.done")).response
    return has(recognise(talk.audio[response.id]), "green"), text_of(response)


async def with_image(talk):
    await talk.connection.conversation.item.create(
        item={
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": PICTURE_URI},
                {"type": "input_text", "text": "What is in the picture?"},
            ],
        }
    )
    await talk.connection.response.create(response={"output_modalities": ["text"]})
    response = (await talk.until("response.done")).response
    tokens = response.usage.input_token_details
    return has(text_of(response), "star") and tokens.image_tokens > 0, (text_of(response), tokens)


async def barge_in(talk):
    question = say("What is 12 plus 6?", RATE)
    await talk.connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Count from 1 to 30."}]}
    )
    await talk.connection.response.create()
    event = await talk.until("response.output_audio.delta")
    await talk.send(question + silence(1, RATE))
    await talk.until("input_audio_buffer.speech_started")
    await talk.connection.conversation.item.truncate(item_id=event.item_id, content_index=0, audio_end_ms=80)
    cut = (await talk.until("response.done")).response
    response = (await talk.until("response.done")).response
    return cut.status == "cancelled" and has(text_of(response), "18"), (
        cut.status,
        cut.status_details,
        text_of(response),
    )


async def ten_turns(talk):
    answers = []
    for question, wanted in QUESTIONS:
        await talk.send(say(question, RATE) + silence(1, RATE))
        response = (await talk.until("response.done")).response
        await talk.until("conversation.item.input_audio_transcription.completed")
        heard = recognise(talk.audio[response.id])
        answers.append((has(text_of(response), wanted), text_of(response), heard))
    return sensible(answers)


async def tools(talk):
    item = talk.connection.conversation.item
    await item.create(item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": CALL}]})
    await talk.connection.response.create()
    call = (await talk.until("response.done")).response.output[0]
    await item.create(item={"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    await talk.connection.response.create()
    response = (await talk.until("response.done")).response
    return call.name == "weather" and response.status == "completed", (call.name, call.arguments, text_of(response))


async def mistakes(talk):
    await talk.connection.send(
        {"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": "alloy"}}}}
    )
    await talk.until("response.done")


attempt("a turn found by voice activity", lambda: session(by_voice, **BY_VOICE))
attempt("a turn by hand", lambda: session(by_hand, **BY_HAND))
attempt("an image as an item", lambda: session(with_image, **BY_HAND))
attempt("barge-in, truncated by the client", lambda: session(barge_in, **BY_VOICE))
attempt("ten spoken turns", lambda: session(ten_turns, **BY_VOICE))
refused("an unknown voice", lambda: session(mistakes), "Voice 'alloy' is not supported.")
refused("an unknown model", lambda: session(mistakes, model="gpt-realtime"), "404")
if TOOLS_URL:
    attempt(
        "tools go round",
        lambda: session(
            tools,
            url=TOOLS_URL,
            model="fake-omni",
            output_modalities=["text"],
            tools=[{"type": "function", **WEATHER}],
            tool_choice="auto",
        ),
    )
finish()
