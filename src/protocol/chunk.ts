/**
 * The parts of a reply: `chat.completion.chunk` for streams, `chat.completion` for the lenient whole reply.
 *
 * Reference: the result samples of the Qwen-Omni guide (December 2025); captures of the turbo era for `transcript`.
 */
import { z } from 'zod'
import { usageSchema } from './usage.ts'

export const audioDeltaSchema = z
  .object({
    data: z
      .string()
      .optional()
      .describe(
        'Base64 of headerless 16-bit little-endian 24 kHz mono PCM. Every piece but the last holds a multiple of 6 bytes, so pieces may be joined as strings or decoded one by one.',
      ),
    transcript: z.string().optional().describe('Text of a spoken reply on turbo models, by server setting.'),
    expires_at: z.int().optional().describe('Seconds since 1970; equals `created`.'),
    id: z.string().optional().describe('`audio_` and the uuid of the reply.'),
  })
  .meta({ id: 'AudioDelta' })

export const chunkDeltaSchema = z
  .object({
    role: z.literal('assistant').optional().describe('In the first chunk only.'),
    content: z.string().nullish(),
    reasoning_content: z.string().nullish(),
    tool_calls: z
      .array(
        z.object({
          index: z.int(),
          id: z.string().optional().describe('In the first piece of a call only, as are type and name.'),
          type: z.literal('function').optional(),
          function: z.object({ name: z.string().optional(), arguments: z.string() }),
        }),
      )
      .optional(),
    audio: audioDeltaSchema.optional(),
  })
  .meta({ id: 'ChunkDelta' })

export const finishReasonSchema = z.enum(['stop', 'length', 'tool_calls'])

export const chatCompletionChunkSchema = z
  .object({
    id: z.string().describe('`chatcmpl-` and the request id; the same in every chunk of a reply.'),
    object: z.literal('chat.completion.chunk'),
    created: z.int().describe('Seconds since 1970; the same in every chunk of a reply.'),
    model: z.string().describe('The model name as requested; aliases are not resolved.'),
    system_fingerprint: z.null(),
    choices: z
      .array(
        z.object({
          index: z.literal(0),
          delta: chunkDeltaSchema,
          finish_reason: finishReasonSchema.nullable(),
          logprobs: z.null(),
        }),
      )
      .describe('Empty in the usage chunk.'),
    usage: usageSchema.nullable(),
  })
  .meta({ id: 'ChatCompletionChunk' })

export const chatCompletionSchema = z
  .object({
    id: z.string(),
    object: z.literal('chat.completion'),
    created: z.int(),
    model: z.string(),
    system_fingerprint: z.null(),
    choices: z.array(
      z.object({
        index: z.literal(0),
        message: z.object({
          role: z.literal('assistant'),
          content: z
            .string()
            .nullable()
            .describe('Null for a spoken reply, whose text is the transcript, and where tools are called.'),
          reasoning_content: z.string().optional(),
          audio: z
            .object({ id: z.string(), data: z.string(), transcript: z.string(), expires_at: z.int() })
            .optional()
            .describe('A spoken reply. `data` is a file of the requested format, in Base64.'),
          tool_calls: z
            .array(
              z.object({
                id: z.string(),
                type: z.literal('function'),
                function: z.object({ name: z.string(), arguments: z.string() }),
              }),
            )
            .optional(),
        }),
        finish_reason: finishReasonSchema,
        logprobs: z.null(),
      }),
    ),
    usage: usageSchema,
  })
  .meta({ id: 'ChatCompletion' })

export type AudioDelta = z.infer<typeof audioDeltaSchema>
export type ChunkDelta = z.infer<typeof chunkDeltaSchema>
export type FinishReason = z.infer<typeof finishReasonSchema>
export type ChatCompletionChunk = z.infer<typeof chatCompletionChunkSchema>
export type ChatCompletion = z.infer<typeof chatCompletionSchema>
