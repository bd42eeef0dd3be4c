import { describeEngine } from '../src/contract/testing/engine-suite.ts'
import { createFakeEngine } from './fake-engine.ts'

const reply = 'The quick brown fox jumps over the lazy dog. '.repeat(20)

describeEngine('fake', {
  create: () => Promise.resolve(createFakeEngine({ reply: () => ({ text: reply }), maxRequests: 6 })),
  model: 'fake-omni',
  voice: 'Cherry',
  long: {},
  slots: 6,
})

describeEngine('fake that does not count prompts', {
  create: () =>
    Promise.resolve(createFakeEngine({ reply: () => ({ text: reply }), capabilities: { countsPrompt: false } })),
  model: 'fake-omni',
  voice: 'Cherry',
  long: {},
})
