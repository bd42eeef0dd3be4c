"""The `litellm` package, as a library. pip install litellm"""

import base64

import litellm

from common import *

litellm.telemetry = False
HERE = {"api_base": OPEN, "api_key": KEY, "num_retries": 0}


def user(content):
    return [{"role": "user", "content": content}]


def ask(content, **more):
    return litellm.completion(model=f"openai/{FLASH}", messages=user(content), **HERE, **more)


def text():
    reply = ask("What is 3 plus 4?")
    return has(reply.choices[0].message.content, "7") and reply.usage.total_tokens > 0, (
        reply.choices[0].message.content,
        reply.usage.total_tokens,
    )


def stream():
    chunks = list(ask("What is 3 plus 4?", stream=True, stream_options={"include_usage": True}))
    whole = litellm.stream_chunk_builder(chunks)
    return has(whole.choices[0].message.content, "7") and whole.usage.total_tokens > 0, (
        whole.choices[0].message.content,
        whole.usage.total_tokens,
    )


def image():
    found = ask(
        [{"type": "text", "text": "What is in the picture?"}, {"type": "image_url", "image_url": {"url": PICTURE_URI}}]
    )
    return has(found.choices[0].message.content, "star"), found.choices[0].message.content


def audio_in():
    data = base64.b64encode(wav(say("What is 12 plus 6?"), 16000)).decode()
    found = ask([{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}])
    return has(found.choices[0].message.content, "18"), found.choices[0].message.content


def audio_out():
    reply = ask("What colour is grass?", modalities=["text", "audio"], audio={"voice": "Cherry", "format": "wav"})
    audio = reply.choices[0].message.audio
    pcm = base64.b64decode(audio.data)[44:]
    return has(audio.transcript, "green") and has(recognise(pcm), "green"), audio.transcript


def audio_out_streamed():
    data, words = "", ""
    for chunk in ask(
        "What colour is grass?", modalities=["text", "audio"], audio={"voice": "Cherry", "format": "pcm16"}, stream=True
    ):
        delta = chunk.choices[0].delta
        words += delta.content or ""
        audio = getattr(delta, "audio", None)
        if audio:
            data += (audio.get("data") if isinstance(audio, dict) else audio.data) or ""
    return has(words, "green") and has(recognise(base64.b64decode(data)), "green"), words


def speech():
    answer = litellm.speech(
        model=f"openai/{NANO}", voice="Cherry", input="Grass is green.", response_format="pcm", **HERE
    )
    return has(recognise(answer.content), "green"), f"{len(answer.content)} bytes"


def transcription():
    file = ("a.wav", wav(say("How is the weather today?"), 16000))
    found = litellm.transcription(model=f"openai/{NANO}", file=file, **HERE)
    return has(found.text, "weather"), found.text


def tools():
    reply = litellm.completion(
        model=f"openai/{FLASH}",
        messages=user(CALL),
        tools=[{"type": "function", "function": WEATHER}],
        api_base=f"{TOOLS_URL}/v1",
        api_key=KEY,
    )
    call = reply.choices[0].message.tool_calls[0]
    again = litellm.completion(
        model=f"openai/{FLASH}",
        messages=[
            *user(CALL),
            reply.choices[0].message.model_dump(),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ],
        tools=[{"type": "function", "function": WEATHER}],
        api_base=f"{TOOLS_URL}/v1",
        api_key=KEY,
    )
    return json.loads(call.function.arguments) == {"city": "Rome"} and again.choices[
        0
    ].finish_reason == "stop", call.function


for name, work in (
    ("text", text),
    ("streamed", stream),
    ("image", image),
    ("audio in, raw Base64", audio_in),
    ("audio out", audio_out),
    ("audio out, streamed", audio_out_streamed),
    ("speech", speech),
    ("transcription", transcription),
):
    attempt(name, work)
refused(
    "error: unknown model",
    lambda: litellm.completion(model="openai/none", messages=user("x"), **HERE),
    "does not exist",
)
refused("error: a field", lambda: ask("x", temperature=1.5, max_tokens=0), "max_tokens")
# LiteLLM's own provider for the service, at the strict route.
attempt(
    "provider dashscope, streamed",
    lambda: (lambda words: (has(words, "7"), words))(
        "".join(
            chunk.choices[0].delta.content or ""
            for chunk in litellm.completion(
                model=f"dashscope/{FLASH}",
                messages=user("What is 3 plus 4?"),
                api_base=STRICT,
                api_key=KEY,
                stream=True,
            )
        )
    ),
)
if TOOLS_URL:
    attempt("tools go round", tools)
finish()
