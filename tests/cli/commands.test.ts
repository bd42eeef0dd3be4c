/** Every other command as a process: help, output, JSON, errors, exit codes. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { modelListSchema, tokensCountSchema, voiceListSchema } from '../../src/protocol/index.ts'
import { TestHub } from '../../testing/hub-server.ts'
import { png, wav } from '../support/media.ts'
import { startTestServer } from '../support/server.ts'
import { mainFile, omniserve, temporaryFolder, testMedia, tinyCheckpoint } from './run-cli.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeAll(async () => {
  folder = await temporaryFolder()
  await writeFile(path.join(folder.path, 'cat.png'), await png(320, 320))
  await writeFile(path.join(folder.path, 'talk.wav'), wav(2))
  await writeFile(path.join(folder.path, 'notes.txt'), '你是誰?')
})
afterAll(() => folder[Symbol.asyncDispose]())

const COMMANDS = [
  'serve',
  'chat',
  'pull',
  'convert',
  'models',
  'voices',
  'tokens',
  'bench',
  'cluster',
  'doctor',
  'verify',
  'completion',
]
const run = (...args: string[]) => omniserve(args, { folder: folder.path })
const local = ['--checkpoint', tinyCheckpoint]

describe.concurrent('help and usage', () => {
  it('lists every command, examples, and the exit codes', async () => {
    const { code, out } = await run('--help')
    expect(code).toBe(0)
    for (const name of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
    expect(out).toMatch(/Examples:\n  omniserve serve\n/)
    expect(out).toContain('3 checkpoint cannot be loaded')
  })

  it.each(['constructor', '__proto__'])('has no command %s', async (name) => {
    expect(await run(name)).toMatchObject({ code: 2, errors: expect.stringContaining(`unknown command '${name}'`) })
  })

  it.each(COMMANDS)('%s --help shows examples and exit codes, in lines of at most 120 columns', async (name) => {
    const { code, out } = await run(name, '--help')
    expect(code).toBe(0)
    expect(out).toContain(`Usage: omniserve ${name}`)
    expect(out).toMatch(new RegExp(`Examples:\\n  (?:cat .* )?omniserve ${name}`))
    expect(out).toContain('Exit codes:')
    expect(out.split('\n').filter((line) => line.length > 120)).toEqual([])
  })

  it('answers wrong usage with 2, on standard error', async () => {
    for (const args of [[], ['nonsense'], ['chat', '--nonsense'], ['pull'], ['bench', '--runs', '0']]) {
      const { code, out, errors } = await run(...args)
      expect({ args, code, out }).toEqual({ args, code: 2, out: '' })
      expect(errors).not.toBe('')
    }
  })

  it('prints its version', async () => {
    expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

describe.concurrent('models and voices', () => {
  it('lists API models and checkpoints', async () => {
    const { code, out } = await run('models', ...local)
    expect(code).toBe(0)
    expect(out).toMatch(/^qwen3-omni-flash +65,536 +49,152 +16,384 +32,768 tokens +17 /m)
    expect(out).toMatch(/ ryan, vivian +yes$/m)
  })

  it('prints the API’s own JSON, with the checkpoints', async () => {
    const { out } = await run('models', ...local, '--json', '--region', 'cn')
    const json: { checkpoints: object[] } = JSON.parse(out)
    const { data } = modelListSchema.parse(json)
    expect(data.map(({ id }) => id)).toContain('qwen-omni-turbo-2025-01-19')
    expect(data[0]?.served_by).toMatchObject({ checkpoint: 'tiny-mixed', output_modalities: ['text', 'audio'] })
    expect(json.checkpoints[0]).toMatchObject({
      location: tinyCheckpoint,
      input_modalities: ['text', 'image', 'audio', 'video'],
    })
  })

  it('lists voices and their speakers', async () => {
    const { out } = await run('voices', ...local, '--model', 'qwen-omni-turbo')
    expect(out).toContain('qwen-omni-turbo (default Cherry)')
    expect(out).toMatch(/^Ethan +as (ryan|vivian) /m)
    const list = voiceListSchema.parse(JSON.parse((await run('voices', ...local, '--json')).out))
    expect(list.data.find(({ model }) => model === 'qwen3-omni-flash-2025-12-01')?.voices).toHaveLength(49)
    expect((await run('voices', ...local, '--model', 'nope')).code).toBe(5)
  })

  it('asks a server where one is named', async () => {
    await using server = await startTestServer()
    const { out } = await run('models', '--url', `${server.url}/v1`)
    expect(out).toMatch(/^qwen3-omni-flash .*fake-omni$/m)
    const voices = await run('voices', '--url', server.url, '--model', 'qwen3-omni-flash')
    expect(voices.out).toContain('as chelsie')
  })

  it('says why a checkpoint cannot be read', async () => {
    await writeFile(path.join(folder.path, 'config.json'), '{"architectures": ["GPT2"]}')
    const { code, errors } = await run('models', '--checkpoint', '.')
    expect({ code, errors }).toEqual({ code: 3, errors: expect.stringContaining('omniserve: ') })
  })
})

describe.concurrent('tokens', () => {
  it('counts files by their media type', async () => {
    const { code, out } = await run(
      'tokens',
      ...local,
      'cat.png',
      'talk.wav',
      'notes.txt',
      testMedia('clip.mp4'),
      '--json',
    )
    expect(code).toBe(0)
    const { data }: { data: { file: string }[] } = JSON.parse(out)
    const counts = data.map((row) => tokensCountSchema.parse(row).usage.prompt_tokens_details ?? {})
    // 320 by 320 is 10 by 10 tokens and two markers; two seconds are 25; the text is the guide's own example.
    expect(counts[0]).toMatchObject({ image_tokens: 102 })
    expect(counts[1]).toMatchObject({ audio_tokens: 25 })
    expect(counts[2]).toEqual({ text_tokens: 11 })
    expect(counts[3]).toMatchObject({ video_tokens: expect.any(Number) })
  })

  it('prints a table with prices', async () => {
    const { out } = await run('tokens', ...local, 'cat.png', '--text', 'What?')
    expect(out).toMatch(/^cat\.png +\d+ +102 +- +- +\d+ of 49,152 +USD 0\.0000\d+ +\d+ of /m)
  })

  it('counts a request; speech adds 196 tokens', async () => {
    const body = { model: 'qwen3-omni-flash', messages: [{ role: 'user', content: '你是誰?' }] }
    const spoken = { ...body, modalities: ['text', 'audio'], audio: { voice: 'Cherry', format: 'wav' } }
    const { out } = await omniserve(['tokens', ...local, '--request', '-', '--json'], { input: JSON.stringify(spoken) })
    // The text alone is 11 tokens.
    expect(tokensCountSchema.parse(JSON.parse(out)).usage.prompt_tokens).toBe(207)
  })

  it('refuses what it cannot count', async () => {
    expect(await run('tokens')).toMatchObject({ code: 2, errors: expect.stringContaining('nothing to count') })
    expect(await omniserve(['tokens', '--request', '-'], { input: '{' })).toMatchObject({
      code: 2,
      errors: expect.stringContaining('is not JSON'),
    })
    expect(await run('tokens', 'nope.png')).toMatchObject({ code: 2, errors: 'omniserve: nope.png: no such file\n' })
  })

  it('names a bad file, and counts the others', async () => {
    const files = ['cat.png', 'nope.png', 'broken.png', 'talk.wav']
    await writeFile(path.join(folder.path, 'broken.png'), (await png(64, 64)).subarray(0, 60))
    const text = await run('tokens', ...local, ...files)
    expect(text.code).toBe(2)
    expect(text.out).toMatch(/^cat\.png +[\s\S]*^talk\.wav +/m)
    expect(text.out).not.toMatch(/nope|broken/)
    expect(text.errors).toMatch(
      /^omniserve: nope\.png: no such file\nomniserve: broken\.png: .*\n2 of 4 files could not be counted\n$/,
    )
    const json = await run('tokens', ...local, ...files, '--json')
    expect(json.code).toBe(2)
    const { data }: { data: { file: string; error?: string }[] } = JSON.parse(json.out)
    expect(data.map(({ file, error }) => [file, error === undefined])).toEqual([
      ['cat.png', true],
      ['talk.wav', true],
      ['nope.png', false],
      ['broken.png', false],
    ])
    const gone = await run('tokens', ...files, '--url', 'http://127.0.0.1:1')
    expect(gone).toMatchObject({ code: 4, errors: expect.stringMatching(/^omniserve: cannot reach [^\n]*\n$/) })
  })
})

describe.concurrent('pull, then convert, then bench', () => {
  it('fetches, resumes, converts and measures', async () => {
    await using home = await temporaryFolder()
    const names = ['config.json', 'model.safetensors.index.json', 'tokenizer.json', 'tokenizer_config.json']
    const more = ['chat_template.json', 'generation_config.json', 'preprocessor_config.json']
    const shards = Array.from({ length: 8 }, (_, i) => `model-0000${i + 1}-of-00008.safetensors`)
    const files: Record<string, Buffer> = {}
    for (const name of [...names, ...more, ...shards]) files[name] = await readFile(path.join(tinyCheckpoint, name))
    await using hub = await new TestHub(files, ['config.json']).start()
    const environment = { HF_ENDPOINT: hub.endpoint, OMNISERVE_HOME: home.path }
    const options = { environment, folder: home.path }

    const pulled = await omniserve(['pull', hub.id], options)
    expect(pulled.code).toBe(0)
    expect(pulled.out).toContain(`${hub.id}: ${Object.keys(files).length} files, `)
    expect(pulled.errors).toMatch(/100% {2}[\d.]+ MB of /)
    expect(pulled.errors).toContain(`Next: omniserve serve --model ${hub.id}`)
    const again = await omniserve(['pull', hub.id, '--json'], options)
    expect(JSON.parse(again.out)).toMatchObject({
      id: hub.id,
      hub: 'huggingface',
      revision: hub.commit,
      bytes_fetched: 0,
    })
    const listed = await omniserve(['models', '--checkpoint', tinyCheckpoint, '--json'], options)
    const { checkpoints }: { checkpoints: { name: string }[] } = JSON.parse(listed.out)
    expect(checkpoints.map(({ name }) => name)).toContain(hub.id)

    const args = ['convert', hub.id, '--quantize', 'q8_0', '--stage', 'talker=f16', '--output', 'tiny.gguf']
    const converted = await omniserve([...args, '--json'], options)
    expect(converted.code).toBe(0)
    expect(JSON.parse(converted.out)).toMatchObject({ path: path.join(home.path, 'tiny.gguf'), type: 'q8_0' })
    expect(await omniserve(args, options)).toMatchObject({
      code: 2,
      errors: expect.stringContaining('use --force to replace it'),
    })
    const automatic = await omniserve(['convert', hub.id], options)
    expect(automatic).toMatchObject({ code: 0, out: expect.stringContaining('Tiny-Omni-q8_0.gguf') })

    const bench = ['bench', '--checkpoint', 'tiny.gguf', '--context-length', '1024', '--runs', '1', '--max-tokens', '8']
    const measured = await omniserve([...bench, '--profile', '--json'], options)
    expect(measured.code).toBe(0)
    const result: {
      cases: {
        case: string
        first_token_ms: number
        total_ms: number
        real_time_factor: number | null
        profile: { stages: Record<string, number>; vocoder_ms: number; total_ms: number }
      }[]
    } = JSON.parse(measured.out)
    expect(result).toMatchObject({ target: 'tiny.gguf', load_seconds: expect.any(Number) })
    expect(result.cases.map((row) => row.case)).toEqual(['text', 'text to speech', 'image', 'audio'])
    for (const row of result.cases) expect(row.first_token_ms).toBeGreaterThan(0)
    expect(result.cases[1]?.real_time_factor).toBeGreaterThan(0)
    for (const { profile, total_ms: total } of result.cases) {
      const sum = Object.values(profile.stages).reduce((all, milliseconds) => all + milliseconds, 0)
      expect(Math.abs(sum / total - 1)).toBeLessThan(0.05)
      // The client's time includes the engine's.
      expect(profile.stages['transport']).toBeGreaterThanOrEqual(0)
      expect(Object.keys(profile.stages)).toEqual(expect.arrayContaining(['prefill', 'decode', 'sampling']))
    }
    const spoken = result.cases[1]?.profile
    expect(Object.keys(spoken?.stages ?? {})).toEqual(expect.arrayContaining(['talker', 'code-predictor']))
    expect(spoken?.vocoder_ms).toBeGreaterThan(0)
  })

  it('refuses to profile another server', async () => {
    const { code, errors } = await run('bench', '--profile', '--url', 'http://127.0.0.1:1')
    expect({ code, errors }).toEqual({ code: 2, errors: expect.stringContaining('--log-level debug') })
  })

  it('leaves nothing behind when it fails', async () => {
    const bad = await run('convert', tinyCheckpoint, '--quantize', 'q3', '--output', 'bad.gguf')
    expect(bad).toMatchObject({ code: 2, errors: expect.stringContaining('choose one of q4_0') })
    expect(existsSync(path.join(folder.path, 'bad.gguf'))).toBe(false)
    expect((await run('convert', tinyCheckpoint, '--stage', 'nose=q8_0')).errors).toContain('there is no stage nose')
    expect((await run('convert', 'no/such')).code).toBe(3)
    expect(await run('pull', 'nonsense')).toMatchObject({ code: 2, errors: expect.stringContaining('OWNER/NAME') })
    await using hub = await new TestHub({ 'config.json': '{}', 'model.safetensors': 'x' }).start()
    hub.token = 'secret'
    const refused = await omniserve(['pull', hub.id, '--folder', 'x'], {
      folder: folder.path,
      environment: { HF_ENDPOINT: hub.endpoint, HF_TOKEN: '' },
    })
    expect(refused).toMatchObject({ code: 4, errors: expect.stringContaining('HF_TOKEN') })
  })
})

describe.concurrent('doctor', () => {
  it('passes all checks, as text', async () => {
    await using home = await temporaryFolder()
    const { code, out } = await omniserve(['doctor', '--model', tinyCheckpoint, '--port', '0'], {
      environment: { OMNISERVE_HOME: home.path },
    })
    expect(out).toMatch(/^ok +numeric library .*self-test passed$/m)
    expect(out).toMatch(/^ok +media decoder +decodes images and audio$/m)
    expect(out).toMatch(/^ok +checkpoint .*voices: /m)
    expect(out).toMatch(/^ok +weights +[\d.]+ MB (as stored|repacked for this processor)/m)
    expect(out).toMatch(/^ok +port +any free port$/m)
    expect({ code, end: /Ready[.;]/.test(out) }).toEqual({ code: 0, end: true })
    // Missing parts are not "ok".
    expect(
      out.split('\n').filter((line) => /not installed|not built|: none/.test(line) && line.startsWith('ok')),
    ).toEqual([])
    if (/is not installed/.test(out)) expect(out).toMatch(/^none {2}\w+ +@node-llama-cpp\S+ is not installed/m)
  })

  it('names the fixes as JSON, and ends with 1', async () => {
    const broken = path.join(folder.path, 'broken')
    await cp(tinyCheckpoint, broken, { recursive: true })
    await rm(path.join(broken, 'model-00005-of-00008.safetensors'))
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo
    const { code, out } = await run('doctor', '--model', broken, '--port', String(port), '--device', 'cuda', '--json')
    taken.close()
    const report: { ok: boolean; checks: { name: string; status: string; found: string; fix?: string }[] } =
      JSON.parse(out)
    const failed = report.checks.filter(({ status }) => status === 'fail')
    expect({ code, ok: report.ok, failed: failed.map(({ name }) => name) }).toEqual({
      code: 1,
      ok: false,
      failed: ['cuda', 'checkpoint', 'port'],
    })
    for (const { fix } of failed) expect(fix).toBeTruthy()
    expect(failed[1]?.found).toContain('lacks 1 of 8 weight files: model-00005-of-00008.safetensors')
  })
})

describe.concurrent('completion', () => {
  const script = async (shell: string): Promise<string> => {
    const { code, out } = await run('completion', shell)
    expect(code).toBe(0)
    expect(out).toContain('omniserve complete --')
    return out
  }

  it.each(['zsh', 'fish'])('prints a script for %s', async (shell) => {
    expect(await script(shell)).toContain('omniserve')
  })

  it('completes in bash, with file names, and evaluates nothing typed', async () => {
    const file = path.join(folder.path, 'completion.bash')
    await writeFile(file, await script('bash'))
    const at = async (line: string): Promise<string[]> => {
      const program = `
        omniserve() { '${process.execPath}' '${mainFile}' "$@"; }
        source '${file}'; source '${file}'
        COMP_LINE=$1 COMP_POINT=\${#1}
        _omniserve
        printf '%s\\n' "\${COMPREPLY[@]}"
        complete -p omniserve`
      const { stdout, stderr } = await promisify(execFile)('bash', ['-c', program, 'bash', line], { cwd: folder.path })
      expect(stderr).toBe('')
      const lines = stdout.trim().split('\n')
      // Without suggestions the shell's own file names follow.
      expect(lines.pop()).toBe('complete -o default -F _omniserve omniserve')
      return lines.filter((word) => word !== '')
    }
    expect(await at('omniserve do')).toEqual(['doctor'])
    expect(await at('omniserve ')).toEqual(expect.arrayContaining(COMMANDS))
    expect(await at('omniserve chat --sa')).toEqual(['--save-audio'])
    expect(await at('omniserve chat --voice=Che')).toEqual(['Cherry', 'Chelsie'])
    expect(await at('omniserve chat hello --voice Eldric\\ S')).toEqual([String.raw`Eldric\ Sage`])
    expect(await at('omniserve chat --image ca')).toEqual([])
    expect(await at('omniserve chat "$(touch evaluated)" --usa')).toEqual(['--usage'])
    expect(existsSync(path.join(folder.path, 'evaluated'))).toBe(false)
  })

  it('suggests commands, options and values', async () => {
    const suggest = async (...words: string[]) => (await run('complete', '--', ...words)).out
    const commands = await suggest('')
    for (const name of COMMANDS) expect(commands).toMatch(new RegExp(`^${name}\\t`, 'm'))
    expect(await suggest('chat', '--voice', '')).toMatch(/^Cherry\t/m)
    expect(await suggest('convert', '--quantize', '')).toMatch(/^q4_0/m)
    expect((await run('completion', 'tcsh')).code).toBe(2)
  })
})
