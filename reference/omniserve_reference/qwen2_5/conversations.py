"""The conversations of the Qwen2.5-Omni goldens. Media are descriptions; media.py makes them."""

from ..conversations import assistant, audio, image, system, text, user, video

# Speech is only supported under this system turn.
SPEECH_SYSTEM = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and "
    "visual inputs, as well as generating text and speech."
)

CONVERSATIONS: dict[str, list[dict]] = {
    "text": [system(SPEECH_SYSTEM), user(text("What do you hear? Numbers: 0 1 2."))],
    "unicode": [user(text("Grüße, 你好 👋🏽 — naïve\ncafe\u0301"))],
    "image": [system(SPEECH_SYSTEM), user(image(37, 53), text("What is in this picture?"))],
    "images": [user(image(100, 75, 2), image(33, 201, 3), text("Compare."), image(64, 64, 4))],
    "audio-short": [user(audio(1600), text("What is this?"))],
    "audio": [user(text("Listen: "), audio(37520, 2), text(" What was it?"))],
    "audios": [user(audio(48960, 16), text("or"), audio(8000, 17))],
    "audio-long": [user(audio(976000, 3))],
    "video": [user(video(64, 48, 5, 2.0), text("Describe the video."))],
    "video-audio": [system(SPEECH_SYSTEM), user(video(80, 60, 10, 2.0, 80000, 5), text("What happens?"))],
    "video-audio-longer": [user(video(60, 80, 4, 1.0, 100000, 6))],
    "video-audio-shorter": [user(video(60, 80, 12, 2.0, 9000, 18), text("And?"))],
    "video-audio-slow": [user(video(48, 64, 6, 0.5, 112000, 19))],
    "video-audio-rows": [user(video(40, 400, 2, 2.0, 4000, 20), text("Then?"))],
    "video-three-fps": [user(video(64, 48, 4, 3.0, 0, 7), text("And now?"))],
    "mixed": [
        system("You are a helpful assistant."),
        user(image(90, 61, 8), text("What is this?")),
        assistant("It is a fox."),
        user(audio(20000, 9), text(" and "), audio(8000, 10)),
        assistant("A sound."),
        user(video(64, 48, 4, 2.0, 0, 11), image(40, 40, 12), text("Describe all of it.")),
    ],
    "mixed-video-audio": [
        user(video(64, 48, 4, 2.0, 24000, 13), text("First.")),
        assistant("Yes."),
        user(video(48, 64, 2, 2.0, 16000, 14), image(50, 70, 15), text("Then.")),
        assistant("No."),
        user(audio(12000, 21), text("Last.")),
    ],
}


def spoken(messages: list[dict]) -> list[dict]:
    """The same conversation with the one system turn that speech requires."""
    return [system(SPEECH_SYSTEM), *(message for message in messages if message["role"] != "system")]
