"""Speech for training: text to a 24 kHz waveform through espeak-ng, and the codec's log-mel.

`speak(text, lang, sex, hertz, pace)` renders English with the en-us voice and Chinese through pinyin (pypinyin), so that readings are
fixed here. `utterance(rng)` draws one of nano's possible sentences. Needs the Debian package espeak-ng. `speak_recorded` is another synthesiser, for audio input.
"""

import ctypes
import random
import re
import subprocess
import tempfile
from functools import lru_cache

import librosa
import numpy as np
from pypinyin import Style, pinyin
from scipy.io import wavfile
from scipy.signal import resample_poly

import config as c
import text_data

VARIANT = {"m": "m3", "f": "f2"}
MELS, HOP, WINDOW = 80, 480, 1200
_BASIS = librosa.filters.mel(sr=c.SAMPLE_RATE, n_fft=2048, n_mels=MELS, fmin=40, fmax=11000)
LATIN_ZH = {"omniserve": "ou1 mu3 ni2 se4 fu4", "nano": "na4 nou4", "qwen": "qian1 wen4"}


def pitch_setting(sex: str, hertz: float) -> int:
    """espeak's -p for a median fundamental, from a fit to rendered speech."""
    low, slope = PITCH_FIT[sex]
    return int(np.clip(round(np.log(hertz / low) / slope), 0, 99))


PITCH_FIT = {"m": (68.5, 0.00903), "f": (125.0, 0.0094)}  # hertz = low * exp(slope * setting), measured on m3 and f2


def pinyin_text(text: str) -> str:
    """Chinese text as espeak's toned pinyin, punctuation kept for pauses."""
    text = re.sub(r"\d+", lambda m: text_data.number_zh(int(m.group())) if len(m.group()) < 4 else "".join(text_data.DIGITS_ZH[int(d)] for d in m.group()), text)
    out = []
    for piece in re.findall(r"[\u4e00-\u9fff]+|[A-Za-z]+|[,.?!:;\u3002\uff0c\uff1f\uff01\uff1a\u3001]", text):
        if piece[0] >= "\u4e00" and piece[0] <= "\u9fff":
            out += [s[0].replace("ü", "v").replace("v", "ü") for s in pinyin(piece, style=Style.TONE3, neutral_tone_with_five=True)]
        elif piece.isalpha():
            out.append(LATIN_ZH.get(piece.lower(), " ".join(piece.lower())))
        else:
            out.append("," if piece in ",:;\uff0c\uff1a\u3001" else ".")
    return " ".join(out)


@lru_cache(None)
def synthesiser():
    """espeak-ng in this process, faster than its program: function (voice, text, pitch, words a minute) -> int16 at 22.05 kHz."""
    lib = ctypes.CDLL("libespeak-ng.so.1")
    pieces = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def keep(samples, count, events):
        if samples and count:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    if lib.espeak_Initialize(2, 0, None, 0) != 22050:  # AUDIO_OUTPUT_SYNCHRONOUS
        raise RuntimeError("espeak-ng does not start; is the package espeak-ng installed?")
    lib.espeak_SetSynthCallback(keep)

    def run(voice, text, pitch, pace, alive=keep):
        pieces.clear()
        if lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}")
        lib.espeak_SetParameter(1, pace, 0)  # espeakRATE
        lib.espeak_SetParameter(3, pitch, 0)  # espeakPITCH
        words = text.encode() + b"\0"
        lib.espeak_Synth(words, len(words), 0, 1, 0, 1, None, None)  # POS_CHARACTER, espeakCHARS_UTF8
        lib.espeak_Synchronize()
        return np.concatenate(pieces) if pieces else np.zeros(1, np.int16)

    return run


def speak(text, lang, sex="f", hertz=200.0, pace=165, variant=None) -> np.ndarray:
    """24 kHz float32 mono, leading and trailing silence cut to 70 and 100 ms."""
    if sex == "m" and hertz > 165:
        sex = "f"  # boys: beyond the male variant's range
    voice = "en-us" if lang == "en" else "cmn-latn-pinyin"
    words = re.sub(r"\b([A-Za-z])\b(?=[,.])", r"\1", text) if lang == "en" else pinyin_text(text)
    pcm = synthesiser()(f"{voice}+{variant or VARIANT[sex]}", words, pitch_setting(sex, hertz), int(pace)).astype(np.float32) / 32768
    wave = resample_poly(pcm, 160, 147).astype(np.float32)
    loud = np.flatnonzero(np.abs(wave) > 0.004)
    if len(loud) == 0:
        return np.zeros(c.FRAME, np.float32)
    wave = np.pad(wave, (1680, 2400))[loud[0] : loud[-1] + 4080]
    return wave * (0.16 / max(1e-4, float(np.sqrt(np.mean(wave**2)))) * 0.6)


def speak_recorded(text, voice, pace=1.0, hertz=None) -> np.ndarray:
    """English, 16 kHz float32 mono, from recorded speech (flite's voices, see RECORDED); `pace` 1 is the person's own, so is
    the pitch without `hertz`. Needs the Debian package flite."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        pitch = ["--setf", f"int_f0_target_mean={hertz:.0f}"] if hertz else []
        subprocess.run(["flite", "-voice", voice, "--setf", f"duration_stretch={1 / pace:.3f}", *pitch, "-t", text, "-o", file.name], check=True)
        wave = wavfile.read(file.name)[1].astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    wave = wave[max(0, loud[0] - 640) : loud[-1] + 1280] if len(loud) else np.zeros(1600, np.float32)
    return wave * (0.1 / max(1e-4, float(np.sqrt(np.mean(wave**2)))))


RECORDED = {"rms": 105, "slt": 175, "awb": 130, "kal16": 105}  # median hertz


def log_mel(wave: np.ndarray) -> np.ndarray:
    """[frames, 80] natural-log mel magnitudes, four frames per codec frame, window centred on each hop's middle."""
    frames = -(-len(wave) // c.FRAME) * 4
    padded = np.pad(wave, (WINDOW // 2 - HOP // 2, frames * HOP - len(wave) + WINDOW))
    index = np.arange(frames)[:, None] * HOP + np.arange(WINDOW)
    spectrum = np.abs(np.fft.rfft(padded[index] * np.hanning(WINDOW), n=2048, axis=-1))
    return np.log(np.maximum(spectrum @ _BASIS.T, 1e-3)).astype(np.float32)


def reply(rng: random.Random, lang: str) -> str:
    """One of nano's possible texts in this language: an answer of the text skills, or a copied sentence."""
    for _ in range(50):
        s = text_data.sample(rng, "train", lang, rng.choices(["talk", "arith", "repeat", "count", "spell", "name", "unknown"], [40, 12, 26, 5, 2, 5, 3])[0])
        answer = rng.choice([t for r, t in s["messages"] if r == "assistant"])
        if len(answer) < 130:
            return answer
    return answer


def utterance_text(rng: random.Random, lang: str) -> str:
    """One of nano's possible replies: of the text skills, or about an image, audio or a video."""
    if rng.random() < 0.3:
        import media_data
        return media_data.answer_only(rng, lang)
    return reply(rng, lang)


def utterance(rng: random.Random):
    """(text, lang, voice name): main voices more often than the others."""
    lang = rng.choice(["zh", "zh", "zht", "en", "en", "en"])
    voice = rng.choice(["Cherry", "Ethan", "Chelsie", "Serena"]) if rng.random() < 0.5 else rng.choice(list(c.VOICES))
    return utterance_text(rng, lang), ("en" if lang == "en" else "zh"), voice
