"""AgentScope: its DashScope chat model at the strict route, and its DashScope realtime model. pip install agentscope"""

import asyncio
import base64

from agentscope.credential import DashScopeCredential
from agentscope.message import AssistantMsg, Base64Source, DataBlock, TextBlock, ToolCallBlock, UserMsg
from agentscope.model import DashScopeChatModel
from agentscope.realtime import DashScopeRealtimeModel

from common import *


def credential(url=URL):
    return DashScopeCredential(api_key=KEY, base_url=url + "/compatible-mode/v1")


def chat(content, url=URL, tools=None, stream=True, **parameters):
    """Text, audio and calls of a reply, as an agent puts them together."""
    model = DashScopeChatModel(
        credential(url), FLASH, DashScopeChatModel.Parameters(**parameters), stream=stream, max_retries=0
    )

    async def run():
        text, audio, calls = "", b"", []
        answer = await model(
            content if isinstance(content, list) and not hasattr(content[0], "type") else [UserMsg("user", content)],
            tools=tools,
        )
        pieces = [answer] if not stream else [piece async for piece in answer]
        for piece in pieces:
            if stream and piece.is_last:
                continue
            for block in piece.content:
                if isinstance(block, TextBlock):
                    text += block.text
                elif isinstance(block, ToolCallBlock):
                    calls.append(block)
                elif isinstance(block, DataBlock):
                    audio += base64.b64decode(block.source.data)
        return text, audio, calls

    return asyncio.run(run())


def words(wanted, *asked, **more):
    text, _, _ = chat(*asked, **more)
    return has(text, wanted), text


def data(content, kind):
    return DataBlock(source=Base64Source(data=base64.b64encode(content).decode(), media_type=kind))


def spoken():
    text, audio, _ = chat("What colour is grass?", voice="Cherry")
    return has(text, "green") and has(recognise(audio[44:]), "green"), (text, f"{len(audio)} bytes")


def tools():
    offered = [{"type": "function", "function": WEATHER}]
    _, _, calls = chat(CALL, url=TOOLS_URL, tools=offered)
    return calls[0].name == "weather" and json.loads("".join(call.input for call in calls)) == {"city": "Rome"}, calls


async def session(work, url=URL, tools=None, **parameters):
    model = DashScopeRealtimeModel(
        "qwen3-omni-flash-realtime", credential(url), DashScopeRealtimeModel.Parameters(voice="Cherry", **parameters)
    )
    await model.connect("You are nano.", tools)
    events = model.events()

    async def until(*kinds):
        seen = []
        async for event in events:
            seen.append(event)
            if type(event).__name__ in kinds:
                return seen
        raise RuntimeError("the session ended")

    try:
        return await asyncio.wait_for(work(model, until), 60)
    finally:
        await model.close()


async def turn(model, until):
    await model.push_audio(silence(0.4) + say("What is 12 plus 6?") + silence(1.2))
    seen = await until("ResponseDoneEvent")
    said = "".join(event.delta for event in seen if type(event).__name__ == "TranscriptDeltaEvent")
    pcm = b"".join(event.pcm for event in seen if type(event).__name__ == "AudioDeltaEvent")
    kinds = {type(event).__name__ for event in seen}
    heard = (await until("InputTranscriptionEvent"))[-1].text
    return has(said, "18") and loud(pcm) and {
        "SpeechStartedEvent",
        "SpeechEndedEvent",
        "ResponseCreatedEvent",
    } <= kinds, (said, heard)


async def asked_again(model, until):
    """A request while a reply runs: AgentScope cancels and asks."""
    await model.push_audio(say("Count from 1 to 20."))
    await model.commit_turn()
    await model.request_response()
    await until("AudioDeltaEvent")
    await model.request_response()
    await until("ResponseDoneEvent")
    seen = await until("ResponseDoneEvent")
    return any(type(event).__name__ == "AudioDeltaEvent" for event in seen), [type(event).__name__ for event in seen][
        :3
    ]


attempt("text, streamed", lambda: words("7", "What is 3 plus 4?"))
attempt(
    "image",
    lambda: words("star", [TextBlock(text="What is in the picture?"), data(PICTURE.read_bytes(), "image/jpeg")]),
)
attempt("audio", lambda: words("18", [data(wav(say("What is 12 plus 6?"), 16000), "audio/wav")]))
attempt(
    "a conversation",
    lambda: words(
        "John",
        [
            UserMsg("user", "My name is John."),
            AssistantMsg("nano", "Nice to meet you, John."),
            UserMsg("user", "What is my name?"),
        ],
    ),
)
attempt("speech as pcm16", spoken)
attempt("thinking", lambda: words("18", "14 + 4 = ?", thinking_enable=True, thinking_budget=200))
refused("error: not streamed", lambda: chat("x", stream=False), "only support stream mode")
attempt("realtime: a turn found by voice activity", lambda: asyncio.run(session(turn)))
attempt("realtime: asked again while it speaks", lambda: asyncio.run(session(asked_again, turn_detection="none")))
if TOOLS_URL:
    attempt("a tool call", tools)
finish()
