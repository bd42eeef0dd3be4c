/**
 * Messages between the server and a decoder process.
 *
 * Parent to child: one {@link DecodeJob} at a time over Node's IPC channel. Child to parent: {@link DecoderReply}s over
 * another pipe (file descriptor 4), each as a 4-byte little-endian header length, a JSON header, and `bytes` raw bytes
 * of payload: pixels and samples never pass through JSON or a structured clone.
 */
import type { MediaErrorCode, MediaKind } from '../errors.ts'
import type { AudioLimits, ImageLimits, VideoLimits } from '../limits.ts'
import type { SpooledBytes } from '../fetch/spool.ts'

export type DecodeJob = { readonly id: number; readonly input: SpooledBytes } &
  /** `probe`: headers and packets only, without pixels or samples. */
  (
    | { readonly kind: 'image'; readonly limits: Required<ImageLimits>; readonly probe?: boolean }
    | { readonly kind: 'audio'; readonly limits: Required<AudioLimits>; readonly probe?: boolean }
    | { readonly kind: 'video'; readonly limits: Required<VideoLimits>; readonly probe?: boolean }
  )

export interface ImageHeader {
  readonly type: 'image'
  readonly width: number
  readonly height: number
  /** Stored size with the orientation applied, before scaling. */
  readonly sourceWidth: number
  readonly sourceHeight: number
  readonly format: string
}

export interface FrameHeader {
  readonly type: 'frame'
  readonly width: number
  readonly height: number
  /** Seconds from the video's start. */
  readonly timestamp: number
}

export interface PcmHeader {
  /** The payload is little-endian 32-bit floats, 16 kHz mono, which follow those of the previous reply. */
  readonly type: 'pcm'
}

/** The last reply: facts of the whole file. */
export interface DoneHeader {
  readonly type: 'done'
  readonly warnings: readonly string[]
  readonly video?: VideoFacts
  /** Only of a probe: the number and the size of the frames that decoding will deliver. */
  readonly frames?: { readonly count: number; readonly width: number; readonly height: number }
  /** Only of a probe: duration of the audio, 0 if there is none. */
  readonly audioSeconds?: number
}

export interface VideoFacts {
  readonly durationSeconds: number
  /** Stored size with rotation applied, but not the pixel aspect. */
  readonly width: number
  readonly height: number
  readonly sourceFrameCount: number
  readonly sourceFps: number
  readonly sampledFps: number
  readonly hasAudio: boolean
  readonly codec: string
}

export interface ErrorHeader {
  readonly type: 'error'
  readonly code: MediaErrorCode
  readonly message: string
  readonly kind: MediaKind
  readonly detail?: string
}

export type ReplyHeader = (ImageHeader | FrameHeader | PcmHeader | DoneHeader | ErrorHeader) & {
  /** The job's id. */
  readonly id: number
  /** Payload length. */
  readonly bytes: number
}

export interface DecoderReply {
  readonly header: ReplyHeader
  readonly payload: Uint8Array
}

/** Index of the reply pipe among the child's file descriptors. */
export const replyFd = 4

/** Longest JSON header, bytes; a child that sends more is faulty. */
const maxHeaderBytes = 64 * 1024

/** The length prefix and the header, as bytes. */
export function encodeHeader(header: ReplyHeader): Buffer {
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.length)
  return Buffer.concat([length, json])
}

/**
 * Splits the reply pipe's bytes into replies. Each payload byte is copied once.
 *
 * @throws RangeError on a header or payload longer than allowed: the child is faulty
 */
export class DecoderOutput {
  readonly #maxPayloadBytes: number
  #prefix: Buffer = Buffer.alloc(0)
  #header: ReplyHeader | undefined
  #payload = new Uint8Array(0)
  #filled = 0

  constructor(maxPayloadBytes: number) {
    this.#maxPayloadBytes = maxPayloadBytes
  }

  *push(chunk: Buffer): Generator<DecoderReply> {
    let rest = chunk
    for (;;) {
      if (this.#header === undefined) {
        this.#prefix = this.#prefix.length === 0 ? rest : Buffer.concat([this.#prefix, rest])
        if (this.#prefix.length < 4) return
        const length = this.#prefix.readUInt32LE(0)
        if (length > maxHeaderBytes) throw new RangeError('the header of a decoder reply is too long')
        if (this.#prefix.length < 4 + length) return
        const header = JSON.parse(this.#prefix.toString('utf8', 4, 4 + length)) as ReplyHeader
        if (!(header.bytes >= 0 && header.bytes <= this.#maxPayloadBytes)) {
          throw new RangeError('the payload of a decoder reply is too long')
        }
        rest = this.#prefix.subarray(4 + length)
        this.#prefix = Buffer.alloc(0)
        this.#header = header
        this.#payload = new Uint8Array(header.bytes)
        this.#filled = 0
      }
      const count = Math.min(rest.length, this.#payload.length - this.#filled)
      this.#payload.set(rest.subarray(0, count), this.#filled)
      this.#filled += count
      rest = rest.subarray(count)
      if (this.#filled < this.#payload.length) return
      const reply = { header: this.#header, payload: this.#payload }
      this.#header = undefined
      this.#payload = new Uint8Array(0)
      yield reply
      if (rest.length === 0) return
    }
  }
}
