import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { VOICES } from '../../../catalogue/index.ts'
import type { AudioMedium, GenerationPart, ImageMedium, MediaFile, VideoMedium } from '../../../contract/index.ts'
import { makeRequest } from '../../../contract/testing/requests.ts'
import { mapVoices } from '../../local/voices.ts'
import type { Adapter, PeerOptions } from '../adapter.ts'
import { dashscope } from '../dashscope/adapter.ts'
import { omniserve } from '../omniserve/adapter.ts'
import { sglangOmni } from '../sglang-omni/adapter.ts'
import { vllm } from '../vllm/adapter.ts'
import { vllmOmni } from '../vllm-omni/adapter.ts'

const never = new AbortController().signal
const options: PeerOptions = { model: 'nano', voices: mapVoices(VOICES) }

const file = (mimeType: string, bytes: Uint8Array): MediaFile => ({
  mimeType,
  size: bytes.length,
  bytes: async () => bytes,
})
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const base = { exact: true, contentKey: 'k', release: () => undefined }
const facts = { width: 4, height: 4, sourceWidth: 4, sourceHeight: 4 }

const image: ImageMedium = {
  ...base,
  kind: 'image',
  facts,
  files: [file('image/png', bytes('PNG'))],
  decode: () => Promise.reject(new Error('not decoded')),
}
const audio: AudioMedium = {
  ...base,
  kind: 'audio',
  facts: { sampleRate: 16_000, samples: 16 },
  files: [file('audio/mpeg', bytes('MP3'))],
  decode: () => Promise.reject(new Error('not decoded')),
}

function videoOf(withAudio: boolean): VideoMedium {
  const track = { sampleRate: 16_000, samples: new Float32Array([0, 0.5, -0.5, 1]) }
  return {
    ...base,
    kind: 'video',
    facts: {
      ...facts,
      frames: 2,
      fps: 2,
      seconds: 1,
      source: { frames: 30, fps: 30 },
      ...(withAudio && { audio: { sampleRate: 16_000, samples: 4 } }),
    },
    files: [file('video/mp4', bytes('MP4'))],
    decode: async () => ({ frames: [], timestamps: [], fps: 2, ...(withAudio && { audio: track }) }),
  }
}

const encoded = (format: 'png' | 'jpeg'): Promise<Buffer> =>
  sharp({ create: { width: 16, height: 8, channels: 3, background: { r: 200, g: 30, b: 30 } } })
    [format]()
    .toBuffer()

async function frames(): Promise<VideoMedium> {
  return {
    ...base,
    kind: 'video',
    facts: { ...facts, frames: 2, fps: 0.5, seconds: 4 },
    files: [file('image/jpeg', await encoded('jpeg')), file('image/png', await encoded('png'))],
    decode: () => Promise.reject(new Error('not decoded')),
  }
}

async function body(adapter: Adapter, ...parts: GenerationPart[]): Promise<Record<string, unknown>> {
  const request = makeRequest({
    messages: [{ role: 'user', content: [...parts, { type: 'text', text: 'What is it?' }] }],
  })
  return adapter.build(request, options, undefined, never)
}

function content(sent: Record<string, unknown>): Record<string, unknown>[] {
  const [message] = sent['messages'] as { content: Record<string, unknown>[] }[]
  return message!.content
}

const data = (type: string, text: string): string => `data:${type};base64,${Buffer.from(text).toString('base64')}`

describe('media in requests to peers', () => {
  it.each([vllm, vllmOmni, sglangOmni])('go to $name as data', async (adapter) => {
    const parts = content(
      await body(adapter, { type: 'image', image }, { type: 'audio', audio }, { type: 'video', video: videoOf(false) }),
    )
    expect(parts).toEqual([
      { type: 'image_url', image_url: { url: data('image/png', 'PNG') } },
      { type: 'audio_url', audio_url: { url: data('audio/mpeg', 'MP3') } },
      { type: 'video_url', video_url: { url: data('video/mp4', 'MP4') } },
      { type: 'text', text: 'What is it?' },
    ])
  })

  it('tell vLLM-Omni to hear the track inside a video, when all videos have one', async () => {
    const all = await body(vllmOmni, { type: 'video', video: videoOf(true) })
    expect(all['mm_processor_kwargs']).toEqual({ use_audio_in_video: true })
    expect(content(all)).toHaveLength(2)
    const mixed = await body(
      vllmOmni,
      { type: 'video', video: videoOf(true) },
      { type: 'video', video: videoOf(false) },
    )
    expect(mixed['mm_processor_kwargs']).toBeUndefined()
    expect(content(mixed).map(({ type }) => type)).toEqual(['video_url', 'audio_url', 'video_url', 'text'])
  })

  it('send plain vLLM the track beside the video, for it dies of one inside', async () => {
    const sent = await body(vllm, { type: 'video', video: videoOf(true) })
    expect(sent['mm_processor_kwargs']).toBeUndefined()
    const [, track] = content(sent)
    const { url } = track!['audio_url'] as { url: string }
    const wav = Buffer.from(url.slice('data:audio/wav;base64,'.length), 'base64')
    expect([wav.toString('latin1', 0, 4), wav.readUInt32LE(24)]).toEqual(['RIFF', 16_000])
    expect([...new Int16Array(wav.buffer.slice(wav.byteOffset + wav.length - 8, wav.byteOffset + wav.length))]).toEqual(
      [0, 16_384, -16_383, 32_767],
    )
  })

  it.each([vllm, vllmOmni])('send $name a frame list as one URL of JPEGs, with its rate', async (adapter) => {
    const sent = await body(adapter, { type: 'video', video: await frames() })
    expect(sent['media_io_kwargs']).toEqual({ video: { num_frames: -1, fps: 0.5 } })
    const { url } = content(sent)[0]!['video_url'] as { url: string }
    expect(url.startsWith('data:video/jpeg;base64,')).toBe(true)
    const list = url.slice('data:video/jpeg;base64,'.length).split(',')
    expect(list).toHaveLength(2)
    for (const frame of list)
      expect(await sharp(Buffer.from(frame, 'base64')).metadata()).toMatchObject({
        format: 'jpeg',
        width: 16,
        height: 8,
      })
    // JPEGs are sent unchanged.
    expect(list[0]).toBe((await encoded('jpeg')).toString('base64'))
  })

  it('refuse a frame list where the peer takes none', async () => {
    const video = await frames()
    await expect(body(sglangOmni, { type: 'video', video })).rejects.toMatchObject({
      code: 'unsupported',
      param: 'messages',
    })
  })

  it.each([
    [dashscope, {}],
    [omniserve, { fps: 2 }],
  ] as const)('go to $0.name as its wire has them', async (adapter, rate) => {
    const parts = content(
      await body(adapter, { type: 'image', image }, { type: 'audio', audio }, { type: 'video', video: videoOf(true) }),
    )
    expect(parts).toEqual([
      { type: 'image_url', image_url: { url: data('image/png', 'PNG') } },
      { type: 'input_audio', input_audio: { data: data('', 'MP3'), format: 'mp3' } },
      { type: 'video_url', video_url: { url: data('', 'MP4') }, ...rate },
      { type: 'text', text: 'What is it?' },
    ])
    const list = content(await body(adapter, { type: 'video', video: await frames() }))[0]!
    expect(list['type']).toBe('video')
    expect((list['video'] as string[]).map((url) => url.slice(0, 22))).toEqual([
      'data:image/jpeg;base64',
      'data:image/png;base64,',
    ])
  })

  it('are refused over the 10 MB of Base64 that the service takes', async () => {
    const large: AudioMedium = { ...audio, files: [file('audio/wav', new Uint8Array(8_000_000))] }
    await expect(body(dashscope, { type: 'audio', audio: large })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('10485760') as string,
    })
    expect(content(await body(omniserve, { type: 'audio', audio: large }))).toHaveLength(2)
  })

  it('keep the conversation: system, assistant, calls and their answers', async () => {
    const text = (value: string) => [{ type: 'text' as const, text: value }]
    const request = makeRequest({
      messages: [
        { role: 'system', content: text('Be kind.') },
        { role: 'user', content: text('Weather?') },
        { role: 'assistant', content: [], toolCalls: [{ id: 'c1', name: 'weather', arguments: '{"at":"Oslo"}' }] },
        { role: 'tool', toolCallId: 'c1', content: text('Rain.') },
      ],
      tools: [{ name: 'weather', parameters: { type: 'object' } }],
      toolChoice: { name: 'weather' },
    })
    for (const adapter of [vllm, vllmOmni, dashscope, omniserve]) {
      const sent = await adapter.build(request, { ...options, tools: true }, undefined, never)
      expect(sent['messages']).toEqual([
        { role: 'system', content: 'Be kind.' },
        { role: 'user', content: 'Weather?' },
        {
          role: 'assistant',
          content: '',
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"at":"Oslo"}' } }],
        },
        { role: 'tool', tool_call_id: 'c1', content: 'Rain.' },
      ])
      expect(sent['tool_choice']).toEqual({ type: 'function', function: { name: 'weather' } })
    }
    await expect(sglangOmni.build(request, options, undefined, never)).rejects.toMatchObject({ param: 'tools' })
  })

  it('keep reasoning and answer to both limits', async () => {
    const request = makeRequest({ maxTokens: 100, maxTotalTokens: 150, thinking: { budget: 80 } })
    const thinking = { ...options, thinking: true }
    expect(await vllm.build(request, thinking, undefined, never)).toMatchObject({
      max_tokens: 150,
      chat_template_kwargs: { enable_thinking: true },
    })
    expect(await dashscope.build(request, thinking, undefined, never)).toMatchObject({
      max_tokens: 100,
      thinking_budget: 50,
      enable_thinking: true,
    })
    await expect(vllm.build(request, options, undefined, never)).rejects.toMatchObject({ param: 'enable_thinking' })
  })
})
