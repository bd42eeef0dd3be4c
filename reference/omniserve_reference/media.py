"""Images, audio and videos made from integer formulas, so that no input is stored.

testing/formula-media.ts has the same formulas.
"""

import numpy as np


def image(width: int, height: int, seed: int) -> np.ndarray:
    """[height, width, 3] uint8."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    value = x * (3 + seed % 5) + y * 5 + c * 40 + ((x * y) >> 4) * 7 + ((x ^ y) & 15) * (seed % 7) * 2
    return (value & 255).astype(np.uint8)


def audio(samples: int, seed: int) -> np.ndarray:
    """[samples] float32 in [-1, 1], exact: every value is an integer over 131072."""
    i = np.arange(samples, dtype=np.int64)
    tone = ((i * (2 + seed % 5)) % 160 - 80) * 60
    noise = ((i * 7919 + ((i * i) % 1009) * 31) % 2001 - 1000) * 3
    return ((tone + noise) * (1 + (i >> 12) % 4) / 131072).astype(np.float32)


def video(width: int, height: int, frames: int, seed: int) -> np.ndarray:
    """[frames, height, width, 3] uint8."""
    return np.stack([image(width, height, seed + n) for n in range(frames)])


def log_mel(bins: int, frames: int) -> np.ndarray:
    """[bins, frames] float32, unlike real audio: input for the audio encoder only."""
    b, f = np.meshgrid(np.arange(bins), np.arange(frames), indexing="ij")
    return (((f * 31 + b * 17 + (f * b) % 23) % 101) / np.float32(50) - np.float32(1)).astype(np.float32)


def patches(count: int, size: int) -> np.ndarray:
    """[count, size] float32: input for the vision encoder only."""
    n, i = np.meshgrid(np.arange(count), np.arange(size), indexing="ij")
    return (((n * 29 + i * 13 + (n * i) % 37) % 127) / np.float32(63) - np.float32(1)).astype(np.float32)


def codes(groups: int, frames: int, size: int) -> np.ndarray:
    """[groups, frames] int64: input for code2wav only."""
    g, f = np.meshgrid(np.arange(groups), np.arange(frames), indexing="ij")
    return (f * 37 + g * 11 + (f * f * (g + 1)) % 53) % size


def noise(frames: int, bands: int, seed: int) -> np.ndarray:
    """[frames, bands] float32 of mean 0 and deviation 1, in place of the normal noise that a diffusion starts from."""
    f, b = np.meshgrid(np.arange(frames), np.arange(bands), indexing="ij")
    value = (f * 7919 + b * 104729 + ((f * f + 3 * b * b + f * b) % 1009) * (31 + seed % 7)) % 2001 - 1000
    return (value / np.float32(577)).astype(np.float32)
