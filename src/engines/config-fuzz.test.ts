/**
 * Broken values in a checkpoint's small files are found when it is opened: one clear error that names file and key, or
 * a checkpoint that opens.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tinyCheckpoint } from '../../testing/golden-conversations.ts'
import { seededRandom } from '../../testing/seeded-random.ts'
import { EngineError } from '../contract/index.ts'
import { openModel } from './open-model.ts'

type Path = readonly (string | number)[]

const files = ['config.json', 'preprocessor_config.json', 'generation_config.json'] as const
type File = (typeof files)[number]

class Mutated {
  readonly folder = mkdtempSync(join(tmpdir(), 'broken-'))
  readonly texts: ReadonlyMap<File, string>

  constructor(name: string) {
    const source = tinyCheckpoint(name)
    this.texts = new Map(files.map((file) => [file, readFileSync(join(source, file), 'utf8')]))
    for (const file of readdirSync(source))
      if (!(files as readonly string[]).includes(file)) symlinkSync(join(source, file), join(this.folder, file))
  }

  /** Opens the checkpoint with one value replaced, or left out; returns what it fails with. */
  async open(broken: File, path: Path, value: unknown): Promise<unknown> {
    for (const [file, text] of this.texts) {
      const json = JSON.parse(text) as Record<string | number, unknown>
      if (file === broken) {
        const parent = path.slice(0, -1).reduce((at, key) => at[key] as Record<string | number, unknown>, json)
        if (value === undefined) delete parent[path.at(-1)!]
        else parent[path.at(-1)!] = value
      }
      writeFileSync(join(this.folder, file), JSON.stringify(json))
    }
    try {
      using opened = await openModel(this.folder)
      expect(opened.description.declarations.length).toBeGreaterThan(0)
      return undefined
    } catch (error) {
      return error
    }
  }
}

const parse = (path: string): Path => path.split('/').map((key) => (/^\d+$/.test(key) ? Number(key) : key))

/** Values that no graph, sampler or prompt can use. */
const unusable: Record<string, readonly (readonly [File, string, unknown])[]> = {
  'tiny-moe': [
    ['config.json', 'assistant_token_id', 266],
    ['config.json', 'user_token_id', 266],
    ['config.json', 'im_start_token_id', 12],
    ['config.json', 'tts_pad_token_id', 1_000_000],
    ['config.json', 'thinker_config/image_token_id', 407],
    ['config.json', 'thinker_config/audio_token_id', 1_000_000],
    ['config.json', 'thinker_config/video_token_id', 3],
    ['config.json', 'thinker_config/audio_start_token_id', 5],
    ['config.json', 'thinker_config/vision_end_token_id', 5],
    ['config.json', 'thinker_config/position_id_per_seconds', 0],
    ['config.json', 'thinker_config/text_config/rms_norm_eps', -1e-6],
    ['config.json', 'code2wav_config/rms_norm_eps', -1],
    ['config.json', 'code2wav_config/sliding_window', 1e9],
    ['config.json', 'talker_config/code_predictor_config/rope_parameters/rope_theta', -1],
    ['preprocessor_config.json', 'rescale_factor', 0],
    ['generation_config.json', 'talker_temperature', -1],
    ['generation_config.json', 'talker_top_k', 1.5],
    ['generation_config.json', 'talker_top_p', 1.5],
    ['generation_config.json', 'talker_repetition_penalty', 0],
    ['generation_config.json', 'talker_max_new_tokens', 'NaN'],
  ],
  'tiny25-grouped': [
    ['config.json', 'thinker_config/image_token_index', 3],
    ['config.json', 'thinker_config/audio_token_index', 1_000_000],
    ['config.json', 'thinker_config/vision_start_token_id', 5],
    ['config.json', 'thinker_config/seconds_per_chunk', 0],
    ['config.json', 'talker_config/rms_norm_eps', -1],
    ['config.json', 'token2wav_config/dit_config/enc_dilations/2', 999],
    ['config.json', 'token2wav_config/bigvgan_config/resblock_dilation_sizes/0/0', 1e9],
    ['generation_config.json', 'talker_top_p', 0],
  ],
}

describe.each(Object.entries(unusable))('%s', (name, cases) => {
  let mutated: Mutated
  beforeAll(() => {
    mutated = new Mutated(name)
  })
  afterAll(() => rmSync(mutated.folder, { recursive: true }))

  it.each(cases)('%s: %s as %j is refused by name', async (file, path, value) => {
    const key = path.split('/').findLast((part) => !/^\d+$/.test(part))
    const error = await mutated.open(file, parse(path), value)
    expect(error).toMatchObject({ code: 'bad_checkpoint' })
    expect((error as Error).message).toContain(`${file}: `)
    expect((error as Error).message).toContain(key)
  })

  it('opens, or says what is wrong, whatever one value is', async () => {
    expect(await mutated.open('config.json', ['_'], undefined)).toBeUndefined()
    const random = seededRandom(14)
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
    for (let round = 0; round < 40; round += 1) {
      const file = pick([...files, 'config.json', 'config.json'] as const)
      const path = pick(pathsOf(JSON.parse(mutated.texts.get(file)!)))
      const value = pick([undefined, null, 0, -1, 1.5, 1e9, 2 ** 40, 'NaN', '3', true, [], [1, 2], {}, 1e300, -0.5])
      const error = await mutated.open(file, path, value)
      const label = `${file} ${path.join('.')}: ${JSON.stringify(value)}`
      if (error !== undefined) {
        expect(error, label).toBeInstanceOf(EngineError)
        expect((error as EngineError).code, label).toBe('bad_checkpoint')
      }
    }
  })
})

function pathsOf(value: unknown, path: Path = []): Path[] {
  const own = path.length > 0 ? [path] : []
  if (typeof value !== 'object' || value === null) return own
  const inner = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  return [...own, ...inner.flatMap(([key, child]) => pathsOf(child, [...path, key]))]
}
