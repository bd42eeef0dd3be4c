import { expect, it } from 'vitest'
import { createCatalogue } from '../../catalogue/index.ts'
import { parseChatRequest } from '../../protocol/index.ts'
import { checkRules } from './check-rules.ts'

const model = createCatalogue('intl').find('qwen3-omni-flash')!
const sampled = (asked: object, preferred?: object) =>
  checkRules(
    parseChatRequest(
      { model: model.id, stream: true, messages: [{ role: 'user', content: 'Hi' }], ...asked },
      () => true,
    ),
    model,
    { lenientNonStream: false, preferred },
  ).sampling

it("samples as the caller says, then as the checkpoint prefers, then by the API model's defaults", () => {
  const preferred = { temperature: 0, repetitionPenalty: 1 }
  expect(sampled({})).toMatchObject({ temperature: 0.9, topK: 50, repetitionPenalty: 1.05, seed: 1234 })
  expect(sampled({}, preferred)).toMatchObject({ temperature: 0, topK: 50, repetitionPenalty: 1, seed: 1234 })
  expect(sampled({ temperature: 0.7 }, preferred)).toMatchObject({ temperature: 0.7, repetitionPenalty: 1 })
  expect(sampled({ repetition_penalty: 1.05, top_k: null }, preferred)).toEqual({
    temperature: 0,
    topP: 1,
    presencePenalty: 0,
    repetitionPenalty: 1.05,
    seed: 1234,
  })
})
