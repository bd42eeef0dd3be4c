"""LangChain's ChatOpenAI and its tool calls. pip install langchain-openai"""

import base64

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from common import *


def model(url=OPEN, **more):
    return ChatOpenAI(model=more.pop("model", FLASH), base_url=url, api_key=KEY, max_retries=0, **more)


def text():
    reply = model().invoke("What is 3 plus 4?")
    return has(reply.content, "7") and reply.usage_metadata["total_tokens"] > 0, (
        reply.content,
        reply.usage_metadata["total_tokens"],
    )


def stream(url):
    whole = None
    for chunk in model(url, stream_usage=True).stream("What is 3 plus 4?"):
        whole = chunk if whole is None else whole + chunk
    return has(whole.content, "7") and whole.usage_metadata["total_tokens"] > 0, whole.content


def image():
    content = [
        {"type": "text", "text": "What is in the picture?"},
        {"type": "image", "base64": PICTURE_URI.split(",")[1], "mime_type": "image/jpeg"},
    ]
    reply = model().invoke([HumanMessage(content)])
    return has(reply.content, "star"), reply.content


def audio_in():
    data = base64.b64encode(wav(say("What is 12 plus 6?"), 16000)).decode()
    reply = model().invoke([HumanMessage([{"type": "audio", "base64": data, "mime_type": "audio/wav"}])])
    return has(reply.content, "18"), reply.content


def audio_out():
    speaking = model(model_kwargs={"modalities": ["text", "audio"], "audio": {"voice": "Cherry", "format": "wav"}})
    reply = speaking.invoke("What colour is grass?")
    audio = reply.additional_kwargs["audio"]
    second = speaking.invoke([HumanMessage("What colour is grass?"), reply, HumanMessage("What is 20 minus 5?")])
    return has(recognise(base64.b64decode(audio["data"])[44:]), "green") and has(
        second.additional_kwargs["audio"]["transcript"], "15"
    ), (audio["transcript"], second.additional_kwargs["audio"]["transcript"])


def batch():
    replies = model(model=NANO).batch([q for q, _ in QUESTIONS])
    return all(has(reply.content, wanted) for reply, (_, wanted) in zip(replies, QUESTIONS)), [
        reply.content for reply in replies
    ]


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return "sunny in " + city


def tools():
    bound = model(TOOLS_URL + "/v1").bind_tools([weather])
    asked = bound.invoke(CALL)
    call = asked.tool_calls[0]
    answer = weather.invoke(call)
    reply = bound.invoke([HumanMessage(CALL), asked, ToolMessage(answer.content, tool_call_id=call["id"])])
    return call["args"] == {"city": "Rome"} and reply.response_metadata["finish_reason"] == "stop", (
        call,
        answer.content,
    )


def tools_streamed():
    whole = None
    for chunk in model(TOOLS_URL + "/v1").bind_tools([weather], tool_choice="weather").stream(CALL):
        whole = chunk if whole is None else whole + chunk
    return whole.tool_calls[0]["args"] == {"city": "Rome"}, whole.tool_calls


attempt("invoke", text)
attempt("stream, /v1", lambda: stream(OPEN))
attempt("stream, strict", lambda: stream(STRICT))
attempt("image", image)
attempt("audio in", audio_in)
attempt("audio out, and its message in the next turn", audio_out)
attempt("batch of five", batch)
refused("error: not streamed, strict", lambda: model(STRICT).invoke("x"), "only support stream mode")
refused(
    "error: structured output",
    lambda: (
        model()
        .with_structured_output({"title": "a", "type": "object", "properties": {}}, method="json_schema")
        .invoke("x")
    ),
    "response_format",
)
if TOOLS_URL:
    attempt("tools go round", tools)
    attempt("a named tool, streamed", tools_streamed)
finish()
