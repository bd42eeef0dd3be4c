"""The conversations of the processor and end-to-end goldens. Media are descriptions; media.py makes them."""


def image(width: int, height: int, seed: int = 1) -> dict:
    return {"type": "image", "width": width, "height": height, "seed": seed}


def audio(samples: int, seed: int = 1) -> dict:
    return {"type": "audio", "samples": samples, "seed": seed}


def video(width: int, height: int, frames: int, fps: float, audio_samples: int = 0, seed: int = 1) -> dict:
    return {"type": "video", "width": width, "height": height, "frames": frames, "fps": fps,
            "audioSamples": audio_samples, "seed": seed}  # fmt: skip


def text(value: str) -> dict:
    return {"type": "text", "text": value}


def user(*content: dict) -> dict:
    return {"role": "user", "content": list(content)}


def system(value: str) -> dict:
    return {"role": "system", "content": [text(value)]}


def assistant(value: str) -> dict:
    return {"role": "assistant", "content": [text(value)]}


CONVERSATIONS: dict[str, list[dict]] = {
    "text": [system("You are a helpful assistant."), user(text("What do you hear? Numbers: 0 1 2."))],
    "unicode": [user(text("Grüße, 你好 👋🏽 — naïve\ncafe\u0301"))],
    "image": [user(image(37, 53), text("What is in this picture?"))],
    "images": [user(image(100, 75, 2), image(33, 201, 3), text("Compare."), image(64, 64, 4))],
    "audio-short": [user(audio(4800), text("What is this?"))],
    "audio": [user(text("Listen: "), audio(37520, 2), text(" What was it?"))],
    "audio-long": [user(audio(560000, 3))],
    "video": [user(video(64, 48, 5, 2.0), text("Describe the video."))],
    "video-audio": [user(video(80, 60, 4, 2.0, 32000, 5), text("What happens?"))],
    "video-audio-longer": [user(video(60, 80, 2, 1.0, 50000, 6))],
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
    ],
    # Wide frames with little audio: the largest position stands before the end of the prompt.
    "video-wide": [user(video(1200, 60, 2, 2.0, 4000, 16))],
}
