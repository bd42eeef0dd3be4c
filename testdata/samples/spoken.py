# Both ways of reading the sound: joined as strings and decoded once, and piece by piece.
# `delta.audio` is a dict in the client's versions 1 and 2, and an object later.
import base64
import os
import wave

from openai import OpenAI

client = OpenAI(
    api_key=os.getenv("DASHSCOPE_API_KEY"),
    base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
)
completion = client.chat.completions.create(
    model="qwen3-omni-flash",
    messages=[{"role": "user", "content": "你是誰?"}],
    modalities=["text", "audio"],
    audio={"voice": "Cherry", "format": "wav"},
    stream=True,
    stream_options={"include_usage": True},
)
joined, pieces = "", b""
for chunk in completion:
    if chunk.choices:
        delta = chunk.choices[0].delta
        audio = getattr(delta, "audio", None)
        if audio:
            data = audio["data"] if isinstance(audio, dict) else audio.data
            joined += data
            pieces += base64.b64decode(data)
        elif delta.content:
            print(delta.content, end="")
    else:
        print("\n" + chunk.usage.model_dump_json(exclude_none=True))
assert pieces and base64.b64decode(joined) == pieces and len(pieces) % 2 == 0
with wave.open("reply.wav", "wb") as out:
    out.setnchannels(1)
    out.setsampwidth(2)
    out.setframerate(24000)
    out.writeframes(pieces)
