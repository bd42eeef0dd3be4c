// Your own engine behind the API: this one repeats the last message backwards, a word at a time.
import { EngineError } from 'omniserve/contract'
import { startServer } from 'omniserve/server'

class BackwardsEngine {
  id = 'backwards'
  #active = 0

  async models() {
    return [
      {
        id: this.id,
        architecture: 'none',
        input: ['text'],
        output: ['text'],
        thinking: false,
        capabilities: { tools: false, seed: true, voiceChoice: false, promptByModality: false, countsPrompt: false },
        contextLength: 4096,
        maxOutputTokens: 1024,
        voices: [],
        weights: 'none',
        device: 'cpu',
      },
    ]
  }

  async countPrompt() {
    throw new EngineError('unsupported', 'This engine does not count prompts.')
  }

  async *generate(request, signal) {
    // Before `start`, an error is a plain HTTP response.
    if (request.speech) throw new EngineError('unsupported', 'This engine has no speech.', { param: 'modalities' })
    signal.throwIfAborted()
    this.#active += 1
    try {
      yield { type: 'start' }
      const texts = request.messages.at(-1).content.filter(({ type }) => type === 'text')
      const words = texts.flatMap(({ text }) => text.split(/\s+/)).reverse()
      let textTokens = 0
      for (const word of words.slice(0, request.maxTokens)) {
        signal.throwIfAborted()
        textTokens += 1
        yield { type: 'text-delta', text: textTokens === 1 ? word : ` ${word}`, counts: { textTokens } }
      }
      const reason = words.length > request.maxTokens ? 'length' : 'stop'
      yield { type: 'end', reason, usage: { textTokens } }
    } finally {
      this.#active -= 1
    }
  }

  status() {
    return { ready: true, active: this.#active, waiting: 0 }
  }

  async close() {}
}

const server = await startServer({
  settings: { port: 0 },
  engines: new Map([['backwards', new BackwardsEngine()]]),
  playground: false,
})
try {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({
      model: 'qwen3-omni-flash',
      messages: [{ role: 'user', content: 'world hello' }],
      stream: true,
      stream_options: { include_usage: true },
    }),
  })
  console.log(await response.text())
} finally {
  await server.stop()
}
