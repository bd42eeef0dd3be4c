/**
 * L4: a whole checkpoint against transformers, greedy: the same text tokens, codes and audio.
 *
 * The model runs in this process so that tokens and codes can be watched; goldens come from
 * `reference/omniserve_reference/make_model_goldens.py`.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { goldenMessages, loadGoldens, tinyCheckpoint, type GoldenCase } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import type { ReplyWatcher } from '../../runtime/runtime.ts'
import { loadHostedModel } from './load-model.ts'
import type { HostedModel } from './process-host.ts'
import { testDevice } from '../../tensor/test-device.ts'

/** Signal over difference, in decibels. */
function signalToNoise(expected: Int16Array, actual: Int16Array): number {
  let signal = 0
  let noise = 0
  for (let index = 0; index < expected.length; index += 1) {
    signal += expected[index]! ** 2
    noise += (expected[index]! - actual[index]!) ** 2
  }
  return noise === 0 ? Infinity : 10 * Math.log10(signal / noise)
}

describe.each(['tiny-moe', 'tiny-mixed', 'tiny-dense', 'tiny-thinker'])('%s', async (name) => {
  const goldens = await loadGoldens(name)
  let hosted: HostedModel
  const tokens = new Map<string, number[]>()
  const frames = new Map<string, number[][]>()
  const watch: ReplyWatcher = {
    token: (request, id) => void tokens.set(request, [...(tokens.get(request) ?? []), id]),
    frame: (request, codes) => void frames.set(request, [...(frames.get(request) ?? []), [...codes]]),
  }
  beforeAll(async () => {
    hosted = await loadHostedModel(
      { checkpoint: tinyCheckpoint(name), id: name, device: testDevice, threads: 1, exact: true, maxSpeechFrames: 15 },
      () => undefined,
      watch,
    )
  })
  afterAll(async () => {
    await hosted.runtime.close()
    hosted.dispose()
  })

  const request = (golden: GoldenCase): ReturnType<typeof makeRequest> =>
    makeRequest({
      model: name,
      messages: goldenMessages(golden),
      maxTokens: golden.maxTextTokens,
      stopTokenIds: [golden.eosTokenId],
      ...(golden.speaker !== null && { voice: golden.speaker }),
    })

  it.each(goldens.cases)('$name', async (golden) => {
    const asked = request(golden)
    const reply = await readReply(hosted.runtime, asked)
    expect(tokens.get(asked.id)).toEqual(golden.textTokens)
    if (golden.codes) expect(frames.get(asked.id)).toEqual(golden.codes)
    const ended = golden.textTokens.at(-1) === golden.eosTokenId
    // transformers decodes the end token too, where it is an ordinary one.
    expect(ended ? golden.text.slice(0, reply.text.length) : golden.text).toBe(reply.text)
    expect(reply.usage.textTokens).toBe(golden.textTokens.length - (ended ? 1 : 0))
    expect(reply.usage.prompt!.total).toBe(golden.promptTokens)
    if (!golden.codes) return
    expect(reply.usage.audioTokens).toBe(golden.codes.length)
    const waveform = goldens.array(`case.${golden.name}.waveform`)
    if (!(waveform instanceof Int16Array)) throw new Error('No waveform.')
    expect(reply.pcm.length).toBe(waveform.length)
    expect(signalToNoise(waveform, reply.pcm)).toBeGreaterThan(60)
  })

  it('gives the same replies in company, with the vocoder beside', async () => {
    const company = await loadHostedModel(
      { checkpoint: tinyCheckpoint(name), id: name, device: testDevice, threads: 2, exact: true, maxSpeechFrames: 15 },
      () => undefined,
      watch,
    )
    const asked = goldens.cases.map(request)
    const replies = await Promise.all(asked.map((one) => readReply(company.runtime, one)))
    await company.runtime.close()
    company.dispose()
    replies.forEach((reply, index) => {
      const { name: conversation, text, textTokens, codes } = goldens.cases[index]!
      expect(tokens.get(asked[index]!.id), conversation).toEqual(textTokens)
      expect(frames.get(asked[index]!.id), conversation).toEqual(codes)
      expect(text.slice(0, reply.text.length)).toBe(reply.text)
      const waveform = goldens.array(`case.${conversation}.waveform`)
      if (waveform instanceof Int16Array) expect(signalToNoise(waveform, reply.pcm)).toBeGreaterThan(60)
    })
  })
})
