"""The `openai` package, chat and audio endpoints. pip install openai"""

import asyncio
import base64

from openai import AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError, OpenAI

from common import *

hosted = OpenAI(api_key=KEY, base_url=STRICT, max_retries=0)
client = OpenAI(api_key=KEY, base_url=OPEN, max_retries=0)
AUDIO = {"modalities": ["text", "audio"], "audio": {"voice": "Cherry", "format": "wav"}}


def user(content):
    return [{"role": "user", "content": content}]


def streamed(sdk, content, **more):
    """Text, PCM and usage of a stream, as the guide's samples read it."""
    text, data, usage = "", "", None
    for chunk in sdk.chat.completions.create(
        model=FLASH, messages=user(content), stream=True, stream_options={"include_usage": True}, **more
    ):
        usage = chunk.usage or usage
        if not chunk.choices:
            continue
        delta = chunk.choices[0].delta
        text += delta.content or ""
        audio = getattr(delta, "audio", None)
        if audio:
            data += (audio.get("data") if isinstance(audio, dict) else audio.data) or ""
    return text, base64.b64decode(data), usage


def spoken(sdk):
    text, pcm, usage = streamed(sdk, "What colour is grass?", **AUDIO)
    return has(text, "green") and has(
        recognise(pcm), "green"
    ) and usage.completion_tokens_details.audio_tokens > 0, text


def picture(sdk):
    text, _, usage = streamed(
        sdk,
        [{"type": "image_url", "image_url": {"url": PICTURE_URI}}, {"type": "text", "text": "What is in the picture?"}],
    )
    return has(text, "star"), (text, usage.prompt_tokens_details.model_dump(exclude_none=True))


def recording(sdk, prefix):
    data = prefix + base64.b64encode(wav(say("What is 12 plus 6?"), 16000)).decode()
    text, _, _ = streamed(sdk, [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}])
    return has(text, "18"), text


for name, sdk in (("strict", hosted), ("/v1", client)):
    attempt(f"{name}: text", lambda: (lambda text: (has(text, "7"), text))(streamed(sdk, "What is 3 plus 4?")[0]))
    attempt(f"{name}: text and speech", lambda: spoken(sdk))
    attempt(f"{name}: image", lambda: picture(sdk))
    attempt(f"{name}: audio", lambda: recording(sdk, "data:;base64,"))
attempt("/v1: audio in raw Base64", lambda: recording(client, ""))


def whole():
    reply = client.chat.completions.create(model=NANO, messages=user("What is 3 plus 4?"))
    return has(reply.choices[0].message.content, "7") and reply.usage.total_tokens > 0, reply.choices[0].message.content


def whole_spoken():
    reply = client.chat.completions.create(model=NANO, messages=user("What colour is grass?"), **AUDIO)
    audio = reply.choices[0].message.audio
    pcm = base64.b64decode(audio.data)[44:]
    again = client.chat.completions.create(
        model=NANO,
        messages=[
            *user("What colour is grass?"),
            {"role": "assistant", "audio": {"id": audio.id}},
            *user("What is 20 minus 5?"),
        ],
    )
    return has(recognise(pcm), "green") and has(again.choices[0].message.content, "15"), (
        audio.transcript,
        again.choices[0].message.content,
    )


def thinking():
    seen = ""
    for chunk in hosted.chat.completions.create(
        model=FLASH, messages=user("14 + 4 = ?"), stream=True, extra_body={"enable_thinking": True}
    ):
        if chunk.choices:
            seen += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
    return len(seen) > 5, seen


async def at_once():
    sdk = AsyncOpenAI(api_key=KEY, base_url=OPEN, max_retries=0)
    replies = await asyncio.gather(*(sdk.chat.completions.create(model=NANO, messages=user(q)) for q, _ in QUESTIONS))
    texts = [reply.choices[0].message.content for reply in replies]
    return all(has(text, wanted) for text, (_, wanted) in zip(texts, QUESTIONS)), texts


def helper():
    with client.chat.completions.stream(model=NANO, messages=user("What is 3 plus 4?")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion().choices[0].message.content
    return has(final, "7") and "content.delta" in kinds, final


attempt("/v1: whole reply", whole)
attempt("/v1: whole spoken reply, cited by its audio id", whole_spoken)
attempt("strict: thinking", thinking)
attempt("/v1: five at once, asynchronous", lambda: asyncio.run(at_once()))
attempt("/v1: the SDK's streaming helper", helper)
attempt("/v1: models", lambda: (lambda ids: (FLASH in ids, ids))([model.id for model in client.models.list()]))


def speech(form):
    with client.audio.speech.with_streaming_response.create(
        model=NANO, voice="Cherry", input="It is a star.", response_format=form
    ) as answer:
        data = answer.read()
    return {
        "mp3": data[:1] == b"\xff" or data[:3] == b"ID3",
        "opus": data[:4] == b"OggS",
        "wav": data[:4] == b"RIFF",
        "pcm": has(recognise(data), "star") if form == "pcm" else False,
    }[form], f"{len(data)} bytes"


for form in ("mp3", "opus", "wav", "pcm"):
    attempt(f"/v1: speech as {form}", lambda: speech(form))
question = wav(say("How is the weather?"), 16000)
for form in ("json", "text", "verbose_json", "srt", "vtt"):

    def transcript():
        found = client.audio.transcriptions.create(model=NANO, file=("a.wav", question), response_format=form)
        text = found if isinstance(found, str) else found.text
        return has(text, "weather"), text.replace("\n", " ")

    attempt(f"/v1: transcription as {form}", transcript)

refused(
    "error: wrong model",
    lambda: hosted.chat.completions.create(model="gpt-4o", messages=user("x"), stream=True),
    "does not exist",
)
refused(
    "error: not streamed, strict",
    lambda: hosted.chat.completions.create(model=FLASH, messages=user("x")),
    "only support stream mode, please enable the stream parameter to access the model. '",
)
refused(
    "error: wrong voice",
    lambda: streamed(client, "x", modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}),
    "Voice 'alloy' is not supported.",
)
refused(
    "error: tools nano lacks",
    lambda: client.chat.completions.create(
        model=NANO, messages=user("x"), tools=[{"type": "function", "function": WEATHER}]
    ),
    "no tools in its chat template",
)
for kind, work in (
    (NotFoundError, lambda: hosted.models.retrieve("none")),
    (BadRequestError, lambda: streamed(client, "x", temperature=9)),
):
    try:
        work()
        check(f"error: {kind.__name__}", False)
    except kind as error:
        check(f"error: {kind.__name__}", True, error.message)

if TOOLS_URL:
    for path in ("/compatible-mode/v1", "/v1"):

        def tools():
            sdk = OpenAI(api_key=KEY, base_url=TOOLS_URL + path, max_retries=0)
            offered = [{"type": "function", "function": WEATHER}]
            with sdk.chat.completions.stream(model=FLASH, messages=user(CALL), tools=offered) as stream:
                for _ in stream:
                    pass
                message = stream.get_final_completion().choices[0].message
            call = message.tool_calls[0]
            messages = [
                *user(CALL),
                {"role": "assistant", "content": None, "tool_calls": [call.model_dump(exclude={"index"})]},
                {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
            ]
            end = [
                chunk
                for chunk in sdk.chat.completions.create(model=FLASH, messages=messages, tools=offered, stream=True)
                if chunk.choices
            ]
            return call.function.arguments == '{"city": "Rome"}' and end[-1].choices[
                0
            ].finish_reason == "stop", call.function

        attempt(f"tools go round, {path}", tools)
finish()
