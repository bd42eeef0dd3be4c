/**
 * L4 for Qwen2.5-Omni: whole checkpoints against transformers, greedy: the same text tokens and the same codes, singly
 * and batched.
 *
 * Goldens come from `reference/omniserve_reference/qwen2_5/make_model_goldens.py`. Audio begins as random noise, so its
 * samples are compared where the noise can be given: `src/models/qwen2_5-omni/parity.test.ts`.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { goldenMessages, tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { readGolden } from '../../../testing/golden.ts'
import type { Qwen25Case, Qwen25Facts } from '../../../testing/qwen25-goldens.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { tiny25Checkpoints } from '../../../testing/tiny-model.ts'
import type { ReplyWatcher } from '../../runtime/runtime.ts'
import { loadHostedModel } from './load-model.ts'
import type { HostedModel } from './process-host.ts'

const MOST_CODES = 26

describe.each(tiny25Checkpoints)('%s', async (name) => {
  const { facts } = await readGolden<Qwen25Facts>(name)
  let hosted: HostedModel
  const tokens = new Map<string, number[]>()
  const codes = new Map<string, number[]>()
  const watch: ReplyWatcher = {
    token: (request, id) => void tokens.set(request, [...(tokens.get(request) ?? []), id]),
    frame: (request, frame) => void codes.set(request, [...(codes.get(request) ?? []), ...frame]),
  }

  const load = (threads: number): Promise<HostedModel> =>
    loadHostedModel(
      { checkpoint: tinyCheckpoint(name), id: name, device: 'cpu', threads, exact: true, maxSpeechFrames: MOST_CODES },
      () => undefined,
      watch,
    )

  beforeAll(async () => {
    hosted = await load(1)
  })

  afterAll(async () => {
    await hosted.runtime.close()
    hosted.dispose()
  })

  const request = (golden: Qwen25Case): ReturnType<typeof makeRequest> =>
    makeRequest({
      model: name,
      messages: goldenMessages(golden),
      maxTokens: golden.maxTextTokens,
      stopTokenIds: [golden.eosTokenId],
      ...(golden.speaker !== null && { voice: golden.speaker }),
    })

  function check(golden: Qwen25Case, id: string, reply: Awaited<ReturnType<typeof readReply>>): void {
    expect(tokens.get(id), golden.name).toEqual(golden.textTokens)
    expect(codes.get(id), golden.name).toEqual(golden.codes)
    const ended = golden.textTokens.at(-1) === golden.eosTokenId
    // transformers decodes the end token too, where it is an ordinary one.
    expect(ended ? golden.text.slice(0, reply.text.length) : golden.text).toBe(reply.text)
    expect(reply.usage.prompt?.total).toBe(golden.promptTokens)
    if (!golden.codes) return
    expect(reply.usage.audioTokens).toBe(Math.ceil(golden.codes.length / 2))
    const loudest = reply.pcm.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)
    expect(loudest).toBeGreaterThan(100)
  }

  it.each(facts.cases)('$name', async (golden) => {
    const asked = request(golden)
    check(golden, asked.id, await readReply(hosted.runtime, asked))
  })

  it('gives the same replies in company', async () => {
    const company = await load(2)
    const asked = facts.cases.map(request)
    const replies = await Promise.all(asked.map((one) => readReply(company.runtime, one)))
    await company.runtime.close()
    company.dispose()
    for (const [i, golden] of facts.cases.entries()) check(golden, asked[i]!.id, replies[i]!)
  })
})
