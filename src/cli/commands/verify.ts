/** `omniserve verify`: tests a checkpoint's modalities, speech and arithmetic on this machine. */
import { type Command, Option } from 'commander'
import { EXIT_HELP } from '../exit.ts'
import { integerFrom } from '../options.ts'
import { addSettingsOptions } from '../settings-options.ts'
import type { VerifyFlags } from '../verify/verify-checkpoint.ts'

export function addVerifyCommand(program: Command): void {
  const command = program
    .command('verify')
    .description('Check that a checkpoint works: images, audio, speech, arithmetic, repeatability')
    .argument('[checkpoint]', 'folder, converted file, or the id of a pulled checkpoint (default: the setting `model`)')
    .option('--against <checkpoint>', 'the same model with other weight types, to compare the tokens they choose')
    .addOption(
      new Option('--level <level>', 'full: for published Qwen-Omni checkpoints; demo: for nano')
        .choices(['full', 'demo'])
        .default('full'),
    )
    .option('--seed <number>', 'chooses the numbers, words and sums', integerFrom(0), 1)
    .option('--json <file>', 'write a report with every question and answer, to attach to an issue')
  addSettingsOptions(command, [
    'device',
    'gpuPrecision',
    'threads',
    'contextLength',
    'speechSolver',
    'speechSteps',
    'speechGuidance',
  ])
    .addHelpText(
      'after',
      `
No reference is needed. The checkpoint answers sums, reads numbers and words from images, speaks
English and Chinese sentences in two voices and transcribes them. Replies are repeated, one at a
time and two at once, and streamed speech is compared with speech decoded in one piece. What a
checkpoint does not support is listed as not checked. The report has no paths, keys or host name.
The exit code is 1 when a check fails.

Examples:
  omniserve verify nano --level demo
  omniserve verify Qwen/Qwen3-Omni-30B-A3B-Instruct --json report.json
  omniserve verify omni-q4_0.gguf --against omni-q8_0.gguf
${EXIT_HELP}`,
    )
    .action(async (checkpoint: string | undefined, flags: VerifyFlags) => {
      const { verify } = await import('../verify/verify-checkpoint.ts')
      await verify(checkpoint, flags)
    })
}
