/**
 * `POST /audio/speech`: text to speech by the loaded checkpoint. Reference: OpenAI's API reference;
 * docs/audio-endpoints.md.
 */
import type { Context } from 'hono'
import type { EngineEvent } from '../../contract/index.ts'
import { EncoderError, encodeSpeech, mimeTypeOf } from '../../media/index.ts'
import { ApiError, errors, parseAudioRequest, speechRequestSchema, unknownFields } from '../../protocol/index.ts'
import { audioModelUnknown } from '../audio/audio-models.ts'
import { textPieces } from '../audio/text-pieces.ts'
import { engineErrorToApi } from '../chat/engine-errors.ts'
import { knownModelName, planRequest, prepare } from '../chat/prepare.ts'
import { ignoredWarning, warningHeader } from '../chat/warnings.ts'
import { ReplyRecord } from '../chat/reply-record.ts'
import { startGeneration } from '../chat/start-generation.ts'
import { bodyLimits, readJson } from '../read-body.ts'
import { RequestScope } from '../request-scope.ts'
import type { AppEnv, Services } from '../services.ts'

/** The prompt for an engine without the capability `scripted`. */
const READ_ALOUD = 'Read this text aloud, word for word, and say nothing else:\n\n'

export function speech(services: Services) {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const { requestId, caller } = c.var
    const scope = new RequestScope(services, c.req.raw.signal)
    let modelName = 'unknown'
    try {
      const share = services.bodies.share()
      scope.own(share)
      const json = await readJson(c.req.raw, bodyLimits(services.settings), share)
      modelName = knownModelName(services, json) ?? modelName
      const request = parseAudioRequest(speechRequestSchema, json)
      if ((request.speed ?? 1) !== 1) throw errors.notSupportedHere('speed', 'the checkpoint speaks at its own pace.')
      if ((request.stream_format ?? 'audio') !== 'audio')
        throw errors.notSupportedHere('stream_format', 'only "audio" is.')
      if (request.instructions) throw errors.notSupportedHere('instructions', 'choose a voice instead.')
      const warnings = unknownFields(json, request)
      if (warnings.length > 0) c.header('x-omniserve-warnings', warningHeader(ignoredWarning(warnings)))
      if (modelName === 'unknown' && !services.catalogue.isOnOtherWire(request.model))
        throw audioModelUnknown(services, request.model, 'speech')
      const pieces = textPieces(request.input)
      if (pieces.length === 0) throw errors.fieldRequired('input')
      const format = request.response_format ?? 'mp3'
      scope.own(await services.queue.enter(scope.signal))
      const say = (text: string, index: number): Promise<AsyncGenerator<Int16Array>> =>
        sayPiece(
          services,
          { model: request.model, voice: request.voice ?? undefined, text, first: index === 0 },
          `${requestId}-${index}`,
          caller,
          scope.signal,
        )
      // Failures before the first bytes are plain HTTP.
      const first = await say(pieces[0]!, 0)
      const samples = inTurn(first, pieces.slice(1), say)
      const bytes = encodeSpeech(samples, format, scope.signal)
      const start = await bytes.next()
      services.metrics.request('speech', modelName, 200)
      c.header('content-type', mimeTypeOf(format))
      return c.body(streamOf(start, bytes, scope))
    } catch (error) {
      const explained = scope.explain(apiErrorOf)(error)
      scope.abort()
      scope.end()
      services.metrics.request('speech', modelName, explained?.status ?? 499)
      if (explained === undefined) return c.body(null, 499 as 400)
      throw explained
    }
  }
}

function apiErrorOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error.param === 'audio.voice' ? error.withParam('voice') : error
  return error instanceof EncoderError ? errors.unavailable(error.message, error) : errors.internal(error)
}

async function* inTurn(
  first: AsyncGenerator<Int16Array>,
  rest: readonly string[],
  say: (text: string, index: number) => Promise<AsyncGenerator<Int16Array>>,
): AsyncGenerator<Int16Array> {
  yield* first
  for (const [index, text] of rest.entries()) yield* await say(text, index + 1)
}

interface Saying {
  readonly model: string
  readonly voice: string | undefined
  readonly text: string
  readonly first: boolean
}

/** Starts one piece. @throws ApiError */
async function sayPiece(
  services: Services,
  { model, voice, text, first }: Saying,
  id: string,
  caller: string,
  signal: AbortSignal,
): Promise<AsyncGenerator<Int16Array>> {
  const body = (content: string): object => ({
    model,
    messages: [{ role: 'user', content }],
    modalities: ['text', 'audio'],
    audio: { ...(voice !== undefined && { voice }), format: 'pcm' },
    stream: true,
    temperature: 0,
  })
  const arrived = performance.now()
  let plan = planRequest(services, body(text), { lenient: true, caller })
  const scripted = services.host.resolve(plan.model.id, false)?.model.capabilities.scripted === true
  if (!scripted) plan = planRequest(services, body(READ_ALOUD + text), { lenient: true, caller })
  // All pieces count as one request.
  if (first) services.rateLimiter?.take(caller, plan.model.id, plan.model.rules.rateLimit)
  const plain = await prepare(services, plan, { id, caller, traceparent: undefined }, signal)
  const prepared = scripted ? { ...plain, generation: { ...plain.generation, script: text } } : plain
  const record = new ReplyRecord(services, prepared, caller, arrived)
  const started = await startGeneration(prepared, signal)
  record.started(started.prompt)
  record.servedBy(started.servedBy)
  const { model: loaded } = prepared.loaded
  return spoken(started.events, record, signal, (error) => engineErrorToApi(error, loaded.id, loaded.contextLength))
}

async function* spoken(
  events: AsyncIterator<EngineEvent>,
  record: ReplyRecord,
  signal: AbortSignal,
  explain: (error: unknown) => ApiError,
): AsyncGenerator<Int16Array> {
  try {
    for (;;) {
      const next = await events.next()
      if (next.done === true) return
      const event = next.value
      if (event.type === 'audio-delta') {
        record.audio(event.pcm.length, event.counts)
        yield event.pcm
      } else if (event.type === 'end') {
        record.finish(event.reason, record.usage(event.usage))
        return
      } else if (event.type !== 'start') record.text(event.counts)
    }
  } catch (error) {
    if (!signal.aborted) record.finish('error', undefined, explain(error))
    throw error
  } finally {
    record.finish('cancelled')
    await events.return?.().catch(() => undefined)
  }
}

/**
 * A failure after the first byte closes the connection, so that an incomplete file is not mistaken for a complete one.
 */
function streamOf(
  start: IteratorResult<Uint8Array, void>,
  bytes: AsyncGenerator<Uint8Array, void>,
  scope: RequestScope,
): ReadableStream<Uint8Array> {
  let ready: IteratorResult<Uint8Array, void> | undefined = start
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = ready ?? (await bytes.next())
        ready = undefined
        if (next.done !== true) {
          controller.enqueue(next.value)
          return
        }
        scope.end()
        controller.close()
      } catch (error) {
        scope.abort()
        scope.end()
        controller.error(error)
      }
    },
    async cancel() {
      scope.abort()
      await bytes.return(undefined).catch(() => undefined)
      scope.end()
    },
  })
}
