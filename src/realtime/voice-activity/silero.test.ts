import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { decodeWav } from '../../media/index.ts'
import { loadVoiceModel, WINDOW_SAMPLES } from './silero.ts'

const folder = new URL('../../../testdata/silero-vad/', import.meta.url)
const { samples } = decodeWav(readFileSync(new URL('speech.wav', folder)))
const golden = JSON.parse(readFileSync(new URL('probabilities.json', folder), 'utf8')) as { probabilities: number[] }

describe('Silero VAD', () => {
  it('equals onnxruntime window by window', async () => {
    const stream = (await loadVoiceModel()).stream()
    const seen = golden.probabilities.map((_, index) =>
      stream.push(samples.subarray(index * WINDOW_SAMPLES, (index + 1) * WINDOW_SAMPLES)),
    )
    const off = seen.map((value, index) => Math.abs(value - golden.probabilities[index]!))
    expect(Math.max(...off)).toBeLessThan(1e-4)
    expect(Math.max(...golden.probabilities)).toBeGreaterThan(0.9)
    expect(Math.min(...golden.probabilities)).toBeLessThan(0.1)
  })

  it('keeps streams apart', async () => {
    const model = await loadVoiceModel()
    const [left, right] = [model.stream(), model.stream()]
    const first = samples.subarray(10_240, 10_240 + WINDOW_SAMPLES)
    left.push(new Float32Array(WINDOW_SAMPLES).fill(0.1))
    expect(right.push(first)).toBe(model.stream().push(first))
  })
})
