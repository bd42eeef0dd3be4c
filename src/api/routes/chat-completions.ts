/** `POST /chat/completions`. Reference: the Qwen-Omni guide (December 2025); docs/life-of-a-request.md. */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context } from 'hono'
import type { EngineEvent } from '../../contract/index.ts'
import { ApiError, errors } from '../../protocol/index.ts'
import { ChunkWriter } from '../chat/chunk-writer.ts'
import { engineErrorToApi } from '../chat/engine-errors.ts'
import { disposeInBackground, knownModelName, planRequest, prepare } from '../chat/prepare.ts'
import { ReplyRecord } from '../chat/reply-record.ts'
import { warningHeader } from '../chat/warnings.ts'
import { startGeneration } from '../chat/start-generation.ts'
import { streamReply } from '../chat/stream-reply.ts'
import { wholeReply } from '../chat/whole-reply.ts'
import { bodyLimits, readJson } from '../read-body.ts'
import { RequestScope } from '../request-scope.ts'
import type { AppEnv, Services } from '../services.ts'

export function chatCompletions(services: Services, lenient = false) {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const arrived = performance.now()
    const { requestId, caller } = c.var
    const scope = new RequestScope(services, c.req.raw.signal)
    let modelName = 'unknown'
    let events: AsyncIterator<EngineEvent> | undefined
    try {
      const share = services.bodies.share()
      scope.own(share)
      const json = await readJson(c.req.raw, bodyLimits(services.settings), share)
      modelName = knownModelName(services, json) ?? modelName
      const plan = planRequest(services, json, { lenient, caller })
      services.rateLimiter?.take(caller, plan.model.id, plan.model.rules.rateLimit)
      scope.own(await services.queue.enter(scope.signal))
      const traceparent = c.req.header('traceparent')
      const prepared = await prepare(services, plan, { id: requestId, caller, traceparent }, scope.signal)
      scope.own(disposeInBackground(prepared.media))
      const record = new ReplyRecord(services, prepared, caller, arrived)
      const started = await startGeneration(prepared, scope.signal)
      events = started.events
      record.started(started.prompt)
      record.servedBy(started.servedBy)
      // The engine has read the media, and the reply may take long.
      void prepared.media[Symbol.asyncDispose]()
      const { model } = prepared.loaded
      const explain = (error: unknown): ApiError | undefined =>
        scope.explain((other) => engineErrorToApi(other, model.id, model.contextLength))(error)
      const created = Math.floor(services.now() / 1000)
      if (started.warnings.length > 0) c.header('x-omniserve-warnings', warningHeader(started.warnings))
      if (started.servedBy !== undefined) c.header('x-omniserve-served-by', started.servedBy)
      if (!plan.stream) {
        try {
          const facts = { requestId, created, model: modelName, thinking: plan.thinking !== undefined }
          const format = plan.speech === undefined ? undefined : plan.audioFormat
          const reply = await wholeReply(started.events, record, { ...facts, format, signal: scope.signal })
          const { audio } = reply.choices[0]?.message ?? {}
          if (audio !== undefined) services.spokenReplies.put(caller, audio.id, audio.transcript)
          scope.end()
          services.metrics.request('chat', modelName, 200)
          return c.json(reply)
        } catch (error) {
          const explained = explain(error)
          record.finish(explained === undefined ? 'cancelled' : 'error', undefined, explained)
          throw explained ?? error
        }
      }
      c.header('content-type', 'text/event-stream;charset=UTF-8')
      c.header('cache-control', 'no-cache')
      c.header('x-accel-buffering', 'no')
      const { outgoing } = c.env
      outgoing.writeHead(200, Object.fromEntries(c.body(null).headers))
      services.metrics.request('chat', modelName, 200)
      void streamReply(
        {
          events: started.events,
          writer: new ChunkWriter({
            requestId,
            created,
            model: modelName,
            thinking: plan.thinking !== undefined,
            speaks: plan.speech !== undefined,
            spokenTextIn: services.textCarriers.get(plan.model.id) ?? 'content',
          }),
          record,
          requestId,
          spoken: (text) => services.spokenReplies.put(caller, `audio_${requestId}`, text),
          includeUsage: plan.includeUsage,
          signal: scope.signal,
          stallMs: services.settings.stallTimeout * 1000,
          keepAliveMs: services.settings.keepAlive * 1000,
          explain,
          cancel: () => scope.abort(),
          done: () => scope.end(),
        },
        outgoing,
      )
      return RESPONSE_ALREADY_SENT
    } catch (error) {
      const explained = scope.explain((other) => (other instanceof ApiError ? other : errors.internal(other)))(error)
      scope.abort()
      await events?.return?.().catch(() => undefined)
      scope.end()
      services.metrics.request('chat', modelName, explained?.status ?? 499)
      if (explained === undefined) {
        services.metrics.cancelled(modelName)
        // The connection is closed.
        return c.body(null, 499 as 400)
      }
      throw explained
    }
  }
}
