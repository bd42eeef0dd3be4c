/**
 * `POST /audio/transcriptions` and `POST /audio/translations`: a recording's transcript, by the loaded checkpoint.
 *
 * The recording is split at its pauses into segments of at most 25 seconds, which are transcribed one after the other.
 * Times are those of the segments; streamed, each is an event. Reference: OpenAI's API reference;
 * docs/audio-endpoints.md has the prompts.
 */
import type { Context } from 'hono'
import type { Opened } from '../../media/index.ts'
import type { AudioMedium } from '../../contract/index.ts'
import {
  ApiError,
  errors,
  parseAudioRequest,
  type Transcription,
  type TranscriptionRequest,
  transcriptionRequestSchema,
} from '../../protocol/index.ts'
import {
  languageName,
  loadVoiceModel,
  pcmMedium,
  type SessionConfig,
  type SpeechSegment,
  speechSegments,
  TRANSCRIBE_PROMPT,
  transcriptionPrompt,
} from '../../realtime/index.ts'
import { audioModelUnknown } from '../audio/audio-models.ts'
import { formFields } from '../audio/form-fields.ts'
import { mediaErrorToApi } from '../chat/media-errors.ts'
import { knownModelName } from '../chat/prepare.ts'
import { ignoredWarning, warningHeader } from '../chat/warnings.ts'
import { bodyLimits, readForm } from '../read-body.ts'
import { findRealtimeTarget, type RealtimeTarget } from '../realtime/realtime-model.ts'
import { type SessionCaller, transcribe } from '../realtime/session-replies.ts'
import { RequestScope } from '../request-scope.ts'
import type { AppEnv, Services } from '../services.ts'

const RATE = 16_000
const LONGEST_SECONDS = 25
const TRANSLATE_PROMPT = 'Translate what is said in the audio into English. Answer with the translation only.'

interface Segment {
  readonly start: number
  readonly end: number
  readonly text: string
}

export function transcriptions(services: Services, task: 'transcribe' | 'translate') {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const { caller } = c.var
    const scope = new RequestScope(services, c.req.raw.signal)
    let streaming = false
    let modelName = 'unknown'
    try {
      const share = services.bodies.share()
      scope.own(share)
      const form = await readForm(c.req.raw, bodyLimits(services.settings), share)
      modelName = knownName(services, form.get('model')) ?? modelName
      const { fields, file, ignored } = formFields(form)
      const request = parseAudioRequest(transcriptionRequestSchema, fields)
      const target = findRealtimeTarget(services, request.model, true)
      if (target === undefined) throw audioModelUnknown(services, request.model, 'transcript')
      if (ignored.length > 0) c.header('x-omniserve-warnings', warningHeader(ignoredWarning(ignored)))
      if (!target.bound.model.input.includes('audio'))
        throw errors.checkpointUnsupported(
          `The checkpoint '${target.bound.model.id}' loaded here takes no audio input.`,
          'file',
        )
      const prompt = promptOf(request, task)
      if (file === undefined) throw errors.fieldRequired('file')
      // All segments count as one request.
      services.rateLimiter?.take(caller, target.chat.id, target.chat.rules.rateLimit)
      const samples = await samplesOf(services, file, target, scope.signal)
      const pieces = await speechSegments(samples, await loadVoiceModel(), {
        longestSeconds: LONGEST_SECONDS,
        yieldToEventLoop: () => new Promise((resolve) => void setImmediate(resolve)),
        signal: scope.signal,
      })
      scope.own(await services.queue.enter(scope.signal))
      const said = segmentsOf(services, { caller, target }, { request, prompt, samples, pieces }, scope.signal)
      if (request.stream === 'true') {
        // An error before the first text has an HTTP status.
        const first = await said.next()
        services.metrics.request(task, modelName, 200)
        streaming = true
        return c.body(streamOf(first, said, scope), 200, { 'content-type': 'text/event-stream' })
      }
      const segments: Segment[] = []
      for await (const segment of said) segments.push(segment)
      services.metrics.request(task, modelName, 200)
      return answer(c, request, task, segments, samples.length / RATE)
    } catch (error) {
      const explained = scope.explain((other) => (other instanceof ApiError ? other : errors.internal(other)))(error)
      services.metrics.request(task, modelName, explained?.status ?? 499)
      if (explained === undefined) return c.body(null, 499 as 400)
      throw explained
    } finally {
      if (!streaming) scope.end()
    }
  }
}

/** The model's name for the metrics, if there is such a model. */
function knownName(services: Services, model: unknown): string | undefined {
  const realtime = services.catalogue.realtime.find(({ id }) => id === model)
  return realtime?.id ?? knownModelName(services, { model })
}

interface Recording {
  readonly request: TranscriptionRequest
  readonly prompt: string
  /** 16 kHz mono. */
  readonly samples: Float32Array
  readonly pieces: readonly SpeechSegment[]
}

/** The segments' texts, one after the other. */
async function* segmentsOf(
  services: Services,
  caller: SessionCaller,
  { request, prompt, samples, pieces }: Recording,
  signal: AbortSignal,
): AsyncGenerator<Segment, void> {
  const config = configOf(request, caller.target)
  for (const { from, to } of pieces) {
    const audio = pcmMedium(samples.slice(from, to), RATE)
    const content = [{ type: 'audio', audio } as const, { type: 'text', text: prompt } as const]
    const messages = [{ role: 'user', content } as const]
    const text = await transcribe(services, caller, { messages, config }, signal, { placed: true })
    yield { start: from / RATE, end: to / RATE, text }
  }
}

/** Segments as events `transcript.text.delta`, then `transcript.text.done`. A failure cuts the connection. */
function streamOf(
  first: IteratorResult<Segment, void>,
  rest: AsyncGenerator<Segment, void>,
  scope: RequestScope,
): ReadableStream<Uint8Array> {
  let ready: IteratorResult<Segment, void> | undefined = first
  let text = ''
  const event = (json: object): Uint8Array => new TextEncoder().encode(`data: ${JSON.stringify(json)}\n\n`)
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = ready ?? (await rest.next())
        ready = undefined
        if (next.done === true) {
          controller.enqueue(event({ type: 'transcript.text.done', text }))
          scope.end()
          controller.close()
          return
        }
        const delta = text === '' || next.value.text === '' ? next.value.text : ` ${next.value.text}`
        text += delta
        controller.enqueue(event({ type: 'transcript.text.delta', delta }))
      } catch (error) {
        scope.abort()
        scope.end()
        controller.error(error)
      }
    },
    async cancel() {
      scope.abort()
      await rest.return(undefined).catch(() => undefined)
      scope.end()
    },
  })
}

/** 16 kHz mono. @throws ApiError */
async function samplesOf(
  services: Services,
  file: File,
  { chat }: RealtimeTarget,
  signal: AbortSignal,
): Promise<Float32Array> {
  const { media } = chat.rules
  const source = `data:;base64,${Buffer.from(await file.arrayBuffer()).toString('base64')}`
  const ref = { type: 'audio', source: '', param: 'file' } as const
  let opened: Opened<AudioMedium> | undefined
  try {
    const limits = {
      maxBytes: media.audio.maxBytes,
      dataUriMaxBytes: Infinity,
      maxDurationSeconds: media.audio.maxSeconds,
    }
    opened = await services.media.audio(source, limits, signal)
    return (await opened.decode(signal)).samples
  } catch (error) {
    signal.throwIfAborted()
    throw mediaErrorToApi(error, ref, media)
  } finally {
    void opened?.[Symbol.asyncDispose]()
  }
}

/** @throws ApiError if the value is not a language code */
function promptOf({ language, prompt }: TranscriptionRequest, task: 'transcribe' | 'translate'): string {
  if (language && languageName(language) === undefined)
    throw errors.notSupportedHere('language', `'${language.slice(0, 20)}' is no ISO 639-1 code.`)
  const hints = { language: language ?? undefined, prompt: prompt ?? undefined }
  return transcriptionPrompt(task === 'transcribe' ? TRANSCRIBE_PROMPT : TRANSLATE_PROMPT, hints)
}

function configOf({ temperature }: TranscriptionRequest, target: RealtimeTarget): SessionConfig {
  return {
    instructions: '',
    voice: target.defaultVoice,
    speaks: false,
    inputRate: RATE,
    turnDetection: undefined,
    transcribes: false,
    transcription: {},
    sampling: { temperature: temperature ?? 0, seed: 0 },
    maxTokens: undefined,
    tools: [],
    toolChoice: 'auto',
    parallelToolCalls: true,
  }
}

function answer(
  c: Context<AppEnv>,
  request: TranscriptionRequest,
  task: 'transcribe' | 'translate',
  segments: readonly Segment[],
  duration: number,
): Response {
  const text = segments
    .map((segment) => segment.text)
    .filter((each) => each !== '')
    .join(' ')
  const format = request.response_format ?? 'json'
  switch (format) {
    case 'json':
      return c.json({ text } satisfies Transcription)
    case 'text':
      return c.text(`${text}\n`)
    case 'srt':
      return c.text(segments.map((segment, index) => `${index + 1}\n${cue(segment, ',')}\n`).join('\n'))
    case 'vtt':
      return c.text(`WEBVTT\n\n${segments.map((segment) => `${cue(segment, '.')}\n`).join('\n')}`, 200, {
        'content-type': 'text/vtt',
      })
    case 'verbose_json':
      return c.json({
        task,
        ...(request.language && { language: request.language }),
        duration,
        text,
        segments: segments.map((segment, id) => ({ id, ...segment })),
      } satisfies Transcription)
    default:
      return format satisfies never
  }
}

function cue({ start, end, text }: Segment, mark: ',' | '.'): string {
  return `${clock(start, mark)} --> ${clock(end, mark)}\n${text}`
}

/** `00:00:01,500`. */
function clock(seconds: number, mark: ',' | '.'): string {
  const milliseconds = Math.round(seconds * 1000)
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  const rest = String(milliseconds % 1000).padStart(3, '0')
  return `${two(milliseconds / 3_600_000)}:${two((milliseconds / 60_000) % 60)}:${two((milliseconds / 1000) % 60)}${mark}${rest}`
}
