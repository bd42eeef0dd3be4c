/** OpenAI's audio endpoints: text to speech, and transcripts. */
import { z } from 'zod'
import type { ApiError } from './api-error.ts'
import { errors } from './error-catalogue.ts'
import { requestIssueToError } from './request-issue.ts'
import { temperatureText } from './request.ts'

export const speechRequestSchema = z
  .object({
    model: z.string().describe('An API model, or the name of a loaded checkpoint.'),
    input: z
      .string()
      .min(1)
      .max(4096, 'input should have at most 4096 characters')
      .describe('The text to speak, at most 4096 characters.'),
    voice: z.string().nullish().describe('A voice of the model; its default voice when absent.'),
    response_format: z
      .enum(['mp3', 'opus', 'wav', 'pcm'])
      .nullish()
      .describe('Default mp3. pcm: 24 kHz, 16-bit, mono.'),
    speed: z.number().nullish().describe('Only 1: the checkpoint speaks at its own pace.'),
    stream_format: z.string().nullish().describe('Only "audio".'),
    instructions: z.string().nullish().describe('Not supported.'),
  })
  .meta({ id: 'SpeechRequest' })

export const transcriptionRequestSchema = z
  .object({
    model: z.string().describe('An API model, or the name of a loaded checkpoint.'),
    language: z.string().nullish().describe('ISO 639-1 code of the spoken language.'),
    prompt: z.string().nullish().describe('Words that are likely to occur.'),
    response_format: z.enum(['json', 'text', 'srt', 'vtt', 'verbose_json']).nullish().describe('Default json.'),
    temperature: z.coerce.number(temperatureText).min(0, temperatureText).lt(2, temperatureText).nullish(),
    stream: z
      .enum(['true', 'false'])
      .nullish()
      .describe('Events `transcript.text.delta` and `transcript.text.done`, with json and text.'),
  })
  .meta({ id: 'TranscriptionRequest', description: 'Fields of a form, in addition to `file`.' })

export const transcriptionSchema = z
  .object({
    text: z.string(),
    task: z.enum(['transcribe', 'translate']).optional(),
    language: z.string().optional(),
    duration: z.number().optional().describe('Seconds.'),
    segments: z
      .array(z.object({ id: z.int(), start: z.number(), end: z.number(), text: z.string() }))
      .optional()
      .describe('Segments between pauses; times in seconds from the start.'),
  })
  .meta({ id: 'Transcription' })

export const speechVoicesSchema = z
  .object({ voices: z.array(z.object({ id: z.string(), name: z.string() })) })
  .meta({ id: 'SpeechVoices' })

export type SpeechVoices = z.infer<typeof speechVoicesSchema>
export type SpeechRequest = z.infer<typeof speechRequestSchema>
export type TranscriptionRequest = z.infer<typeof transcriptionRequestSchema>
export type Transcription = z.infer<typeof transcriptionSchema>

/** Checks a body of either kind. @throws ApiError naming the field */
export function parseAudioRequest<T>(schema: z.ZodType<T>, body: unknown): T {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw errors.bodyInvalid('it should be a JSON object.')
  const { model } = body as { model?: unknown }
  if (model === undefined || model === null || model === '') throw errors.modelMissing()
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw choices(parsed.error) ?? requestIssueToError(parsed.error, body)
}

/** A value that is not in a short list, which is shown. */
function choices(error: z.ZodError): ApiError | undefined {
  const issue = error.issues[0]
  if (issue?.code !== 'invalid_value') return undefined
  const param = issue.path.map(String).join('.')
  return errors.notOneOf(issue.values.map(String), param)
}
