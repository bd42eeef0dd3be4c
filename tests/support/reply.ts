/** Reads a streamed reply to its end and checks its shape on the way. */
import {
  apiErrorBodySchema,
  type ApiErrorBody,
  type ChatCompletionChunk,
  chatCompletionChunkSchema,
  DONE,
  readSse,
  type Usage,
} from '../../src/protocol/index.ts'

export interface Reply {
  readonly chunks: readonly ChatCompletionChunk[]
  readonly text: string
  readonly reasoning: string
  /** 24 kHz mono, from the pieces joined as strings. */
  readonly samples: Int16Array
  readonly pieces: readonly string[]
  readonly usage: Usage | undefined
  readonly finish: string | undefined
  /** The error a stream ended with. */
  readonly error: ApiErrorBody | undefined
  readonly done: boolean
}

/** @throws when a chunk is not of the wire's shape */
export async function readReply(response: Response): Promise<Reply> {
  if (response.body === null) throw new Error('no body')
  const chunks: ChatCompletionChunk[] = []
  let error: ApiErrorBody | undefined
  let done = false
  for await (const data of readSse(response.body)) {
    if (data === DONE) {
      done = true
      continue
    }
    if (done) throw new Error(`something came after ${DONE}: ${data}`)
    const json: unknown = JSON.parse(data)
    if (typeof json === 'object' && json !== null && 'error' in json) error = apiErrorBodySchema.parse(json)
    else chunks.push(chatCompletionChunkSchema.parse(json))
  }
  const deltas = chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta))
  const pieces = deltas.flatMap((delta) => delta.audio?.data ?? [])
  const bytes = Buffer.from(pieces.join(''), 'base64')
  return {
    chunks,
    text: deltas.map((delta) => delta.content ?? '').join(''),
    reasoning: deltas.map((delta) => delta.reasoning_content ?? '').join(''),
    samples: new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)),
    pieces,
    usage: chunks.at(-1)?.usage ?? undefined,
    finish:
      chunks
        .flatMap((chunk) => chunk.choices.map((choice) => choice.finish_reason))
        .find((reason) => reason !== null) ?? undefined,
    error,
    done,
  }
}

/** Loudness of samples, of 1. */
export function loudness(samples: Int16Array): number {
  let sum = 0
  for (const sample of samples) sum += (sample / 32_768) ** 2
  return Math.sqrt(sum / Math.max(1, samples.length))
}

/** Whether details add up to totals, and no key is zero. */
export function usageAddsUp(usage: Usage): boolean {
  const add = (details: object | undefined): number =>
    Object.values(details ?? {}).reduce<number>((sum, value) => sum + Number(value), 0)
  const zeros = [usage.prompt_tokens_details, usage.completion_tokens_details].some((details) =>
    Object.values(details ?? {}).includes(0),
  )
  return (
    !zeros &&
    add(usage.prompt_tokens_details) === usage.prompt_tokens &&
    add(usage.completion_tokens_details) === usage.completion_tokens &&
    usage.prompt_tokens + usage.completion_tokens === usage.total_tokens
  )
}
