/**
 * Prompts a loaded checkpoint with text, drawn images and its own speech, and returns its replies. Text is generated
 * greedily, speech with a fixed seed.
 */
import { randomUUID } from 'node:crypto'
import sharp from 'sharp'
import type { GenerationPart, GenerationRequest } from '../../contract/index.ts'
import type { InspectedModel, InspectedReply } from '../../engines/local/inspected-model.ts'
import { encodeWav, type MediaLoader, SPEECH_RATE } from '../../media/index.ts'
import { lettering } from './lettering.ts'
import type { Drawing } from './tasks.ts'

export const SEED = 1

/** Most answer tokens; a sum with all its steps needs the most. */
const ANSWER_TOKENS = 200
/** Most reasoning tokens in addition, for checkpoints that always reason. */
const REASONING_TOKENS = 4096

export class Examiner {
  readonly model: InspectedModel
  readonly #media: MediaLoader
  readonly #signal: AbortSignal

  constructor(model: InspectedModel, media: MediaLoader, signal: AbortSignal) {
    this.model = model
    this.#media = media
    this.#signal = signal
  }

  ask(text: string): Promise<InspectedReply> {
    return this.#reply([{ type: 'text', text }])
  }

  async askAboutDrawing(drawing: Drawing): Promise<InspectedReply> {
    const svg = lettering({ ...drawing, text: drawing.shown })
    const png = await sharp(Buffer.from(svg)).png().toBuffer()
    const source = `data:image/png;base64,${png.toString('base64')}`
    const image = await this.#media.image(source, {}, this.#signal)
    return this.#reply([
      { type: 'image', image },
      { type: 'text', text: drawing.question },
    ])
  }

  /** @param speaker of the checkpoint */
  speak(text: string, speaker: string): Promise<InspectedReply> {
    return this.#reply([{ type: 'text', text }], speaker)
  }

  /** @param samples 24 kHz mono */
  async askAboutAudio(samples: Int16Array | Float32Array, text: string): Promise<InspectedReply> {
    const wav = Buffer.from(encodeWav(samples, SPEECH_RATE))
    const audio = await this.#media.audio(`data:;base64,${wav.toString('base64')}`, {}, this.#signal)
    return this.#reply([
      { type: 'audio', audio },
      { type: 'text', text },
    ])
  }

  decodeInOnePiece(codes: Int32Array, speaker: string): Promise<Float32Array> {
    return this.model.decodeInOnePiece(codes, speaker, SEED, this.#signal)
  }

  /** Number of a reply's tokens that this checkpoint also finds the most probable at their position. */
  async countAgreeing(text: string, reply: readonly number[]): Promise<number> {
    const messages = [{ role: 'user', content: [{ type: 'text', text }] }] as const
    const mostProbable = await this.model.likeliestTokens(messages, reply, this.#signal)
    return reply.filter((id, i) => id === mostProbable[i]).length
  }

  #reply(content: readonly GenerationPart[], speaker?: string): Promise<InspectedReply> {
    const request: GenerationRequest = {
      id: randomUUID(),
      model: this.model.model.id,
      messages: [{ role: 'user', content }],
      sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: SEED },
      maxTokens: ANSWER_TOKENS,
      maxTotalTokens: ANSWER_TOKENS + REASONING_TOKENS,
      stop: [],
      ...(speaker !== undefined && { speech: { voice: speaker } }),
    }
    return this.model.reply(request, this.#signal)
  }
}
