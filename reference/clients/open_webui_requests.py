"""Open WebUI's requests (0.12.4), as its source builds them. pip install aiohttp

Chat, title, tags, follow-ups, voices, speech out and in, a call.
"""

import asyncio
import base64

import aiohttp

from common import *

HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "X-OpenWebUI-User-Name": "someone"}
TASK = """### Task:
{task}
### Output:
JSON format: {form}
### Chat History:
<chat_history>
USER: What is 3 plus 4?
ASSISTANT: 3 plus 4 is 7.
</chat_history>"""


async def post_json(path, body):
    async with aiohttp.ClientSession() as http, http.post(OPEN + path, json=body, headers=HEADERS) as answer:
        return answer.status, await answer.json()


async def chat():
    """Its chat asks for a stream with usage, an image as a data URL among the parts."""
    body = {
        "stream": True,
        "model": FLASH,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "You are nano."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is in the picture?"},
                    {"type": "image_url", "image_url": {"url": PICTURE_URI}},
                ],
            },
        ],
    }
    text, usage = "", None
    async with (
        aiohttp.ClientSession() as http,
        http.post(OPEN + "/chat/completions", json=body, headers=HEADERS) as answer,
    ):
        async for line in answer.content:
            line = line.decode().strip()
            if line.startswith("data: ") and line != "data: [DONE]":
                chunk = json.loads(line[6:])
                usage = chunk.get("usage") or usage
                text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
        return has(text, "star") and usage["total_tokens"] > 0 and answer.headers["content-type"].startswith(
            "text/event-stream"
        ), text


async def task(work, form):
    """Titles, tags and follow-ups: not streamed, max_tokens 1000 (max_completion_tokens where its model says so)."""
    content = TASK.format(task=work, form=form)
    status, reply = await post_json(
        "/chat/completions",
        {"model": FLASH, "messages": [{"role": "user", "content": content}], "stream": False, "max_tokens": 1000},
    )
    return status == 200 and isinstance(reply["choices"][0]["message"]["content"], str), reply["choices"][0]["message"][
        "content"
    ]


async def listed():
    async with aiohttp.ClientSession() as http:
        async with http.get(OPEN + "/models", headers=HEADERS) as answer:
            models = [model["id"] for model in (await answer.json())["data"]]
        async with http.get(OPEN + "/audio/voices", headers=HEADERS) as answer:
            voices = {voice["id"]: voice["name"] for voice in (await answer.json())["voices"]}
    return FLASH in models and "Cherry" in voices, (len(models), len(voices))


async def speech_out():
    body = {"model": NANO, "input": "Grass is green.", "voice": "Cherry"}
    async with aiohttp.ClientSession() as http, http.post(OPEN + "/audio/speech", json=body, headers=HEADERS) as answer:
        data = await answer.read()
        return answer.headers["content-type"] == "audio/mpeg" and (
            data[:3] == b"ID3" or data[0] == 0xFF
        ), f"{len(data)} bytes"


async def speech_in():
    """A chunked upload; the language code of the settings when there is one."""

    async def pieces():
        yield wav(say("How is the weather today?"), 16000)

    form = aiohttp.FormData()
    form.add_field("model", NANO)
    form.add_field("language", "en")
    form.add_field("file", pieces(), filename="recording.wav")
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            OPEN + "/audio/transcriptions", data=form, headers={"Authorization": HEADERS["Authorization"]}
        ) as answer,
    ):
        text = (await answer.json()).get("text", await answer.text())
        return has(text, "weather"), text


async def realtime_speech():
    """Its `openai-realtime` engine: one response with its own input, out of the conversation."""
    pcm = b""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            OPEN.replace("http", "ws") + f"/realtime?model={NANO}", headers={"Authorization": HEADERS["Authorization"]}
        ) as ws,
    ):
        async for message in ws:
            event = message.json()
            if event["type"] == "error":
                return False, event["error"]["message"]
            if event["type"] == "session.created":
                await ws.send_json(
                    {
                        "type": "session.update",
                        "session": {
                            "type": "realtime",
                            "output_modalities": ["audio"],
                            "tools": [],
                            "tool_choice": "none",
                            "instructions": "Say hello.",
                            "audio": {
                                "input": {"turn_detection": None, "transcription": None},
                                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "Cherry"},
                            },
                        },
                    }
                )
            elif event["type"] == "session.updated":
                await ws.send_json(
                    {
                        "type": "response.create",
                        "response": {
                            "conversation": "none",
                            "output_modalities": ["audio"],
                            "tools": [],
                            "tool_choice": "none",
                            "instructions": "You are nano.",
                            "input": [
                                {
                                    "type": "message",
                                    "role": "user",
                                    "content": [{"type": "input_text", "text": "What colour is grass?"}],
                                }
                            ],
                        },
                    }
                )
            elif event["type"] == "response.output_audio.delta":
                pcm += base64.b64decode(event["delta"], validate=True)
            elif event["type"] == "response.done":
                return event["response"]["status"] == "completed" and has(recognise(pcm), "green"), event["response"][
                    "output"
                ][0]["content"]


async def call(url, model):
    """A voice call: no reply and no interruption by the server; a reply is asked for once the transcript is there."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            url.replace("http", "ws") + f"/v1/realtime?model={model}",
            headers={"Authorization": HEADERS["Authorization"]},
        ) as ws,
    ):
        assert (await ws.receive_json())["type"] == "session.created"
        await ws.send_json(
            {
                "type": "session.update",
                "session": {
                    "type": "realtime",
                    "output_modalities": ["audio"],
                    "instructions": "Speak.",
                    "tool_choice": "auto",
                    "tools": [
                        {
                            "type": "function",
                            "name": "generate_chat_completion",
                            "description": "Answer.",
                            "parameters": {
                                "type": "object",
                                "properties": {"request": {"type": "string"}},
                                "required": ["request"],
                                "additionalProperties": False,
                            },
                        }
                    ]
                    if url == TOOLS_URL
                    else [],
                    "audio": {
                        "input": {
                            "format": {"type": "audio/pcm", "rate": 24000},
                            "transcription": {"model": model},
                            "turn_detection": {
                                "type": "server_vad",
                                "interrupt_response": False,
                                "create_response": False,
                            },
                        },
                        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "Cherry"},
                    },
                },
            }
        )
        assert (await ws.receive_json())["type"] == "session.updated"
        pcm = silence(0.4, 24000) + say("What colour is grass?", 24000) + silence(1, 24000)
        for at in range(0, len(pcm), 48000):
            await ws.send_json(
                {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm[at : at + 48000]).decode()}
            )
        async for message in ws:
            event = message.json()
            if event["type"] == "conversation.item.input_audio_transcription.completed":
                await ws.send_json({"type": "response.create", "response": {"metadata": {"item": event["item_id"]}}})
            elif event["type"] == "error":
                return False, event["error"]["message"]
            elif event["type"] == "response.done":
                part = event["response"]["output"][0]["content"][0]
                return event["response"]["metadata"]["item"].startswith("item_") and part["transcript"] != "", part[
                    "transcript"
                ]


for name, work in (
    ("chat with an image", chat),
    ("models and voices", listed),
    ("speech out", speech_out),
    ("speech in", speech_in),
    ("speech out over realtime", realtime_speech),
    ("a call", lambda: call(URL, NANO)),
):
    attempt(name, lambda: asyncio.run(work()))
for name, form in (
    ("title", '{ "title": "your concise title here" }'),
    ("tags", '{ "tags": ["tag1", "tag2", "tag3"] }'),
    ("follow-ups", '{ "follow_ups": ["Question 1?"] }'),
):
    attempt(f"{name} generation", lambda: asyncio.run(task(f"Generate {name}.", form)))
if TOOLS_URL:
    attempt("a call with its tool", lambda: asyncio.run(call(TOOLS_URL, "fake-omni")))
finish()
