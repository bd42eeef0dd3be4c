import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ffmpegBuild, ffmpegLicence, missingFfmpeg } from './ffmpeg-build.ts'

describe('the licence of FFmpeg', () => {
  it('follows from its configure options', () => {
    expect(ffmpegLicence('--disable-debug')).toEqual({ licence: 'LGPL-2.1-or-later', incompatible: [] })
    expect(ffmpegLicence('--enable-version3 --enable-libfdk-aac').licence).toBe('LGPL-3.0-or-later')
    expect(ffmpegLicence('--enable-gpl --enable-libx264')).toEqual({ licence: 'GPL-2.0-or-later', incompatible: [] })
    expect(ffmpegLicence('--enable-version3 --enable-gpl --enable-libfdk-aac')).toEqual({
      licence: 'GPL-3.0-or-later',
      incompatible: ['libfdk-aac'],
    })
  })

  it('of the installed build is stated in NOTICE', async () => {
    const { licence, incompatible } = await ffmpegBuild()
    const notice = readFileSync(join(import.meta.dirname, '../../NOTICE'), 'utf8')
    expect(notice).toContain(licence)
    for (const part of incompatible) expect(notice).toContain(part)
  })
})

describe('a missing node-av', () => {
  const failure = async (name: string): Promise<unknown> =>
    import(/* @vite-ignore */ name).then(
      () => undefined,
      (error: unknown) => error,
    )

  it('is distinguished from a broken file', async () => {
    const absent = Object.assign(new Error("Cannot find package 'node-av' imported from /x/decode.js"), {
      code: 'ERR_MODULE_NOT_FOUND',
    })
    expect(missingFfmpeg(absent, 'audio')).toMatchObject({ code: 'no_decoder', kind: 'audio' })
    expect(missingFfmpeg(await failure('node-av/not-there'), 'video')).toMatchObject({ code: 'no_decoder' })
    const unbuilt = new Error('Could not load the node-av native binding for linux-riscv64.\nTried: x')
    expect(missingFfmpeg(unbuilt, 'audio')).toMatchObject({ code: 'no_decoder' })
    expect(missingFfmpeg(new Error('Invalid data found when processing input'), 'audio')).toBeUndefined()
    expect(missingFfmpeg(await failure('no-such-package'), 'audio')).toBeUndefined()
  })
})
