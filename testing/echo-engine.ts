import { type Engine, EngineError, type EngineEvent, type GenerationRequest } from '../src/contract/index.ts'

const contextLength = 4096

/** Repeats the last message, a word at a time. */
export class EchoEngine implements Engine {
  readonly id = 'echo'
  readonly #closing = new AbortController()
  #active = 0

  async models() {
    return [
      {
        id: 'echo',
        architecture: 'none',
        input: ['text'],
        output: ['text'],
        thinking: false,
        capabilities: { tools: false, seed: true, voiceChoice: false, promptByModality: false, countsPrompt: false },
        contextLength,
        maxOutputTokens: 1024,
        voices: [],
        weights: 'none',
        device: 'cpu',
      },
    ] as const
  }

  async countPrompt(): Promise<never> {
    throw new EngineError('unsupported', 'This engine does not count prompts.')
  }

  async *generate(request: GenerationRequest, caller: AbortSignal): AsyncGenerator<EngineEvent> {
    const signal = AbortSignal.any([caller, this.#closing.signal])
    signal.throwIfAborted()
    const words = replyTo(request).match(/\S+\s*|\s+/g) ?? []
    const most = Math.min(request.maxTokens, request.maxTotalTokens ?? Infinity)
    this.#active += 1
    try {
      yield { type: 'start' }
      let textTokens = 0
      for (const word of words.slice(0, most)) {
        signal.throwIfAborted()
        textTokens += 1
        yield { type: 'text-delta', text: word, counts: { textTokens } }
      }
      const reason = words.length > most ? 'length' : 'stop'
      yield { type: 'end', reason, usage: { textTokens, audioTokens: 0 } }
    } finally {
      this.#active -= 1
    }
  }

  status() {
    return { ready: !this.#closing.signal.aborted, active: this.#active, waiting: 0 }
  }

  async close() {
    this.#closing.abort(new EngineError('engine_closed', 'The engine is closed.'))
  }
}

/** The reply's text up to a stop string. Throws for what this engine does not support. */
function replyTo({ model, speech, messages, maxTokens, stop }: GenerationRequest): string {
  if (model !== 'echo') throw new EngineError('unknown_model', `There is no model '${model}'.`, { param: 'model' })
  if (speech) throw new EngineError('unsupported', 'This engine has no speech.', { param: 'modalities' })
  const parts = messages.at(-1)?.content ?? []
  const text = parts
    .map((part) => {
      if (part.type === 'text') return part.text
      throw new EngineError('unsupported', `This engine does not read ${part.type}.`, { param: 'messages' })
    })
    .join(' ')
  if (text.split(/\s+/).length + maxTokens > contextLength)
    throw new EngineError('context_overflow', `Only ${contextLength} words fit.`, { param: 'max_tokens' })
  const ends = stop.map((end) => text.indexOf(end)).filter((at) => at >= 0)
  return text.slice(0, Math.min(text.length, ...ends))
}
