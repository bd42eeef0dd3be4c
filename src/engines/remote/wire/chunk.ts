/**
 * Schema and readers of a chat completion chunk, of which each peer sends a variant.
 *
 * Reference: OpenAI's `chat.completion.chunk` with the fields of vLLM-Omni 0.30 (`modality`, `audio_metadata`),
 * SGLang-Omni 0.1.9 (`delta.audio`) and DashScope (`reasoning_content`).
 */

import { z } from 'zod'
import { RemoteError } from '../remote-error.ts'
import type { PeerUsage, ReplyDelta, ToolCallPiece } from './delta.ts'

const count = z.number().nonnegative()
const optional = count.nullish()

const usageSchema = z.object({
  prompt_tokens: count.nullish(),
  completion_tokens: count.nullish(),
  prompt_tokens_details: z
    .object({
      text_tokens: optional,
      image_tokens: optional,
      audio_tokens: optional,
      video_tokens: optional,
      cached_tokens: optional,
      multimodal_tokens: z.object({ image: optional, audio: optional, video: optional }).nullish(),
    })
    .nullish(),
  completion_tokens_details: z
    .object({ text_tokens: optional, audio_tokens: optional, reasoning_tokens: optional })
    .nullish(),
})

export const chunkSchema = z.object({
  modality: z.string().nullish(),
  choices: z
    .array(
      z.object({
        index: z.number().nullish(),
        delta: z
          .object({
            role: z.string().nullish(),
            content: z.string().nullish(),
            reasoning_content: z.string().nullish(),
            reasoning: z.string().nullish(),
            audio: z.object({ data: z.string().nullish(), transcript: z.string().nullish() }).nullish(),
            tool_calls: z
              .array(
                z.object({
                  index: z.number().int().nonnegative().nullish(),
                  id: z.string().nullish(),
                  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
                }),
              )
              .nullish(),
          })
          .nullish(),
        finish_reason: z.string().nullish(),
        stop_reason: z.union([z.string(), z.number()]).nullish(),
        audio_metadata: z.object({ sample_rate_hz: z.number().nullish(), channels: z.number().nullish() }).nullish(),
      }),
    )
    .nullish(),
  usage: usageSchema.nullish(),
  error: z.unknown().optional(),
})

export type Chunk = z.infer<typeof chunkSchema>

/** Validates a chunk. @throws RemoteError if the JSON is not a chunk */
export function parseChunk(json: unknown): Chunk {
  const parsed = chunkSchema.safeParse(json)
  if (parsed.success) return firstChoice(parsed.data)
  const [issue] = parsed.error.issues
  throw new RemoteError(
    'upstream_failed',
    `The peer sent an event that is not a chat completion chunk: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}.`,
    'strike',
  )
}

/** Removes other choices, because every request asks for one reply. */
function firstChoice(chunk: Chunk): Chunk {
  const { choices } = chunk
  if (!choices || choices.every(({ index }) => (index ?? 0) === 0)) return chunk
  return { ...chunk, choices: choices.filter(({ index }) => (index ?? 0) === 0) }
}

/** Text, reasoning, tool calls, finish reason and usage of a chunk. Adapters read its audio. */
export function readTextDelta(chunk: Chunk): ReplyDelta {
  const choice = chunk.choices?.[0]
  const delta = choice?.delta
  const text = delta?.content ?? ''
  const reasoning = delta?.reasoning_content ?? delta?.reasoning ?? ''
  const calls = delta?.tool_calls ?? []
  const finish = finishOf(choice?.finish_reason)
  const roleOnly = delta?.role !== undefined && delta.role !== null
  const endToken = choice?.stop_reason === undefined || choice.stop_reason === null
  return {
    ...(text !== '' && { text }),
    ...(reasoning !== '' && { reasoning }),
    // A last chunk without text is the end token, which does not count here.
    ...(delta?.content === '' &&
      reasoning === '' &&
      calls.length === 0 &&
      !roleOnly &&
      !finish && { silentToken: true }),
    ...(calls.length > 0 && { toolCalls: calls.map(readCall) }),
    ...(finish && { finish: { reason: finish, endToken: finish === 'stop' && endToken } }),
    ...(chunk.usage && { usage: readUsage(chunk.usage) }),
  }
}

function readCall(
  call: NonNullable<NonNullable<NonNullable<Chunk['choices']>[number]['delta']>['tool_calls']>[number],
  position: number,
): ToolCallPiece {
  const name = call.function?.name ?? ''
  const id = call.id ?? ''
  return {
    index: call.index ?? position,
    ...(id !== '' && { id }),
    ...(name !== '' && { name }),
    arguments: call.function?.arguments ?? '',
  }
}

function finishOf(reason: string | null | undefined): 'stop' | 'length' | 'tool_calls' | undefined {
  switch (reason) {
    case null:
    case undefined:
    case '':
      return undefined
    case 'length':
    case 'tool_calls':
    case 'stop':
      return reason
    case 'abort':
      throw new RemoteError('engine_crashed', 'The peer aborted the request.', 'strike')
    default:
      return 'stop'
  }
}

function readUsage(usage: NonNullable<Chunk['usage']>): PeerUsage {
  const prompt = usage.prompt_tokens_details
  const modal = prompt?.multimodal_tokens
  const parts = {
    text: prompt?.text_tokens,
    image: prompt?.image_tokens ?? modal?.image,
    audio: prompt?.audio_tokens ?? modal?.audio,
    video: prompt?.video_tokens ?? modal?.video,
  }
  const known = Object.entries(parts).filter((entry): entry is [string, number] => typeof entry[1] === 'number')
  const completion = usage.completion_tokens_details
  return {
    prompt: usage.prompt_tokens ?? 0,
    completion: usage.completion_tokens ?? 0,
    ...(known.length > 0 && { promptParts: Object.fromEntries(known) }),
    ...(typeof prompt?.cached_tokens === 'number' && { cached: prompt.cached_tokens }),
    ...(completion && {
      parts: {
        text: completion.text_tokens ?? 0,
        reasoning: completion.reasoning_tokens ?? 0,
        audio: completion.audio_tokens ?? 0,
      },
    }),
  }
}

/** Decodes Base64. @throws RemoteError if the text is not Base64 */
export function readBase64(text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    throw new RemoteError('upstream_failed', 'The peer sent audio that is not Base64.', 'strike')
  return Buffer.from(text, 'base64')
}

/** @throws RemoteError if the audio is not 24 kHz mono */
export function checkRate({ choices }: Chunk): void {
  const facts = choices?.[0]?.audio_metadata
  const rate = facts?.sample_rate_hz ?? 24_000
  const channels = facts?.channels ?? 1
  if (rate === 24_000 && channels === 1) return
  throw new RemoteError(
    'upstream_failed',
    `The peer's audio has ${rate} Hz and ${channels} channels; 24,000 Hz mono is required.`,
    'none',
  )
}
