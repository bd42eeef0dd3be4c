"""Speech whose glottal periods are in step with the codec's frames, for code2wav to learn from.

code2wav cannot know the phase of a voice: codes describe the spectrum of 80 ms, and neither they nor earlier frames give the voice's
phase at the start of a frame. Without a phase, training averages over all of them. So the voice's pitch is shifted
(by less than half a period in a frame) until every frame boundary within a voiced stretch falls on a crest of the fundamental: each frame
then holds a whole number of periods, and its waveform follows from its codes.

`lock(wave)` does so by pitch-synchronous overlap-add; unvoiced speech stays unchanged.
"""

import numpy as np
import parselmouth

import config as c

RATE, STEP = c.SAMPLE_RATE, 120  # samples between the points of a pitch track


def track(wave: np.ndarray) -> np.ndarray:
    """Fundamental in hertz every STEP samples from 0, 0 where there is none (Praat's autocorrelation method)."""
    pitch = parselmouth.Sound(wave.astype(np.float64), RATE).to_pitch_ac(time_step=STEP / RATE, pitch_floor=60, pitch_ceiling=500)
    at, hertz = pitch.xs(), pitch.selected_array["frequency"]
    wanted = np.arange(len(wave) // STEP + 1) * STEP / RATE
    near = np.clip(np.round((wanted - at[0]) / (STEP / RATE)).astype(int), -1, len(at))
    return np.where((near < 0) | (near >= len(at)), 0, hertz[np.clip(near, 0, len(at) - 1)])


def phase(wave: np.ndarray, first: int, hertz: np.ndarray) -> np.ndarray:
    """Phase of the fundamental in periods at every sample of a voiced stretch that begins at `first`, whole at its crests: the integral of
    the track, corrected by the signal itself within two periods."""
    inner = np.arange((len(hertz) - 1) * STEP + 1)
    f = np.interp(inner, np.arange(len(hertz)) * STEP, hertz)
    rough = np.concatenate([[0], np.cumsum((f[1:] + f[:-1]) / 2)]) / RATE
    points, off = np.arange(0, len(inner), STEP), []
    for p in points:
        half = int(RATE / f[p])
        lo, hi = max(0, p - half), min(len(inner), p + half + 1)
        if hi - lo < half:
            off.append(off[-1] if off else 0.0)
            continue
        window = 0.5 + 0.5 * np.cos(np.pi * (np.arange(lo, hi) - p) / (half + 1))
        off.append(np.angle(np.sum(wave[first + lo : first + hi] * window * np.exp(-2j * np.pi * rough[lo:hi]))))
    return rough + np.interp(inner, points, np.unwrap(off)) / (2 * np.pi)


def locked(old: np.ndarray, boundaries: np.ndarray) -> np.ndarray:
    """The phase that has a whole number of periods between each two of `boundaries` (indices into `old`, at least one)."""
    new, count = old.copy(), 0.0
    new[: boundaries[0] + 1] = old[: boundaries[0] + 1] - old[boundaries[0]]
    for a, b in zip(boundaries, boundaries[1:]):
        whole = max(1.0, np.round(old[b] - old[a]))
        new[a : b + 1] = count + (old[a : b + 1] - old[a]) * whole / (old[b] - old[a])
        count += whole
    new[boundaries[-1] :] = count + old[boundaries[-1] :] - old[boundaries[-1]]
    return new


def crests(of: np.ndarray) -> np.ndarray:
    """Indices (fractional) at which a rising phase is whole."""
    whole = np.arange(np.ceil(of[0]), np.floor(of[-1]) + 1)
    return np.interp(whole, np.maximum.accumulate(of), np.arange(len(of)))


def lock(wave: np.ndarray) -> np.ndarray:
    """24 kHz float32 mono to the same with its periods in step with frames of c.FRAME samples."""
    hertz = track(wave)
    out = wave.astype(np.float32).copy()
    voiced = np.flatnonzero(hertz > 0)
    if len(voiced) == 0:
        return out
    for run in np.split(voiced, np.flatnonzero(np.diff(voiced) > 1) + 1):
        first, last = run[0] * STEP, min(len(wave) - 1, run[-1] * STEP)
        if last - first < 2 * STEP:
            continue
        old = phase(wave, first, hertz[run])
        boundaries = np.arange(-(-first // c.FRAME), last // c.FRAME + 1) * c.FRAME - first
        if len(boundaries) == 0:
            continue
        source, target = crests(old), crests(locked(old, boundaries))
        if len(source) < 2 or len(target) < 2:
            continue
        total, weight = np.zeros(last - first + 1), np.zeros(last - first + 1)
        for j, t in enumerate(target):
            before = t - target[j - 1] if j else target[1] - t
            after = target[j + 1] - t if j + 1 < len(target) else t - target[j - 1]
            shift = source[np.argmin(np.abs(source - t))] - t
            at = np.arange(max(0, int(np.ceil(t - before))), min(len(total) - 1, int(t + after)) + 1)
            window = 0.5 + 0.5 * np.cos(np.pi * (at - t) / np.where(at < t, before, after))
            total[at] += window * sample(wave, at + shift + first)
            weight[at] += window
        span = slice(first, last + 1)
        out[span] = total + (1 - np.minimum(1, weight)) * wave[span]
    return out


def sample(wave: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The wave between its samples, by a cubic through four of them."""
    i = np.floor(at).astype(int)
    x = at - i
    a, b, d, e = (wave[np.clip(i + k, 0, len(wave) - 1)] for k in (-1, 0, 1, 2))
    return b + 0.5 * x * (d - a + x * (2 * a - 5 * b + 4 * d - e + x * (3 * (b - d) + e - a)))
