/** A dialect: converts client JSON to commands, and session events to server JSON. */
import type { SessionConfig } from '../config.ts'
import type { SessionCommand, SessionEvent } from '../events.ts'

/** A session's model. */
export interface SessionModel {
  /** The name that the client requested. */
  readonly name: string
  readonly voices: readonly string[]
  readonly defaultVoice: string
  /** Name of the loaded checkpoint. */
  readonly checkpoint: string
  readonly tools: boolean
  readonly speaks: boolean
  readonly images: boolean
}

export interface SessionNames {
  readonly sessionId: string
  readonly conversationId: string
}

export type ServerEvent = { readonly type: string } & Readonly<Record<string, unknown>>

export interface Dialect {
  readonly initial: SessionConfig
  newId(kind: 'session' | 'conversation' | 'item' | 'response' | 'call' | 'event'): string
  /** @throws SessionFault for an event that is unknown or malformed. `config` is the session's current one. */
  read(event: Readonly<Record<string, unknown>>, config: SessionConfig): SessionCommand
  /** Paths of keys without an effect in an event that `read` accepts. */
  ignored(event: Readonly<Record<string, unknown>>): readonly string[]
  /** Events to send, in order, without their `event_id`. */
  write(event: SessionEvent, names: SessionNames): readonly ServerEvent[]
}

/** `count` random characters of [A-Za-z0-9]. */
export function randomLetters(count: number): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
  const bytes = crypto.getRandomValues(new Uint8Array(count))
  return Array.from(bytes, (byte) => alphabet[byte % alphabet.length]).join('')
}

/** 16-bit little-endian PCM to samples in [-1, 1]. A last odd byte is ignored. */
export function samplesOf(bytes: Buffer): Float32Array {
  const out = new Float32Array(bytes.length >> 1)
  for (let i = 0; i < out.length; i += 1) out[i] = bytes.readInt16LE(i * 2) / 32_768
  return out
}

/** Base64 of 16-bit little-endian samples. */
export function base64Of(pcm: Int16Array): string {
  return Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength).toString('base64')
}
