/**
 * The body of `POST .../chat/completions`, as the compatible mode of Model Studio takes it for Qwen-Omni.
 *
 * In: parsed JSON with `extra_body` already merged. Out: a {@link ChatCompletionRequest}, or the first issue as an
 * error of the catalogue (`request-issue.ts`). What depends on the model (lengths, voices, modes) is not decided here.
 * A custom message here is the service's own text; the issue mapper sends it as it is, with the algorithm-side prefix.
 *
 * Optional parameters may also be null, which means absent. Unknown keys are ignored, as the service does
 * (`ignored-fields.ts` lists them).
 */
import { z } from 'zod'

const MAX_SEED = 2 ** 31 - 1

const imageUrlSchema = z
  .union([z.string(), z.object({ url: z.string() })])
  .describe('A URL or a data URI. A string in place of the object is accepted.')

/** Accepted on a part next to its payload; docs/wire.md lists the models that use it. */
const samplingHints = {
  fps: z
    .number('fps should be in [0.1, 10.0]')
    .min(0.1, 'fps should be in [0.1, 10.0]')
    .max(10, 'fps should be in [0.1, 10.0]')
    .nullish(),
}

export const textPartSchema = z.object({ type: z.literal('text'), text: z.string() }).meta({ id: 'TextPart' })

export const imagePartSchema = z
  .object({ type: z.literal('image_url'), image_url: imageUrlSchema })
  .meta({ id: 'ImagePart' })

export const audioPartSchema = z
  .object({
    type: z.literal('input_audio'),
    input_audio: z.object({
      data: z.string().describe('A URL, or `data:;base64,` and the file. On /v1 also Base64 alone.'),
      format: z.string().nullish().describe('Optional; the file itself decides.'),
    }),
  })
  .meta({ id: 'AudioPart' })

export const framesPartSchema = z
  .object({ type: z.literal('video'), video: z.array(z.string()), ...samplingHints })
  .meta({ id: 'VideoFramesPart', description: 'A video as a list of images, URLs or data URIs, in time order.' })

export const videoPartSchema = z
  .object({
    type: z.literal('video_url'),
    video_url: z.union([z.string(), z.object({ url: z.string() })]),
    ...samplingHints,
  })
  .meta({ id: 'VideoPart', description: 'A video file, with its audio track.' })

export const userPartSchema = z
  .discriminatedUnion('type', [textPartSchema, imagePartSchema, audioPartSchema, framesPartSchema, videoPartSchema])
  .meta({ id: 'UserPart' })

const textContent = z.union([z.string(), z.array(textPartSchema).min(1)])

const systemMessageSchema = z.object({ role: z.literal('system'), content: textContent }).meta({ id: 'SystemMessage' })

const userMessageSchema = z
  .object({ role: z.literal('user'), content: z.union([z.string(), z.array(userPartSchema).min(1)]) })
  .meta({ id: 'UserMessage' })

const assistantMessageSchema = z
  .object({
    role: z.literal('assistant'),
    content: textContent.nullish(),
    reasoning_content: z.string().nullish(),
    tool_calls: z.array(z.unknown()).nullish(),
    partial: z.boolean().nullish(),
    audio: z.object({ id: z.string() }).nullish().describe('On /v1: an earlier spoken reply, in place of content.'),
  })
  .meta({ id: 'AssistantMessage', description: 'Text only.' })

const toolMessageSchema = z
  .object({ role: z.literal('tool'), content: textContent.nullish(), tool_call_id: z.string().nullish() })
  .meta({
    id: 'ToolMessage',
    description: 'The result of a tool call. Refused if the model or the checkpoint has no tools.',
  })

const functionMessageSchema = z
  .object({ role: z.literal('function'), content: textContent.nullish(), name: z.string().nullish() })
  .meta({ id: 'FunctionMessage', description: 'Not supported: use tool messages.' })

export const messageSchema = z
  .discriminatedUnion('role', [
    systemMessageSchema,
    userMessageSchema,
    assistantMessageSchema,
    toolMessageSchema,
    functionMessageSchema,
  ])
  .meta({ id: 'Message' })

export const temperatureText = 'Temperature should be in [0.0, 2.0)'
const topPText = 'Range of top_p should be (0.0, 1.0]'
const topKText = 'Parameter top_k be greater than or equal to 0'
const presenceText = 'Presence_penalty should be in [-2.0, 2.0]'
const repetitionText = 'Repetition_penalty should be greater than 0.0'
const nText = 'Range of n should be [1, 4]'

export const chatCompletionRequestSchema = z
  .object({
    model: z.string().describe('A model or snapshot of the catalogue; see GET /compatible-mode/v1/models.'),
    messages: z.array(messageSchema).min(1),
    stream: z
      .boolean()
      .nullish()
      .describe('On /compatible-mode/v1 it must be true, unless the server runs with --lenient-non-stream.'),
    stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
    modalities: z.array(z.string()).nullish().describe('["text"] (default) or ["text", "audio"].'),
    audio: z
      .object({
        voice: z.string().nullish().describe('A voice of the model; see GET /compatible-mode/v1/voices.'),
        format: z
          .string()
          .nullish()
          .describe(
            '"wav"; "pcm" and "pcm16" mean the same. What is streamed is raw PCM. Whole replies on /v1: also mp3, opus.',
          ),
      })
      .nullish(),
    temperature: z.number("'temperature' must be Float").min(0, temperatureText).lt(2, temperatureText).nullish(),
    top_p: z.number(topPText).gt(0, topPText).max(1, topPText).nullish(),
    top_k: z
      .number(topKText)
      .min(0, topKText)
      .int('top_k should be an integer')
      .nullish()
      .describe('Null, 0 and values over 100 turn it off.'),
    presence_penalty: z.number(presenceText).min(-2, presenceText).max(2, presenceText).nullish(),
    repetition_penalty: z.number(repetitionText).gt(0, repetitionText).nullish(),
    frequency_penalty: z.number().nullish().describe('Ignored, with a warning.'),
    max_tokens: z.int().nullish().describe("Answer tokens, reasoning excluded; up to the model's maximum output."),
    max_completion_tokens: z.int().nullish().describe('Reasoning and answer together.'),
    seed: z.number().min(0).max(MAX_SEED).int().nullish().describe('Default 1234.'),
    stop: z
      .union([z.string(), z.array(z.string()), z.array(z.int())])
      .nullish()
      .describe('Strings that end the reply, or token ids; not both.'),
    n: z.int(nText).min(1, nText).max(4, nText).nullish().describe('Only 1 is supported.'),
    enable_thinking: z.boolean().nullish().describe('qwen3-omni-flash only; excludes audio output.'),
    thinking_budget: z.int().nullish().describe('Maximum number of reasoning tokens.'),
    enable_search: z.boolean().nullish().describe('Refused when true.'),
    response_format: z.object({ type: z.string() }).nullish().describe('Only {"type": "text"}.'),
    tools: z
      .array(z.unknown())
      .nullish()
      .describe('Functions. Refused if the model or the loaded checkpoint has no tools, unless empty.'),
    tool_choice: z.unknown().optional(),
    parallel_tool_calls: z.boolean().nullish().describe('False: at most one call in a reply.'),
    logprobs: z.boolean().nullish().describe('Refused when true.'),
    top_logprobs: z.int().nullish().describe('Refused unless 0.'),
    user: z.string().nullish(),
  })
  .meta({ id: 'ChatCompletionRequest' })

export type TextPart = z.infer<typeof textPartSchema>
export type UserPart = z.infer<typeof userPartSchema>
export type Message = z.infer<typeof messageSchema>
export type ChatCompletionRequest = z.infer<typeof chatCompletionRequestSchema>

/** The URL or data URI of an image or video part, whichever of the two forms it was written in. */
export function urlOf(value: string | { readonly url: string }): string {
  return typeof value === 'string' ? value : value.url
}

/**
 * Lifts the keys of a literal `extra_body` object to the top, as the Python SDK does before sending and Node clients do
 * not. Keys already at the top win. Returns a new object; the input is not changed.
 */
export function mergeExtraBody(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { extra_body: extra, ...rest } = body
  if (typeof extra !== 'object' || extra === null || Array.isArray(extra)) return rest
  return { ...(extra as Record<string, unknown>), ...rest }
}
