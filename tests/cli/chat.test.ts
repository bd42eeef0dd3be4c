/** `omniserve chat` as a process: against a server over the fake engine, and with a checkpoint of its own. */
import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { GenerationRequest } from '../../src/contract/index.ts'
import { decodeWav } from '../../src/media/index.ts'
import { echo } from '../../testing/fake-engine.ts'
import { until } from '../../testing/until.ts'
import { png, wav } from '../support/media.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'
import { hasTerminal, omniserve, temporaryFolder, TerminalSession, testMedia, tinyCheckpoint } from './run-cli.ts'

/** A long message is repeated for minutes, so that its answer can be stopped. */
function longOrEcho(request: GenerationRequest): { text: string } {
  const { text } = echo(request)
  return { text: text.length > 1000 ? text.repeat(20) : text }
}

let server: TestServer
let folder: Awaited<ReturnType<typeof temporaryFolder>>
let remote: readonly string[]

beforeAll(async () => {
  server = await startTestServer({}, fakeEngine({ tokenDelayMs: 5, reply: longOrEcho }))
  folder = await temporaryFolder()
  remote = ['--url', server.url]
  await writeFile(path.join(folder.path, 'cat.png'), await png(96, 64))
  await writeFile(path.join(folder.path, 'talk.wav'), wav(1.5))
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

const chat = (args: readonly string[], options = {}) =>
  omniserve(['chat', ...args, ...remote], { folder: folder.path, ...options })

describe.concurrent('one question', () => {
  it('prints the answer, and nothing else, to standard output', async () => {
    const { code, out, errors } = await chat(['Good', 'morning'])
    expect({ code, out, errors }).toEqual({ code: 0, out: 'You said: Good morning\n', errors: '' })
  })

  it('sends images, audio and video by path', async () => {
    const image = await chat(['what is this?', '--image', 'cat.png'])
    expect(image.out).toBe('You said: what is this? I got an image of 96 by 64.\n')
    const sound = await chat(['and this?', '--audio', 'talk.wav'])
    expect(sound.out).toBe('You said: and this? I got 1.5 seconds of sound.\n')
    const clip = await chat(['', '--video', testMedia('clip.mp4'), '--json'])
    expect(JSON.parse(clip.out)).toMatchObject({
      usage: { prompt_tokens_details: { video_tokens: expect.any(Number) } },
    })
    const frames = await chat(['x', ...Array.from({ length: 4 }, () => ['--frame', 'cat.png']).flat()])
    expect(frames.out).toContain('I got 4 frames.')
  })

  it('saves speech as a WAV file and prints tokens and times', async () => {
    const { code, out, errors } = await chat(['Hello', '--voice', 'Ethan', '--save-audio', 'out.wav', '--usage'])
    expect({ code, out }).toEqual({ code: 0, out: 'You said: Hello\n' })
    const { sampleRate, channels, samples } = decodeWav(await readFile(path.join(folder.path, 'out.wav')))
    // Three tokens of three frames of 80 ms; the fake's tone is loud.
    expect([sampleRate, channels, samples.length]).toEqual([24_000, 1, 3 * 3 * 1920])
    expect(Math.max(...samples)).toBeGreaterThan(0.05)
    expect(errors).toContain('0.72 s of speech in out.wav')
    expect(errors).toMatch(
      /in \d+ \(text \d+\) {2}out \d+ \(audio 9, text 3\) {2}first token \d+ ms, first audio \d+ ms/,
    )
    expect(server.engine.requests.map(({ speech }) => speech)).toContainEqual({ voice: 'Ethan' })
  })

  it('prints one JSON object', async () => {
    const { out } = await chat(['Hi', '--json', '--max-tokens', '2', '--seed', '7', '--system', 'Be brief.'])
    expect(JSON.parse(out)).toEqual({
      id: expect.stringMatching(/^chatcmpl-/),
      model: 'qwen3-omni-flash',
      text: 'You said:',
      finish_reason: 'length',
      audio: null,
      usage: expect.objectContaining({ completion_tokens: 2 }),
      milliseconds: { first_token: expect.any(Number), first_audio: null, total: expect.any(Number) },
    })
    const request = server.engine.requests.find(({ sampling }) => sampling.seed === 7)
    expect(request?.maxTokens).toBe(2)
    expect(request?.messages[0]).toEqual({ role: 'system', content: [{ type: 'text', text: 'Be brief.' }] })
  })

  it('reasons on standard error and answers on standard output', async () => {
    const { out, errors } = await chat(['Why?', '--thinking', '--thinking-budget', '3'])
    expect(out).toBe('You said: Why?\n')
    expect(errors.trim()).toBe('Let me think')
  })

  it('reads standard input, alone and within a question', async () => {
    const alone = await chat([], { input: 'from a pipe\n' })
    expect(alone.out).toBe('You said: from a pipe\n')
    const within = await chat(['Sum up:', '-'], { input: 'some notes' })
    expect(within.out).toBe('You said: Sum up:\nsome notes\n')
  })

  it('plays through the player that is installed', async () => {
    const bin = path.join(folder.path, 'bin')
    await mkdir(bin, { recursive: true })
    await writeFile(path.join(bin, 'aplay'), `#!/bin/sh\nexec /bin/cat > '${folder.path}/played.wav'\n`)
    await chmod(path.join(bin, 'aplay'), 0o755)
    const { code } = await chat(['Hello', '--play'], { environment: { PATH: bin } })
    expect(code).toBe(0)
    expect(decodeWav(await readFile(path.join(folder.path, 'played.wav'))).samples.length).toBe(3 * 3 * 1920)
    // ffplay's exit code does not show that there is no audio device.
    const mute = path.join(folder.path, 'mute')
    await mkdir(mute)
    await writeFile(
      path.join(mute, 'ffplay'),
      `#!/bin/sh\n/bin/cat > /dev/null\n{ echo 'ALSA lib: cannot find card'; echo 'audio open failed'; } >&2\n`,
    )
    await chmod(path.join(mute, 'ffplay'), 0o755)
    const mutePlayer = await chat(['Hello', '--play'], { environment: { PATH: mute } })
    expect(mutePlayer).toMatchObject({ code: 1, out: 'You said: Hello\n' })
    expect(mutePlayer.errors).toContain('--play: ffplay failed: audio open failed')
    const none = await chat(['Hello', '--play'], { environment: { PATH: folder.path } })
    expect(none).toMatchObject({ code: 2, errors: expect.stringContaining('install one of ffplay, pw-play') })
  })

  it('reports errors in one line, each kind with its exit code', async () => {
    const failures: [string[], number, RegExp][] = [
      [['x', '--image', 'nope.png'], 2, /^omniserve: nope\.png: no such file$/],
      [['x', '--image', 'talk.wav'], 2, /^omniserve: talk\.wav is audio\/wav, which cannot be used as image$/],
      [['x', '--voice', 'Nobody'], 5, /\[audio\.voice\].*Voice 'Nobody' is not supported\. Voices of \S+: Cherry/],
      [['x', '--model', 'gpt-4'], 5, /^omniserve: the API refused the request \(404 model_not_found\)/],
      [['x', '--save-audio', 'no/such/out.wav'], 2, /its folder does not exist/],
      [['x', '--save-audio', 'out.mp3'], 2, /saved as WAV only; give a name such as out\.wav/],
      [[], 2, /^omniserve: there is no question/],
    ]
    const results = await Promise.all(failures.map(([args]) => chat(args)))
    for (const [index, { code, out, errors }] of results.entries()) {
      const [, wantedCode, text] = failures[index]!
      expect({ code, out, errors: errors.trim() }).toEqual({
        code: wantedCode,
        out: '',
        errors: expect.stringMatching(text),
      })
      expect(errors.trim().split('\n')).toHaveLength(1)
    }
    const unknown = await omniserve(['chat', 'x', '--model', 'gpt-4'])
    expect(unknown).toMatchObject({
      code: 3,
      errors: expect.stringMatching(/^omniserve: --model gpt-4 is not an API model.*there is no checkpoint 'gpt-4'/),
    })
    const unreachable = await omniserve(['chat', 'x', '--url', 'http://127.0.0.1:1'])
    expect(unreachable).toMatchObject({ code: 4, errors: expect.stringContaining('cannot reach http://127.0.0.1:1') })
  })

  it('sends the key, and reports a wrong one', async () => {
    await using guarded = await startTestServer({ apiKey: ['sk-right'] })
    const without = await omniserve(['chat', 'x', '--url', guarded.url])
    expect(without).toMatchObject({ code: 5, errors: expect.stringContaining('401') })
    const right = await omniserve(['chat', 'x', '--url', guarded.url], {
      environment: { OMNISERVE_API_KEY: 'sk-right' },
    })
    expect(right).toMatchObject({ code: 0, out: 'You said: x\n' })
  })

  it('stops at Ctrl-C, and aborts the request', async () => {
    await using slow = await startTestServer({}, fakeEngine({ startDelayMs: 60_000 }))
    const asked = until(() => slow.engine.requests.length === 1)
    const { code, errors } = await omniserve(['chat', 'x', '--url', slow.url], { interrupt: asked })
    expect({ code, errors }).toEqual({ code: 130, errors: 'omniserve: interrupted\n' })
    await until(() => slow.engine.aborted.length === 1)
  })
})

describe('interrupted', () => {
  it('keeps the speech received so far', async () => {
    const words = fakeEngine({ reply: () => ({ text: 'word '.repeat(4000) }), tokenDelayMs: 20 })
    await using slow = await startTestServer({}, words)
    const args = ['chat', 'x', '--url', slow.url, '--save-audio', 'part.wav']
    const { code, out, errors } = await omniserve(args, { folder: folder.path, interrupt: /(word ){5}/ })
    expect({ code, errors }).toEqual({
      code: 130,
      errors: expect.stringMatching(/^[\d.]+ s of speech in part\.wav\nomniserve: interrupted\n$/) as string,
    })
    // The terminal's next output begins on a line of its own.
    expect(out).toMatch(/^word( word)* ?\n$/)
    const { samples } = decodeWav(await readFile(path.join(folder.path, 'part.wav')))
    expect(samples.length).toBeGreaterThan(1920)
    expect(samples.length).toBeLessThan(4000 * 3 * 1920)
  })

  it('leaves no file when there is no speech yet', async () => {
    await using slow = await startTestServer({}, fakeEngine({ startDelayMs: 60_000 }))
    const asked = until(() => slow.engine.requests.length === 1)
    const args = ['chat', 'x', '--url', slow.url, '--save-audio', 'none.wav']
    expect((await omniserve(args, { folder: folder.path, interrupt: asked })).code).toBe(130)
    expect(existsSync(path.join(folder.path, 'none.wav'))).toBe(false)
  })
})

describe('a server that runs on this machine', () => {
  const portOf = ({ url }: { readonly url: string }) => ({ OMNISERVE_PORT: new URL(url).port })

  it('is found without --url, and its key taken from the environment', async () => {
    const found = await omniserve(['chat', 'x'], { environment: portOf(server) })
    expect(found).toEqual({ code: 0, out: 'You said: x\n', errors: '' })
    await using guarded = await startTestServer({ apiKey: ['sk-right'] })
    const environment = { ...portOf(guarded), OMNISERVE_API_KEY: 'sk-right' }
    expect(await omniserve(['chat', 'x'], { environment })).toMatchObject({ code: 0, out: 'You said: x\n' })
  })

  it('is waited for while it loads', async () => {
    const engine = fakeEngine()
    let asked = 0
    const engines = async () => {
      // Loads until the command has checked whether it is ready.
      await until(() => asked >= 2)
      return new Map([['fake-omni', engine]])
    }
    await using loading = await startTestServer({}, engine, { engines })
    const status = loading.services.host.checkpoints.bind(loading.services.host)
    vi.spyOn(loading.services.host, 'checkpoints').mockImplementation(() => {
      asked += 1
      return status()
    })
    const { code, out } = await omniserve(['chat', 'x'], { environment: portOf(loading) })
    expect([code, out]).toEqual([0, 'You said: x\n'])
  })

  const own = ['--context-length', '1024', '--max-tokens', '4']

  it('is not used where it does not fit, with a message', async () => {
    const environment = { ...portOf(server), OMNISERVE_MODEL: tinyCheckpoint }
    const seen = server.engine.requests.length
    const other = await omniserve(['chat', 'x', '--max-tokens', '4'], { environment })
    expect(other).toMatchObject({
      code: 0,
      errors: expect.stringMatching(/^not using the server .*: it does not serve /),
    })
    const chosen = await omniserve(['chat', 'x', '--checkpoint', tinyCheckpoint, ...own], { environment })
    expect(chosen).toMatchObject({ code: 0, errors: '' })
    expect(server.engine.requests).toHaveLength(seen)
    const engine = fakeEngine({ models: ['tiny-mixed'] })
    const settings = { apiKey: ['sk-right'], model: 'tiny-mixed' }
    await using guarded = await startTestServer(settings, engine, { engines: new Map([['tiny-mixed', engine]]) })
    const same = { ...portOf(guarded), OMNISERVE_MODEL: tinyCheckpoint }
    const refused = await omniserve(['chat', 'x', '--max-tokens', '4'], {
      environment: { ...same, OMNISERVE_API_KEY: 'sk-wrong' },
    })
    expect(refused).toMatchObject({
      code: 0,
      errors: expect.stringMatching(/^not using the server .*: it refuses the API key\n/),
    })
    const keyless = await omniserve(['chat', 'x', '--max-tokens', '4'], { environment: same })
    expect(keyless).toMatchObject({
      code: 0,
      errors: expect.stringMatching(/^not using the server .*: it requires an API key/),
    })
    expect(engine.requests).toEqual([])
  })

  it('is not confused with another program on the port', async () => {
    const other = createServer((_, response) => response.end('{"status":"ok"}'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo
    const environment = { OMNISERVE_PORT: String(port), OMNISERVE_MODEL: tinyCheckpoint }
    expect(await omniserve(['chat', 'x', '--max-tokens', '4'], { environment })).toMatchObject({ code: 0, errors: '' })
    other.close()
  })
})

describe('without a server', () => {
  const local = ['--checkpoint', tinyCheckpoint, '--context-length', '1024', '--max-tokens', '8', '--json']

  it('runs the checkpoint itself, speech and a video too large for a data URI included', async () => {
    const large = path.join(folder.path, 'large.wav')
    await writeFile(large, Buffer.concat([wav(1), Buffer.alloc(8_000_000)]))
    const args = ['Hello', '--audio', large, '--save-audio', 'own.wav', '--seed', '3']
    const { code, out, errors } = await omniserve(['chat', ...args, ...local], { folder: folder.path })
    expect({ code, errors }).toEqual({ code: 0, errors: '' })
    const answer: { usage: object; audio: { seconds: number } } = JSON.parse(out)
    expect(answer.usage).toMatchObject({ prompt_tokens_details: { audio_tokens: expect.any(Number) } })
    const { samples } = decodeWav(await readFile(path.join(folder.path, 'own.wav')))
    expect(samples.length / 24_000).toBeCloseTo(answer.audio.seconds, 5)
    expect(answer.audio.seconds).toBeGreaterThan(0)
  })

  it('uses a --model that is not an API model as the checkpoint', async () => {
    const answer = await omniserve(['chat', 'Hi', '--model', tinyCheckpoint, ...local.slice(2)])
    expect(answer.code).toBe(0)
    const missing = await omniserve(['chat', 'Hi', '--model', 'no/such'])
    expect(missing).toMatchObject({ code: 3, errors: expect.stringContaining('omniserve pull no/such') })
  })
})

describe.skipIf(!hasTerminal)('a conversation at a terminal', () => {
  it('keeps the conversation, attaches, speaks, saves, stops and ends', async () => {
    const seen = server.engine.requests.length
    await using session = new TerminalSession(['chat', ...remote], { folder: folder.path })
    await session.see(/qwen3-omni-flash on http.*\n> /)
    session.type('first words\r')
    await session.see(/You said: first words\n> /)
    session.type('/image cat.png\r')
    await session.see(/\[\+1\] > /)
    session.type('look\r')
    await session.see(/You said: look I got an image of 96 by 64\.\n> /)
    session.type('/voice Ethan\r')
    await session.see(/Replies are spoken by Ethan\.\n> /)
    session.type('aloud\r')
    await session.see(/You said: aloud\n> /)
    session.type('/save said.wav\r')
    await session.see(/0\.72 s of speech in said\.wav\n> /)
    expect(decodeWav(await readFile(path.join(folder.path, 'said.wav'))).samples.length).toBe(0.72 * 24_000)
    session.type('/usage\r')
    await session.see(/audio 9, text 3/)
    session.type('/image nope.png\r')
    await session.see(/nope\.png: no such file\n> /)
    session.type('/nonsense\r')
    await session.see(/unknown command \/nonsense/)
    session.type('"""\rone\rtwo\r"""\r')
    await session.see(/You said: one\ntwo\n> /)
    // The API gives no speech while thinking is on: one switches the other off.
    session.type('/thinking on\r')
    await session.see(/Thinking is on\.\nReplies are text only now: .*\n> /)
    session.type('why\r')
    await session.see(/You said: why\n> /)
    expect(server.engine.requests.at(-1)).toMatchObject({ thinking: expect.anything() })
    expect(server.engine.requests.at(-1)?.speech).toBeUndefined()
    session.type('/voice Ethan\r')
    await session.see(/Replies are spoken by Ethan\.\nThinking is off: .*\n> /)
    const turns = server.engine.requests
      .slice(seen)
      .map(({ messages }) => messages.filter(({ role }) => role !== 'system').length)
    expect(turns).toEqual([1, 3, 5, 7, 9])
    session.type('/clear\r')
    await session.see(/New conversation\.\n> /)
    session.type(`${'word '.repeat(750)}\r`)
    await session.see(/You said: word/)
    session.type('\u0003')
    await session.see(/\(stopped\)/)
    expect(server.engine.requests.at(-1)?.messages).toHaveLength(server.engine.requests.at(-1)?.speech ? 2 : 1)
    session.type('\u0004')
    expect(await session.ended).toBe(0)
  })

  it('refuses an unknown voice, and keeps the previous one', async () => {
    await using session = new TerminalSession(['chat', '--voice', 'Ethan', ...remote], { folder: folder.path })
    await session.see(/> /)
    session.type('/voice Nobody\r')
    await session.see(/qwen3-omni-flash has no voice 'Nobody'. Voices: .*Cherry.* more\n> /)
    session.type('aloud\r')
    await session.see(/You said: aloud\n> /)
    expect(server.engine.requests.at(-1)?.speech).toEqual({ voice: 'Ethan' })
    session.type('/voice cherry\r')
    await session.see(/Replies are spoken by Cherry\.\n> /)
  })

  it('ends at the second Ctrl-C in a row, not at the first', async () => {
    await using session = new TerminalSession(['chat', ...remote], { folder: folder.path })
    await session.see(/> /)
    session.type('one\r')
    await session.see(/You said: one\n> /)
    session.type('\u0003')
    await session.see(/\(Ctrl-C again ends the conversation\)\n> /)
    session.type('two\r')
    await session.see(/You said: two\n> /)
    session.type('\u0003')
    await session.see(/\(Ctrl-C again ends the conversation\)\n> /)
    session.type('\u0003')
    expect(await session.ended).toBe(0)
  })

  it('saves the speech of a stopped answer', async () => {
    const words = fakeEngine({ reply: () => ({ text: 'word '.repeat(4000) }), tokenDelayMs: 20 })
    await using slow = await startTestServer({}, words)
    await using session = new TerminalSession(['chat', '--voice', 'Ethan', '--url', slow.url], { folder: folder.path })
    await session.see(/> /)
    session.type('long\r')
    await session.see(/(word ){5}/)
    session.type('\u0003')
    await session.see(/\(stopped\)/)
    session.type('/save stopped.wav\r')
    await session.see(/s of speech in stopped\.wav/)
    expect(decodeWav(await readFile(path.join(folder.path, 'stopped.wav'))).samples.length).toBeGreaterThan(1920)
  })

  it('completes commands and paths by Tab, and answers lines typed ahead in order', async () => {
    await using session = new TerminalSession(['chat', ...remote], { folder: folder.path })
    await session.see(/> /)
    // One key at a time: input in one piece counts as pasted, Tabs included.
    session.type('/im')
    await session.see(/\/im/)
    session.type('\t')
    await session.see(/age/)
    session.type(' cat.p')
    await session.see(/cat\.p/)
    session.type('\t')
    await session.see(/ng/)
    session.type('\r')
    await session.see(/\[\+1\] > /)
    session.type('one\rtwo\r/exit\r')
    await session.see(/You said: one I got an image/)
    await session.see(/You said: two\n/)
    expect(await session.ended).toBe(0)
  })
})
