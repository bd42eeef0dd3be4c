"""Writes the first five questions to testdata/talk, for tests/realtime/history.test.ts.

Needs espeak-ng and soundfile (pip).
"""

import io

import soundfile

from common import QUESTIONS, Path, say, wav

FOLDER = Path(__file__).parents[2] / "testdata" / "talk"
FOLDER.mkdir(exist_ok=True)
for index, (question, _) in enumerate(QUESTIONS[:5]):
    samples, rate = soundfile.read(io.BytesIO(wav(say(question), 16000)))
    soundfile.write(FOLDER / f"question-{index}.ogg", samples, rate, format="OGG", subtype="VORBIS")
