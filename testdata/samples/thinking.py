import os

from openai import OpenAI

client = OpenAI(
    api_key=os.getenv("DASHSCOPE_API_KEY"),
    base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
)
completion = client.chat.completions.create(
    model="qwen3-omni-flash",
    messages=[{"role": "user", "content": "你是誰?"}],
    extra_body={"enable_thinking": True},
    modalities=["text"],
    stream=True,
    stream_options={"include_usage": True},
)
reasoning = ""
for chunk in completion:
    if chunk.choices:
        reasoning += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
        print(chunk.choices[0].delta.content or "", end="")
    else:
        print("\n" + chunk.usage.model_dump_json(exclude_none=True))
print("reasoning: " + reasoning)
