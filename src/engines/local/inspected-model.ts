/**
 * A checkpoint loaded in this process for verification: replies with their token ids and codes, audio decoded in one
 * piece, and the most probable token at each position of a given reply.
 *
 * In: {@link LoadOptions}. Out: an {@link InspectedModel}. It computes exactly as the engine process does.
 */

import { joinPcm } from '../../arithmetic/pcm.ts'
import type { EndReason, EngineModel, GenerationMessage, GenerationRequest } from '../../contract/index.ts'
import { loadHostedModel } from './load-model.ts'
import type { LoadOptions } from './messages.ts'

export interface InspectedReply {
  readonly text: string
  readonly reasoning: string
  readonly reason: EndReason
  /** Token ids of the thinker, including reasoning and the end token. */
  readonly tokens: readonly number[]
  /** Codes of all frames, [frames, groups]. */
  readonly codes: Int32Array
  /** 24 kHz mono. */
  readonly pcm: Int16Array
}

export interface InspectedModel extends AsyncDisposable {
  readonly model: Omit<EngineModel, 'voices'>
  /** Lower-case names; empty without speech. */
  readonly speakers: readonly string[]
  readonly library: { readonly packageName: string; readonly version: string }
  /** Generates a reply. `request.speech.voice`: one of {@link speakers}. Throws as `Engine.generate` does. */
  reply(request: GenerationRequest, signal: AbortSignal): Promise<InspectedReply>
  /**
   * Decodes a reply's codes in one piece. The concatenated streamed audio must equal it. Samples in [-1, 1].
   */
  decodeInOnePiece(codes: Int32Array, speaker: string, seed: number, signal: AbortSignal): Promise<Float32Array>
  /**
   * The most probable token id at each position of a reply, given the prompt and the preceding tokens. Text messages
   * only.
   */
  likeliestTokens(
    messages: readonly GenerationMessage[],
    reply: readonly number[],
    signal: AbortSignal,
  ): Promise<Int32Array>
}

/** Loads a checkpoint in this process. @throws EngineError `bad_checkpoint`, `unsupported` */
export async function inspectModel(options: LoadOptions): Promise<InspectedModel> {
  const tokens = new Map<string, number[]>()
  const codes = new Map<string, number[]>()
  const hosted = await loadHostedModel(options, () => undefined, {
    token: (request, id) => void tokens.get(request)?.push(id),
    frame: (request, frame) => void codes.get(request)?.push(...frame),
  })
  const { backend, model, prompt, build } = hosted.parts
  const { packageName, version } = backend.library
  return {
    model: hosted.model,
    speakers: hosted.speakers,
    library: { packageName, version },

    async reply(request, signal) {
      tokens.set(request.id, [])
      codes.set(request.id, [])
      let [text, reasoning, reason] = ['', '', 'stop' as EndReason]
      const pieces: Int16Array[] = []
      try {
        for await (const event of hosted.runtime.generate(request, signal)) {
          switch (event.type) {
            case 'start':
            case 'tool-call-delta':
              break
            case 'text-delta':
              text += event.text
              break
            case 'reasoning-delta':
              reasoning += event.text
              break
            case 'audio-delta':
              pieces.push(event.pcm)
              break
            case 'end':
              reason = event.reason
              break
            default:
              event satisfies never
          }
        }
        const spoken = Int32Array.from(codes.get(request.id) ?? [])
        return { text, reasoning, reason, tokens: tokens.get(request.id) ?? [], codes: spoken, pcm: joinPcm(pieces) }
      } finally {
        tokens.delete(request.id)
        codes.delete(request.id)
      }
    },

    async decodeInOnePiece(spoken, speaker, seed, signal) {
      using whole = build({ onePiece: true })
      if (!whole.speech) throw new Error('this checkpoint has no speech output')
      // The vocoder depends on the speaker and the seed of a reply, not on its prompt.
      const prepared = await prompt.prepare([{ role: 'user', content: [{ type: 'text', text: '.' }] }], {
        speech: true,
      })
      using reply = whole.speech.newReply({ prompt: prepared, speaker, seed })
      const first = await reply.vocoder.push(spoken, { signal })
      const rest = await reply.vocoder.finish({ signal })
      const samples = new Float32Array(first.length + rest.length)
      samples.set(first)
      samples.set(rest, first.length)
      return samples
    },

    async likeliestTokens(messages, reply, signal) {
      if (reply.length === 0) return new Int32Array()
      const { tokenIds, positions, nextPosition } = await prompt.prepare(messages, { signal })
      const { thinker } = model
      const before = tokenIds.length - 1
      const axes = [0, 1, 2].map((axis) => positions.subarray(axis * (before + 1), (axis + 1) * (before + 1)))
      using sequence = thinker.newSequence(tokenIds.length + reply.length)
      const head = {
        sequence,
        tokenIds: tokenIds.subarray(0, before),
        positions: Float32Array.from(axes.flatMap((axis) => [...axis.subarray(0, before)])),
        logits: 'none',
        hidden: false,
      } as const
      await thinker.forward([head], signal)
      const later = Array.from({ length: reply.length - 1 }, (_, i) => nextPosition + i)
      const tail = {
        sequence,
        tokenIds: Int32Array.from([tokenIds[before] ?? 0, ...reply.slice(0, -1)]),
        positions: Float32Array.from(axes.flatMap((axis) => [axis[before] ?? 0, ...later])),
        logits: 'all',
        hidden: false,
      } as const
      const [output] = await thinker.forward([tail], signal)
      const logits = output?.logits ?? new Float32Array()
      return Int32Array.from(reply, (_, row) =>
        highest(logits.subarray(row * thinker.vocabSize, (row + 1) * thinker.vocabSize)),
      )
    },

    async [Symbol.asyncDispose]() {
      await hosted.runtime.close()
      hosted.dispose()
    },
  }
}

function highest(values: Float32Array): number {
  let best = 0
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i
  return best
}
