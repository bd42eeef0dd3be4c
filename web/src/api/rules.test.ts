import { describe, expect, it } from 'vitest'
import { listing } from './listing.fixture.ts'
import type { Media } from '../state/conversation.ts'
import { DEFAULT_SETTINGS } from '../state/settings.ts'
import {
  attachReason,
  mediaReason,
  modelReason,
  rawByteLimit,
  speaks,
  speechReason,
  systemReason,
  thinkingReason,
  thinks,
} from './rules.ts'

const flash = listing('qwen3-omni-flash')
const turbo = listing('qwen-omni-turbo')
const media = (kind: Media['kind'], more: Partial<Media> = {}): Media => ({
  id: kind,
  kind,
  name: kind,
  source: { type: 'blob', blob: new Blob(['x']) },
  ...more,
})

describe('rules', () => {
  it('lets thinking exclude speech, and turbo exclude thinking and the system message', () => {
    const thinking = { ...DEFAULT_SETTINGS, thinking: true }
    expect(speechReason(flash, DEFAULT_SETTINGS)).toBeUndefined()
    expect(speechReason(flash, thinking)).toEqual({ key: 'thinkingNoSpeech' })
    expect([thinks(flash, thinking), speaks(flash, thinking)]).toEqual([true, false])
    expect(thinkingReason(turbo)).toMatchObject({ key: 'modelNoThinking' })
    expect([thinks(turbo, thinking), speaks(turbo, thinking)]).toEqual([false, true])
    expect(systemReason(turbo, DEFAULT_SETTINGS)).toEqual({ key: 'turboSystem' })
    expect(systemReason(turbo, { ...DEFAULT_SETTINGS, speech: false })).toBeUndefined()
    expect(systemReason(flash, DEFAULT_SETTINGS)).toBeUndefined()
  })

  it('names the checkpoint that cannot do what the model could', () => {
    const served = flash.served_by
    if (served === null) throw new Error('the fixture is served')
    const poor = {
      ...flash,
      served_by: {
        ...served,
        thinking: false,
        output_modalities: ['text' as const],
        input_modalities: ['text' as const],
      },
    }
    expect(thinkingReason(poor)).toEqual({ key: 'checkpointNoThinking', values: { checkpoint: 'nano' } })
    expect(speechReason(poor, DEFAULT_SETTINGS)).toEqual({ key: 'checkpointNoSpeech', values: { checkpoint: 'nano' } })
    expect(attachReason(poor, 'image', [])).toMatchObject({ key: 'checkpointNoInput' })
    expect(modelReason({ ...flash, served_by: null })).toMatchObject({ key: 'notServed' })
  })

  it('allows one kind of media in a message: many images, one audio, one video', () => {
    expect(attachReason(flash, 'image', [media('image'), media('image')])).toBeUndefined()
    expect(attachReason(flash, 'audio', [media('image')])).toEqual({ key: 'oneModality' })
    expect(attachReason(flash, 'audio', [media('audio')])).toEqual({ key: 'oneAudio' })
    expect(attachReason(flash, 'frames', [media('video')])).toEqual({ key: 'oneVideo' })
  })

  it('checks files against the limits the server lists', () => {
    expect(rawByteLimit(flash)).toBe(Math.floor(((10_485_760 - 64) / 4) * 3))
    const big = { type: 'blob' as const, blob: { size: rawByteLimit(flash) + 1 } as Blob }
    expect(mediaReason(flash, media('image', { source: big }))).toMatchObject({ key: 'tooManyBytes' })
    expect(
      mediaReason(flash, media('image', { source: { type: 'url', url: 'https://example.com/a.png' } })),
    ).toBeUndefined()
    expect(mediaReason(flash, media('image', { width: 10, height: 400 }))).toMatchObject({ key: 'imageSmall' })
    expect(mediaReason(flash, media('image', { width: 11, height: 2201 }))).toMatchObject({ key: 'imageNarrow' })
    expect(mediaReason(flash, media('image', { width: 11, height: 2200 }))).toBeUndefined()
    expect(mediaReason(flash, media('audio', { duration: 1200 }))).toBeUndefined()
    expect(mediaReason(turbo, media('audio', { duration: 181 }))).toMatchObject({ key: 'tooLong' })
    const frames = (count: number): Media =>
      media('frames', { source: { type: 'frames', frames: Array.from({ length: count }, () => new Blob()), fps: 2 } })
    expect([1, 2, 128, 129].map((count) => mediaReason(flash, frames(count))?.key)).toEqual([
      'frameCount',
      undefined,
      undefined,
      'frameCount',
    ])
    expect(mediaReason(turbo, frames(3))).toMatchObject({ key: 'frameCount', values: { min: 4, max: 80 } })
  })
})
