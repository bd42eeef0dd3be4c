/** Responses of the catalogue routes: models, voices, token counts, health. The hosted service does not have them. */
import { z } from 'zod'
import { usageSchema } from './usage.ts'

const modalitySchema = z.enum(['text', 'image', 'audio', 'video'])

export const modeLimitsSchema = z
  .object({
    context_length: z.int(),
    max_input: z.int(),
    max_reasoning: z.int().optional(),
    max_output: z.int(),
  })
  .meta({ id: 'ModeLimits', description: 'Tokens.' })

export const modelSchema = z
  .object({
    id: z.string(),
    object: z.literal('model'),
    created: z.int(),
    owned_by: z.string(),
    region: z.enum(['intl', 'cn']),
    family: z.enum(['flash', 'turbo', 'open']),
    kind: z.enum(['stable', 'latest', 'snapshot', 'open']),
    same_as: z.string().optional().describe('The snapshot that this name stands for.'),
    also_known_as: z.array(z.string()),
    input_modalities: z.array(modalitySchema),
    output_modalities: z.array(z.enum(['text', 'audio'])),
    voices: z.array(z.string()),
    limits: z.object({ normal: modeLimitsSchema, thinking: modeLimitsSchema.optional() }),
    defaults: z.object({
      temperature: z.number(),
      top_p: z.number(),
      top_k: z.int(),
      presence_penalty: z.number(),
      repetition_penalty: z.number(),
      seed: z.int(),
    }),
    media: z
      .object({
        image: z.object({ max_bytes: z.int(), min_side_over: z.int(), max_aspect_ratio: z.int() }),
        audio: z.object({ max_bytes: z.int(), max_seconds: z.number() }),
        video: z.object({ max_bytes: z.int(), max_seconds: z.number(), min_frames: z.int(), max_frames: z.int() }),
        max_data_uri_bytes: z.int(),
      })
      .describe('Limits of each file.'),
    rate_limit: z.object({ requests_per_minute: z.int(), tokens_per_minute: z.int() }),
    prices: z
      .object({
        currency: z.enum(['USD', 'CNY']),
        per_tokens: z.literal(1_000_000),
        input_text: z.number(),
        input_audio: z.number(),
        input_image_video: z.number(),
        output_text: z.number(),
        output_text_multimodal: z.number(),
        output_audio: z.number(),
      })
      .optional()
      .describe("The hosted service's list prices, for comparison. This server does not bill."),
    served_by: z
      .object({
        checkpoint: z.string(),
        architecture: z.string(),
        weights: z.string(),
        device: z.string(),
        context_length: z.int(),
        max_output: z.int(),
        input_modalities: z.array(modalitySchema),
        output_modalities: z.array(z.enum(['text', 'audio'])),
        thinking: z.boolean(),
        tools: z.boolean().describe('Whether it supports tools.'),
      })
      .nullable()
      .describe('The checkpoint loaded here that answers for this name.'),
  })
  .meta({ id: 'Model' })

export const modelListSchema = z
  .object({ object: z.literal('list'), data: z.array(modelSchema) })
  .meta({ id: 'ModelList' })

export const voiceSchema = z
  .object({
    name: z.string().describe('The value of the `audio.voice` parameter.'),
    display_name: z.string(),
    description: z.string(),
    languages: z.array(z.string()).describe('ISO 639-1 codes.'),
    dialect: z.string().optional().describe('The Chinese dialect spoken in place of Mandarin.'),
    native: z
      .boolean()
      .nullable()
      .describe('Whether the loaded checkpoint was trained with this voice; null when none can speak.'),
    spoken_by: z.string().nullable().describe("The checkpoint's speaker that is used."),
  })
  .meta({ id: 'Voice' })

export const voiceListSchema = z
  .object({
    object: z.literal('list'),
    data: z.array(z.object({ model: z.string(), default_voice: z.string(), voices: z.array(voiceSchema) })),
  })
  .meta({ id: 'VoiceList' })

export const costSchema = z
  .object({
    currency: z.enum(['USD', 'CNY']),
    input: z.number(),
    output: z.number(),
    total: z.number(),
  })
  .meta({ id: 'Cost', description: 'What the hosted service would bill at its list prices.' })

export const tokensCountSchema = z
  .object({
    object: z.literal('tokens.count'),
    model: z.string(),
    usage: usageSchema.describe("The prompt's usage; completion is 0."),
    cost: costSchema.nullable(),
    limits: z.object({
      max_input: z.int(),
      checkpoint: z.string().nullable(),
      checkpoint_prompt_tokens: z.int().nullable().describe('The prompt as the loaded checkpoint counts it.'),
      checkpoint_context: z.int().nullable(),
    }),
    warnings: z.array(z.string()),
  })
  .meta({ id: 'TokensCount' })

export const healthSchema = z
  .object({ status: z.literal('ok'), version: z.string(), uptime_seconds: z.number() })
  .meta({ id: 'Health' })

export const readySchema = z
  .object({
    status: z
      .enum(['ready', 'loading', 'not_ready'])
      .describe('`ready` when at least one checkpoint can answer; `loading` until checkpoints are loaded.'),
    reason: z.string().optional(),
    active: z.int(),
    waiting: z.int(),
    models: z.array(z.string()).describe('Checkpoints that are loaded.'),
    checkpoints: z
      .array(
        z.object({
          checkpoint: z.string(),
          ready: z.boolean(),
          reason: z.string().optional(),
          active: z.int(),
          waiting: z.int(),
          answers_for: z.array(z.string()).describe('API models; `MODEL:thinking`: only its thinking mode.'),
        }),
      )
      .describe('The state of each checkpoint.'),
  })
  .meta({ id: 'Ready' })

export type ModelListing = z.infer<typeof modelSchema>
export type ModelList = z.infer<typeof modelListSchema>
export type VoiceListing = z.infer<typeof voiceSchema>
export type VoiceList = z.infer<typeof voiceListSchema>
export type Cost = z.infer<typeof costSchema>
export type TokensCount = z.infer<typeof tokensCountSchema>
export type Health = z.infer<typeof healthSchema>
export type Ready = z.infer<typeof readySchema>
