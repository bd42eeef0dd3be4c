/** Converts items created by clients into conversation items: opens images, and resamples audio to 16 kHz. */
import type { InputPart, Item, SessionImage } from './conversation.ts'
import { SAMPLE_RATE } from './audio-buffer.ts'
import type { ClientItem, ClientPart } from './events.ts'
import { pcmMedium } from './pcm-medium.ts'
import { createResampler } from './resample.ts'

export interface ItemMaker {
  readonly openImage: (source: string) => Promise<SessionImage>
  /** Sample rate of the client's audio, hertz. */
  readonly inputRate: number
}

/** Converts an item. Rejects as `openImage` does, after the release of images opened so far. */
export async function makeItem(given: ClientItem, id: string, maker: ItemMaker): Promise<Item> {
  switch (given.type) {
    case 'input':
      return { id, type: 'input', role: given.role, parts: await makeParts(given.parts, maker) }
    case 'reply':
      return { id, type: 'reply', text: given.text, spoken: false, status: 'completed' }
    case 'call': {
      const { callId, name } = given
      return { id, type: 'call', callId, name, arguments: given.arguments, status: 'completed' }
    }
    case 'call-output':
      return { id, type: 'call-output', callId: given.callId, output: given.output }
    default:
      return given satisfies never
  }
}

async function makeParts(given: readonly ClientPart[], { openImage, inputRate }: ItemMaker): Promise<InputPart[]> {
  const parts: InputPart[] = []
  try {
    for (const part of given) {
      if (part.type === 'text') parts.push(part)
      else if (part.type === 'image') parts.push({ type: 'image', image: await openImage(part.source) })
      else
        parts.push({
          type: 'audio',
          audio: pcmMedium(whole(part.samples, inputRate), SAMPLE_RATE),
          transcript: undefined,
        })
    }
  } catch (error) {
    for (const part of parts) if (part.type === 'image') void part.image[Symbol.asyncDispose]()
    throw error
  }
  return parts
}

/** A complete recording at 16 kHz, including the samples that the resampler buffers. */
function whole(samples: Float32Array, rate: number): Float32Array {
  const resampler = createResampler(rate, SAMPLE_RATE)
  const begin = resampler.push(samples)
  const end = resampler.push(new Float32Array(Math.ceil(rate / 50)))
  const out = new Float32Array(begin.length + end.length)
  out.set(begin)
  out.set(end, begin.length)
  return out
}
