/**
 * The main loop of an engine process: loads one model, and handles the server's messages until it is closed.
 *
 * In: {@link ToProcess} messages. Out: {@link FromProcess} messages. Credit limits how far a request runs ahead of its
 * reader. The process ends when the server has ended.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { EngineError, type GenerationRequest } from '../../contract/index.ts'
import type { OpenAudio } from '../../runtime/arriving-audios.ts'
import type { RequestMetrics } from '../../runtime/request-metrics.ts'
import type { Runtime } from '../../runtime/runtime.ts'
import { toErrorMessage } from './error-messages.ts'
import type { FromProcess, LoadedModel, LoadOptions, PackedRequest, ToProcess } from './messages.ts'
import { unpackMessages } from './request-packing.ts'
import { RequestedMedia } from './requested-media.ts'

/** A loaded model with its runtime. */
export interface HostedModel extends LoadedModel {
  readonly runtime: Runtime
  nativeBytes(): number
  /** Releases all native memory. Call it after the runtime has closed. */
  dispose(): void
}

export type HostedModelLoader = (
  options: LoadOptions,
  onMetrics: (metrics: RequestMetrics) => void,
) => Promise<HostedModel>

interface HostedRequest {
  readonly abort: AbortController
  readonly media: RequestedMedia
  /** Set for an arriving audio. */
  readonly audio?: OpenAudio | undefined
  credit: number
  /** Resumes a request that waits for credit. */
  resume: (() => void) | undefined
}

const statusIntervalMs = 1000

/** Serves over this process's IPC channel. Call it once, from the entry point. */
export function hostEngine(load: HostedModelLoader): void {
  const live = new Map<number, HostedRequest>()
  let model: HostedModel | undefined
  let closing = false
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()

  const sendStatus = (): void => {
    const longestStallMs = Math.max(0, delay.max / 1e6 - 20)
    delay.reset()
    send({
      type: 'status',
      status: {
        active: model?.runtime.load.active ?? 0,
        waiting: model?.runtime.load.waiting ?? 0,
        nativeBytes: model?.nativeBytes() ?? 0,
        residentBytes: process.memoryUsage.rss(),
        longestStallMs: Number.isFinite(longestStallMs) ? longestStallMs : 0,
      },
    })
  }
  const timer = setInterval(sendStatus, statusIntervalMs)

  async function close(): Promise<void> {
    if (closing) return
    closing = true
    clearInterval(timer)
    try {
      await model?.runtime.close()
      model?.dispose()
    } finally {
      process.disconnect?.()
      process.exit(0)
    }
  }

  function unpack({ media }: HostedRequest, packed: PackedRequest): GenerationRequest {
    return {
      ...packed.request,
      messages: unpackMessages(packed.messages, (handle) => media.open(handle)),
      ...(packed.speaker !== undefined && { speech: { voice: packed.speaker } }),
    }
  }

  function open(number: number, credit: number): HostedRequest {
    const media = new RequestedMedia((index) => send({ type: 'medium-request', exchange: number, index }))
    const exchange: HostedRequest = { abort: new AbortController(), media, credit, resume: undefined }
    live.set(number, exchange)
    return exchange
  }

  function loaded(): HostedModel {
    if (!model) throw new EngineError('engine_closed', 'The model is not loaded yet.')
    return model
  }

  async function generate(number: number, packed: PackedRequest, credit: number): Promise<void> {
    const exchange = open(number, credit)
    try {
      const request = unpack(exchange, packed)
      for await (const event of loaded().runtime.generate(request, exchange.abort.signal)) {
        send({ type: 'event', exchange: number, event })
        exchange.credit -= 1
        while (exchange.credit <= 0 && !exchange.abort.signal.aborted)
          await new Promise<void>((resolve) => (exchange.resume = resolve))
        if (exchange.abort.signal.aborted) break
      }
      send({ type: 'done', exchange: number })
    } catch (error) {
      send({ type: 'error', exchange: number, error: toErrorMessage(error) })
    } finally {
      live.delete(number)
    }
  }

  async function count(number: number, packed: PackedRequest): Promise<void> {
    const exchange = open(number, 0)
    try {
      const usage = await loaded().runtime.countPrompt(unpack(exchange, packed), exchange.abort.signal)
      send({ type: 'counted', exchange: number, usage })
    } catch (error) {
      send({ type: 'error', exchange: number, error: toErrorMessage(error) })
    } finally {
      live.delete(number)
    }
  }

  function openAudio(number: number, packed: PackedRequest, prefills: boolean): void {
    const exchange = open(number, 0)
    try {
      const audio = loaded().runtime.openAudio(unpack(exchange, packed), { prefills })
      live.set(number, { ...exchange, audio })
    } catch {
      // The request that contains the audio reports the error.
      live.delete(number)
    }
  }

  function dropAudio(number: number): void {
    const exchange = live.get(number)
    live.delete(number)
    exchange?.audio?.[Symbol.dispose]()
    exchange?.media.close(new DOMException('The audio is no longer needed.', 'AbortError'))
  }

  async function start(options: LoadOptions): Promise<void> {
    try {
      model = await load(options, (metrics) => send({ type: 'metrics', metrics }))
      const { placement, speakers } = model
      send({ type: 'loaded', loaded: { model: model.model, speakers, ...(placement && { placement }) } })
    } catch (error) {
      send({ type: 'failed', error: toErrorMessage(error) })
    }
  }

  process.on('message', (message: ToProcess) => {
    switch (message.type) {
      case 'load':
        void start(message.options)
        break
      case 'slice':
        live.get(message.exchange)?.media.slice(message.index, message.bytes)
        break
      case 'medium':
        live.get(message.exchange)?.media.arrive(message.index, message.content)
        break
      case 'generate':
        void generate(message.exchange, message.request, message.credit)
        break
      case 'count':
        void count(message.exchange, message.request)
        break
      case 'audio-open':
        openAudio(message.exchange, message.request, message.prefills)
        break
      case 'audio-append':
        live.get(message.exchange)?.audio?.append(message.samples)
        break
      case 'audio-may-end':
        live.get(message.exchange)?.audio?.mayEnd(message.silence, message.contentKey)
        break
      case 'audio-complete':
        live.get(message.exchange)?.audio?.complete(message.contentKey)
        break
      case 'audio-drop':
        dropAudio(message.exchange)
        break
      case 'credit': {
        const exchange = live.get(message.exchange)
        if (!exchange) break
        exchange.credit += message.events
        exchange.resume?.()
        exchange.resume = undefined
        break
      }
      case 'abort': {
        const exchange = live.get(message.exchange)
        const reason = new DOMException('The request was aborted.', 'AbortError')
        exchange?.abort.abort(reason)
        exchange?.media.close(reason)
        exchange?.resume?.()
        break
      }
      case 'status':
        sendStatus()
        break
      case 'close':
        void close()
        break
      default:
        message satisfies never
    }
  })
  // Ctrl-C and service managers signal the whole process group. The server ends this process after its replies.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)
  // The server has ended.
  process.on('disconnect', () => void close())
}

function send(message: FromProcess): void {
  if (process.connected) process.send?.(message, () => undefined)
}
