/** `GET /api-ws/v1/realtime` and `GET /v1/realtime`: WebSocket sessions. Reference: docs/realtime.md. */
import type { Context } from 'hono'
import { errors } from '../../protocol/index.ts'
import {
  type ConnectionLimits,
  DashScopeDialect,
  type Dialect,
  loadVoiceModel,
  OpenAiDialect,
  runConnection,
  type SessionModel,
} from '../../realtime/index.ts'
import { type RealtimeTarget, realtimeTarget } from '../realtime/realtime-model.ts'
import { openAudio, openSessionImage, type SessionCaller, startReply, transcribe } from '../realtime/session-replies.ts'
import type { AppEnv, Services } from '../services.ts'

const PING_MS = 30_000
/** Most images of one turn. A camera at one frame per second sends more. */
const TURN_IMAGES = 8

export function realtime(services: Services, wire: 'dashscope' | 'openai') {
  let open = 0
  return async (c: Context<AppEnv>): Promise<Response> => {
    const { upgrade } = c.env
    if (upgrade === undefined) throw errors.upgradeRequired(c.req.path)
    if (services.shutdown.stopping) throw errors.unavailable('The server is stopping.')
    const target = realtimeTarget(services, c.req.query('model'), wire === 'openai')
    const voice = await loadVoiceModel()
    const full = (): boolean => open >= services.settings.realtimeSessions
    if (full())
      throw errors.overloaded(`${open} realtime sessions are open, which is as many as --realtime-sessions allows.`)
    const beta = (c.req.header('openai-beta') ?? '').includes('realtime=v1')
    const { requestId, caller } = c.var
    const log = services.log.child({ requestId, caller, model: target.name })
    upgrade.accept((socket) => {
      // Of handshakes at the same time, all found a free session.
      if (full()) {
        socket.on('error', () => socket.terminate())
        socket.close(1013, 'As many realtime sessions are open as --realtime-sessions allows.')
        return
      }
      open += 1
      services.metrics.realtimeSession(1)
      const began = performance.now()
      const running = services.shutdown.enter()
      const session: SessionCaller = { caller, target }
      log.info('realtime session opened')
      void runConnection(socket, {
        dialect: dialectOf(services, wire, beta, target),
        limits: limitsOf(services, target),
        stopping: services.shutdown.begun,
        signal: services.shutdown.signal,
        ports: {
          now: () => performance.now(),
          reply: (request, signal) => startReply(services, session, request, signal),
          openAudio: (request, options, signal) => openAudio(services, session, request, options, signal),
          transcribe: (request, signal) => transcribe(services, session, request, signal),
          openImage: (source, signal) => openSessionImage(services, session, source, signal),
          speechStream: () => voice.stream(),
          log: (text) => log.info(text),
        },
      }).finally(() => {
        open -= 1
        services.metrics.realtimeSession(-1)
        running[Symbol.dispose]()
        log.info({ seconds: (performance.now() - began) / 1000 }, 'realtime session closed')
      })
    })
    return c.body(null, 204)
  }
}

function dialectOf(services: Services, wire: 'dashscope' | 'openai', beta: boolean, target: RealtimeTarget): Dialect {
  const { model } = target.bound
  const facts: SessionModel = {
    name: target.name,
    voices: target.chat.voices,
    defaultVoice: target.defaultVoice,
    checkpoint: model.id,
    tools: model.capabilities.tools,
    speaks: model.output.includes('audio'),
    images: model.input.includes('image'),
  }
  if (wire === 'dashscope') return new DashScopeDialect({ model: facts })
  if (beta) return new DashScopeDialect({ model: facts, beta: true })
  return new OpenAiDialect(facts, Math.floor(services.now() / 1000) + services.settings.realtimeSessionLimit)
}

function limitsOf({ settings }: Services, { chat, turns, bound }: RealtimeTarget): ConnectionLimits {
  return {
    turns: Math.min(turns, bound.model.historyTurns ?? turns),
    spokenTurns: bound.model.spokenHistoryTurns ?? turns,
    historyAudio: bound.model.historyAudio ?? 'audio',
    turnSeconds: Math.min(chat.rules.media.audio.maxSeconds, 300),
    turnImages: TURN_IMAGES,
    sessionMs: settings.realtimeSessionLimit * 1000,
    idleMs: settings.realtimeIdle * 1000,
    pingMs: PING_MS,
    stallMs: settings.stallTimeout * 1000,
  }
}
