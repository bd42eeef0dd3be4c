import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { makeMedia } from '../../testing/make-media.ts'
import { temporaryFolder } from '../../tests/cli/run-cli.ts'
import { kindOfFile } from './attachments.ts'

it.each([
  ['webm', 'libvpx', 'libopus'],
  ['matroska', 'libx264', 'libvorbis'],
])('a %s file with only audio is audio, one with video is video', async (container, video, audio) => {
  await using folder = await temporaryFolder()
  const file = path.join(folder.path, 'recording.webm')
  const audioTrack = { audio: { codec: audio, rate: 48_000, tones: [{ start: 0, seconds: 1, hz: 440 }] } }
  const videoTrack = { video: { codec: video, frames: 10 } }
  for (const muxer of [{}, { live: '1' }]) {
    await writeFile(file, makeMedia({ container, muxer, tracks: [audioTrack] }))
    expect(await kindOfFile(file)).toBe('audio')
    await writeFile(file, makeMedia({ container, muxer, tracks: [videoTrack, audioTrack] }))
    expect(await kindOfFile(file)).toBe('video')
  }
})
