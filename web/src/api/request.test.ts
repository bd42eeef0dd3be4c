import { describe, expect, it } from 'vitest'
import type { Conversation, Media } from '../state/conversation.ts'
import { DEFAULT_SETTINGS, type Settings } from '../state/settings.ts'
import { listing } from './listing.fixture.ts'
import { buildRequest } from './request.ts'

const flash = listing('qwen3-omni-flash')
const settings: Settings = { ...DEFAULT_SETTINGS, voice: 'Cherry' }

function conversation(turns: { text: string; media?: Media[]; reply?: string }[]): Conversation {
  const made: Conversation = { id: 'c', title: '', createdAt: 0, updatedAt: 0, turns: [], media: {} }
  turns.forEach(({ text, media = [], reply }, index) => {
    made.turns.push({ id: `u${index}`, role: 'user', text, mediaIds: media.map((item) => item.id) })
    for (const item of media) made.media[item.id] = item
    if (reply === undefined) return
    const request = buildRequest(made, made.turns.length, flash, settings)
    made.turns.push({
      id: `a${index}`,
      role: 'assistant',
      status: 'done',
      text: reply,
      reasoning: 'secret',
      model: flash.id,
      metrics: {},
      request,
    })
  })
  return made
}

const request = (turns: Parameters<typeof conversation>[0], change: Partial<Settings> = {}, model = flash) => {
  const made = conversation(turns)
  return buildRequest(made, made.turns.length, model, { ...settings, ...change })
}

describe('buildRequest', () => {
  it('sends plain text as a string and nothing that was not chosen', () => {
    expect(request([{ text: '你是谁?' }])).toEqual({
      model: 'qwen3-omni-flash',
      messages: [{ role: 'user', content: '你是谁?' }],
      stream: true,
      stream_options: { include_usage: true },
      modalities: ['text', 'audio'],
      audio: { voice: 'Cherry', format: 'wav' },
    })
  })

  it('puts media before the text, as the guide does, and keeps only the text of replies', () => {
    const image: Media = { id: 'i', kind: 'image', name: 'a.png', source: { type: 'blob', blob: new Blob() } }
    const recording: Media = {
      id: 's',
      kind: 'audio',
      name: 'a.bin',
      source: { type: 'blob', blob: new Blob([], { type: 'audio/mpeg' }) },
    }
    const link: Media = { id: 'l', kind: 'video', name: 'v', source: { type: 'url', url: 'https://example.com/v.mp4' } }
    const frames: Media = {
      id: 'f',
      kind: 'frames',
      name: 'f',
      source: { type: 'frames', frames: [new Blob(), new Blob()], fps: 2 },
    }
    const { messages } = request([
      { text: 'one', media: [image], reply: 'first' },
      { text: '', media: [recording], reply: '' },
      { text: 'three', media: [link], reply: 'third' },
      { text: 'four', media: [frames] },
    ])
    expect(messages).toEqual([
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: 'media:i' } },
          { type: 'text', text: 'one' },
        ],
      },
      { role: 'assistant', content: 'first' },
      { role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'media:s', format: 'mp3' } }] },
      {
        role: 'user',
        content: [
          { type: 'video_url', video_url: { url: 'https://example.com/v.mp4' } },
          { type: 'text', text: 'three' },
        ],
      },
      { role: 'assistant', content: 'third' },
      {
        role: 'user',
        content: [
          { type: 'video', video: ['media:f#0', 'media:f#1'], fps: 2 },
          { type: 'text', text: 'four' },
        ],
      },
    ])
  })

  it('thinks without speech, and leaves the system message out where turbo would ignore it', () => {
    const thinking = request([{ text: 'a' }], { thinking: true, thinkingBudget: 9, system: 'Be brief.' })
    expect(thinking).toMatchObject({ enable_thinking: true, thinking_budget: 9, modalities: ['text'] })
    expect(thinking).not.toHaveProperty('audio')
    expect(thinking.messages[0]).toEqual({ role: 'system', content: 'Be brief.' })
    const turbo = request([{ text: 'a' }], { thinking: true, system: 'Be brief.' }, listing('qwen-omni-turbo'))
    expect(turbo).not.toHaveProperty('enable_thinking')
    expect(turbo.messages).toHaveLength(1)
  })
})
