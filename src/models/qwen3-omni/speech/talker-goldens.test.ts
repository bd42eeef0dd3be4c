/** The talker's positions and input rows against transformers', for every golden conversation. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { goldenMessages, loadGoldens, tinyCheckpoint } from '../../../../testing/golden-conversations.ts'
import { parseConfig } from '../config.ts'
import { readCheckpointFiles } from '../../../prompt/checkpoint-files.ts'
import { createQwen3Prompt } from '../prompt/prompt-builder.ts'
import { openingRows, planTalkerPrompt } from './talker-prompt.ts'

describe.each(['tiny-moe', 'tiny-mixed', 'tiny-dense'])('%s', async (name) => {
  const goldens = await loadGoldens(name)
  const folder = tinyCheckpoint(name)
  const builder = createQwen3Prompt(await readCheckpointFiles(folder))
  const config = parseConfig(JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')))

  it.each(goldens.cases)('$name', async (golden) => {
    const prompt = await builder.prepare(goldenMessages(golden))
    const plan = planTalkerPrompt(prompt, config.speech!.ids)
    const expected = goldens.array(`case.${golden.name}.talker-prefill-positions`)!
    expect(plan.userRows.length + openingRows).toBe(expected.length / 3)
    // At three frames a second positions are fractions, in single precision there; all others are exact.
    const tolerance = golden.name === 'video-three-fps' ? 1e-4 : 0
    const worst = plan.positions.reduce((most, value, index) => Math.max(most, Math.abs(value - expected[index]!)), 0)
    expect(worst).toBeLessThanOrEqual(tolerance)
    const steps = goldens.array(`case.${golden.name}.talker-step-positions`)
    if (steps) expect(Math.abs(plan.nextPosition - steps[0]!)).toBeLessThanOrEqual(tolerance)
  })
})
