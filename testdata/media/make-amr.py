"""Writes tone.amr: AMR-NB frames at 12.2 kbit/s with no data but a valid shape (Debian's ffmpeg has no AMR encoder)."""
import random

random.seed(1)
frames = b''.join(b'\x3c' + bytes(random.randrange(256) for _ in range(31)) for _ in range(50))
open('noise.amr', 'wb').write(b'#!AMR\n' + frames)
wide = b''.join(b'\x44' + bytes(random.randrange(256) for _ in range(60)) for _ in range(50))
open('noise-wide.amr', 'wb').write(b'#!AMR-WB\n' + wide)
