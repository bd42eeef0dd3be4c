/**
 * A prompt's tokens by the API model's rules: the chat template's text, and each part of media.
 *
 * In: messages whose media are reduced to sizes and durations. Out: billed tokens by modality. The loaded checkpoint's
 * own count for the same prompt can differ and comes from the engine.
 * Reference: Qwen's chat template; the Qwen-Omni guide's counts ("你是誰?" is 11 tokens written, 207 spoken).
 */
import type { TokenRules } from '../catalogue/index.ts'
import { audioTokens, frameListTokens, imageTokens, videoTokens } from './media-tokens.ts'
import type { TextCounter } from './text-tokens.ts'

export type CountedPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly width: number; readonly height: number }
  | { readonly type: 'audio'; readonly seconds: number }
  /** A list of images. */
  | { readonly type: 'frames'; readonly width: number; readonly height: number; readonly count: number }
  /** A file; `audioSeconds` is 0 when it has no audio. */
  | {
      readonly type: 'video'
      readonly width: number
      readonly height: number
      readonly totalFrames: number
      readonly framesPerSecond: number
      readonly audioSeconds: number
    }

export type CountedMedia = Exclude<CountedPart, { readonly type: 'text' }>

export interface CountedMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly parts: readonly CountedPart[]
}

export interface PromptTokens {
  readonly text: number
  readonly image: number
  readonly audio: number
  readonly video: number
  readonly total: number
}

/** `<|im_start|>` before, `<|im_end|>` and a line feed after each message. */
const MESSAGE_MARKS = 3

/** `<|im_start|>assistant` and a line feed, after which the reply is generated. */
const REPLY_MARKS = 3

/** Tokens of one part of media. @throws VideoShapeError for videos that cannot be counted */
export function mediaTokens(part: CountedMedia, rules: TokenRules): Pick<PromptTokens, 'image' | 'audio' | 'video'> {
  switch (part.type) {
    case 'image':
      return { image: imageTokens(part.width, part.height, rules), audio: 0, video: 0 }
    case 'audio':
      return { image: 0, audio: audioTokens(part.seconds, rules), video: 0 }
    case 'frames':
      return { image: 0, audio: 0, video: frameListTokens(part.width, part.height, part.count, rules) }
    case 'video':
      return {
        image: 0,
        audio: part.audioSeconds > 0 ? audioTokens(part.audioSeconds, rules) : 0,
        video: videoTokens(part, rules),
      }
    default:
      return part satisfies never
  }
}

/** The same prompt with its media's actual sizes. @throws VideoShapeError for videos that cannot be counted */
export function recountMedia(
  { text }: Pick<PromptTokens, 'text'>,
  messages: readonly CountedMessage[],
  rules: TokenRules,
): PromptTokens {
  let [image, audio, video] = [0, 0, 0]
  for (const { parts } of messages)
    for (const part of parts) {
      if (part.type === 'text') continue
      const media = mediaTokens(part, rules)
      image += media.image
      audio += media.audio
      video += media.video
    }
  return { text, image, audio, video, total: text + image + audio + video }
}

/**
 * Counts a whole prompt. Stops early once the text alone is over `limit`.
 * @throws VideoShapeError for videos that cannot be counted; the signal's reason once aborted.
 */
export async function promptTokens(
  messages: readonly CountedMessage[],
  rules: TokenRules,
  counter: TextCounter,
  limit: number,
  signal?: AbortSignal,
): Promise<PromptTokens> {
  let text = REPLY_MARKS
  let image = 0
  let audio = 0
  let video = 0
  for (const message of messages) {
    text += MESSAGE_MARKS
    // Neighbouring texts are one text to the tokenizer; the role and its line feed open the first.
    let run = `${message.role}\n`
    for (const part of message.parts) {
      if (part.type === 'text') {
        run += part.text
        continue
      }
      text += await counter.count(run, limit, signal)
      run = ''
      const media = mediaTokens(part, rules)
      image += media.image
      audio += media.audio
      video += media.video
    }
    text += await counter.count(run, limit, signal)
    if (text > limit) break
  }
  return { text, image, audio, video, total: text + image + audio + video }
}
