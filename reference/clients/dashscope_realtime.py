"""The official `dashscope` package's OmniRealtimeConversation. pip install dashscope"""

import base64
import queue
import time

import dashscope
from dashscope.audio.qwen_omni import AudioFormat, MultiModality, OmniRealtimeCallback, OmniRealtimeConversation

from common import *

dashscope.api_key = KEY
SPEAKS, WRITES = [MultiModality.AUDIO, MultiModality.TEXT], [MultiModality.TEXT]
PIECE = 3200  # 100 ms


class Session(OmniRealtimeCallback):
    """A conversation whose events can be waited for."""

    def __init__(self, url=URL, model="qwen3-omni-flash-realtime"):
        self.events, self.arrived, self.closed = [], queue.Queue(), None
        self.talk = OmniRealtimeConversation(
            model=model, callback=self, url=url.replace("http", "ws") + "/api-ws/v1/realtime"
        )
        self.talk.connect()

    def on_open(self):
        pass

    def on_close(self, code, message):
        self.closed = (code, message)

    def on_event(self, event):
        self.events.append(event)
        self.arrived.put(event)

    def until(self, kind, seconds=60):
        """The next event of this type."""
        while True:
            event = self.arrived.get(timeout=seconds)
            if event["type"] == kind:
                return event
            if event["type"] == "error":
                raise RuntimeError(event["error"])

    def send(self, pcm, paced=False):
        for at in range(0, len(pcm), PIECE):
            self.talk.append_audio(base64.b64encode(pcm[at : at + PIECE]).decode())
            if paced:
                time.sleep(0.1)

    def audio(self, reply):
        return b"".join(
            base64.b64decode(event["delta"])
            for event in self.events
            if event["type"] == "response.audio.delta" and event["response_id"] == reply["id"]
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.talk.close()


def transcript(reply):
    return reply["output"][0]["content"][0].get("transcript") or reply["output"][0]["content"][0].get("text")


def runs(kinds):
    return [kind for index, kind in enumerate(kinds) if index == 0 or kind != kinds[index - 1]]


def found_by_voice():
    with Session() as session:
        session.talk.update_session(output_modalities=SPEAKS, voice="Cherry")
        session.send(silence(0.4) + say("What colour is grass?") + silence(1.2), paced=True)
        reply = session.until("response.done")["response"]
        words = session.until("conversation.item.input_audio_transcription.completed")["transcript"]
        kinds = [event["type"] for event in session.events]
        order = [kind for kind in runs(kinds) if not kind.endswith(".delta") and "transcription" not in kind]
        wanted = [
            "session.created",
            "session.updated",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.created",
            "response.created",
            "response.output_item.added",
            "conversation.item.created",
            "response.content_part.added",
            "response.audio_transcript.done",
            "response.audio.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        heard = recognise(session.audio(reply))
        check("the guide's order of events", order == wanted, order if order != wanted else "")
        check("the user's words", has(words, "grass"), words)
        check(
            "the SDK's own delays",
            session.talk.get_last_first_audio_delay() is not None,
            f"{session.talk.get_last_first_text_delay()} ms, {session.talk.get_last_first_audio_delay()} ms",
        )
        return has(transcript(reply), "green") and has(heard, "green"), (transcript(reply), heard, reply["usage"])


def by_hand():
    with Session() as session:
        session.talk.update_session(
            output_modalities=SPEAKS,
            voice="Ethan",
            enable_turn_detection=False,
            input_audio_format=AudioFormat.PCM_16000HZ_MONO_16BIT,
            output_audio_format=AudioFormat.PCM_24000HZ_MONO_16BIT,
        )
        session.send(say("What colour is grass?"))
        session.talk.commit()
        session.until("input_audio_buffer.committed")
        session.talk.create_response()
        reply = session.until("response.done")["response"]
        return has(transcript(reply), "green") and loud(session.audio(reply)), transcript(reply)


def with_image():
    with Session() as session:
        session.talk.update_session(output_modalities=WRITES, enable_turn_detection=False)
        session.send(say("What is in the picture?"))
        session.talk.append_video(base64.b64encode(PICTURE.read_bytes()).decode())
        session.talk.commit()
        session.talk.create_response(output_modalities=WRITES)
        reply = session.until("response.done")["response"]
        return has(transcript(reply), "star") and reply["usage"]["input_tokens_details"][
            "image_tokens"
        ] > 0, transcript(reply)


def interrupted():
    with Session() as session:
        session.talk.update_session(output_modalities=SPEAKS, enable_input_audio_transcription=False)
        session.talk.create_item(
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Count from 1 to 30."}]}
        )
        question = say("What is 12 plus 6?")
        session.talk.create_response()
        session.until("response.audio.delta")
        began = time.monotonic()
        session.send(question + silence(1.2))
        session.until("input_audio_buffer.speech_started")
        cut = session.until("response.done")["response"]
        delay = time.monotonic() - began
        reply = session.until("response.done")["response"]
        return cut["status"] == "cancelled" and has(transcript(reply), "18"), (
            cut["status"],
            f"{delay:.2f} s",
            transcript(reply),
        )


def cancelled():
    with Session() as session:
        session.talk.update_session(output_modalities=SPEAKS, enable_turn_detection=False)
        session.talk.create_item(
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Count from 1 to 30."}]}
        )
        session.talk.create_response(instructions=None, output_modalities=None)
        session.until("response.audio.delta")
        session.talk.cancel_response()
        status = session.until("response.done")["response"]["status"]
        session.talk.clear_appended_audio()
        session.until("input_audio_buffer.cleared")
        return status == "cancelled", status


def ten_turns():
    answers = []
    with Session() as session:
        session.talk.update_session(output_modalities=SPEAKS, voice="Cherry")
        for question, wanted in QUESTIONS:
            session.send(say(question) + silence(1.2))
            reply = session.until("response.done")["response"]
            session.until("conversation.item.input_audio_transcription.completed")
            heard = recognise(session.audio(reply))
            answers.append((has(transcript(reply), wanted), transcript(reply), heard))
        session.talk.end_session()
    return sensible(answers)


def new_formats():
    from dashscope.audio.qwen_omni.omni_realtime import AudioFormatConfig, TranscriptionParams

    with Session() as session:
        session.talk.update_session(
            output_modalities=WRITES,
            enable_turn_detection=False,
            input_audio_config=AudioFormatConfig(type="pcm", sample_rate=48000),
            output_audio_config=AudioFormatConfig(type="pcm", sample_rate=24000),
        )
        session.until("session.updated")
        session.send(say("What is 20 minus 5?", 48000))
        session.talk.commit()
        session.talk.create_response()
        reply = session.until("response.done")["response"]
        first, usual = transcript(reply), reply["usage"]["input_tokens_details"]["audio_tokens"]
    with Session() as session:
        session.talk.update_session(
            output_modalities=WRITES,
            enable_turn_detection=False,
            transcription_params=TranscriptionParams(language="en", sample_rate=8000, input_audio_format="pcm"),
        )
        session.until("session.updated")
        session.send(say("What is 20 minus 5?", 8000))
        session.talk.commit()
        session.talk.create_response()
        tokens = session.until("response.done")["response"]["usage"]["input_tokens_details"]["audio_tokens"]
    # nano has never heard 8 kHz; the length is what counts.
    return has(first, "15") and abs(tokens - usual) <= 1, (first, usual, tokens)


def tools():
    with Session(TOOLS_URL) as session:
        session.talk.update_session(
            output_modalities=WRITES,
            enable_turn_detection=False,
            tools=[{"type": "function", "function": WEATHER}],
            tool_choice="auto",
        )
        session.talk.create_item({"type": "message", "role": "user", "content": [{"type": "input_text", "text": CALL}]})
        session.talk.create_response()
        call = session.until("response.function_call_arguments.done")
        done = session.until("response.done")["response"]
        session.talk.create_item({"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"})
        session.until("conversation.item.created")
        session.talk.create_response()
        reply = session.until("response.done")["response"]
        return (
            call["name"] == "weather"
            and done["output"][0]["type"] == "function_call"
            and reply["status"] == "completed",
            (call["name"], call["arguments"], transcript(reply)),
        )


def mistakes():
    with Session() as session:
        session.talk.cancel_response()
        try:
            session.until("response.done")
        except RuntimeError as error:
            check("cancel without a reply", "Conversation has none active response" in str(error), error)
        session.talk.update_session(output_modalities=SPEAKS, voice="Nobody")
        deadline = time.monotonic() + 10
        while session.closed is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return session.closed is not None and session.closed[0] == 1007, session.closed


attempt("a turn found by voice activity", found_by_voice)
attempt("a turn by hand", by_hand)
attempt("an image with its question", with_image)
attempt("barge-in", interrupted)
attempt("response.cancel", cancelled)
attempt("audio formats of later SDKs", new_formats)
attempt("ten spoken turns, end_session", ten_turns)
attempt("an unknown voice", mistakes)
if TOOLS_URL:
    attempt("tools go round", tools)
finish()
