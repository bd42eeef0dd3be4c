/**
 * The decoder process: receives one job at a time from its parent, decodes, and sends pixels and samples back.
 *
 * A second thread watches the process's resident memory, because a library may block the main thread. Above the limit
 * the process kills itself and the parent reports `decode_memory`.
 *
 * In, out: see `messages.ts`. Every error becomes an `error` reply, so that the process can be used again.
 */
import { once } from 'node:events'
import { Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { illegalCode, MediaError } from '../errors.ts'
import { resourceError } from '../fetch/resources.ts'
import { missingFfmpeg } from '../ffmpeg-build.ts'
import { type DecodeJob, encodeHeader, type ReplyHeader, replyFd } from './messages.ts'

/** Sends one reply. Resolves when the pipe has room again, so that a slow parent slows the decoder. */
export type Send = (header: DistributiveOmit<ReplyHeader, 'id' | 'bytes'>, payload?: Uint8Array) => Promise<void>
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

const replies = new Socket({ fd: replyFd, readable: false, writable: true })
replies.on('error', () => process.exit(0)) // the parent has ended
process.on('disconnect', () => process.exit(0))

function sender(id: number): Send {
  return async (header, payload) => {
    replies.write(encodeHeader({ ...header, id, bytes: payload?.length ?? 0 }))
    if (payload !== undefined && payload.length > 0 && !replies.write(payload)) await once(replies, 'drain')
  }
}

async function decode(job: DecodeJob, send: Send): Promise<void> {
  switch (job.kind) {
    case 'image': {
      const { decodeImage } = await import('../image/decode.ts')
      return decodeImage(job.input, job.limits, send, job.probe)
    }
    case 'audio': {
      if (job.probe) return (await import('../audio/probe.ts')).probeAudio(job.input, job.limits, send)
      const { decodeAudio } = await import('../audio/decode.ts')
      return decodeAudio(job.input, job.limits, send)
    }
    case 'video': {
      if (job.probe) return (await import('../video/probe.ts')).probeVideo(job.input, job.limits, send)
      const { decodeVideo } = await import('../video/decode.ts')
      return decodeVideo(job.input, job.limits, send)
    }
    default:
      return job satisfies never
  }
}

async function serve(job: DecodeJob): Promise<void> {
  const send = sender(job.id)
  try {
    await decode(job, send)
  } catch (error) {
    const { code, message, detail } = asMediaError(missingFfmpeg(error, job.kind) ?? error, job)
    await send({ type: 'error', code, message, kind: job.kind, ...(detail === undefined ? {} : { detail }) })
  }
}

/** An error about the server's own files or memory is `overloaded`: it is not the medium's fault. */
function asMediaError(error: unknown, { kind }: DecodeJob): MediaError {
  if (error instanceof MediaError) return error
  const reason = error instanceof Error ? error.message : String(error)
  const message = `The ${kind} cannot be decoded: ${reason.slice(0, 200)}.`
  return resourceError(error) ?? new MediaError(illegalCode(kind), message, { kind })
}

/** Polls from a second thread, because a library may block the main one. */
function watchMemory(memoryBytes: number): void {
  const source = `
    const { workerData } = require('node:worker_threads')
    setInterval(() => {
      if (process.memoryUsage.rss() > workerData.memoryBytes) process.kill(process.pid, 'SIGKILL')
    }, 20)`
  const watchdog = new Worker(source, {
    eval: true,
    workerData: { memoryBytes },
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
  })
  watchdog.unref()
}

process.on('message', (message: DecodeJob | { memoryBytes: number }) => {
  if ('memoryBytes' in message) watchMemory(message.memoryBytes)
  else void serve(message)
})
