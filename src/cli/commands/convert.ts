/** `omniserve convert`: writes a checkpoint folder as one quantised file that loads fast. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import {
  parseWeightStage,
  parseWeightType,
  type WeightStage,
  weightStages,
  type WeightType,
  weightTypes,
} from '../../weights/weight-types.ts'
import { CommandError, EXIT, EXIT_HELP } from '../exit.ts'
import { findCheckpoint } from '../find-checkpoint.ts'
import { interruptSignal } from '../interrupt.ts'
import { integerFrom } from '../options.ts'
import { bytesText, note, print, printJson } from '../output.ts'

interface ConvertFlags {
  readonly quantize: string
  readonly stage?: Partial<Record<WeightStage, WeightType>>
  readonly output?: string
  readonly threads?: number
  readonly force?: boolean
  readonly json?: boolean
}

export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .description('Convert a checkpoint folder to one quantised file')
    .argument('<checkpoint>', 'folder, or the id of a pulled checkpoint')
    .option('--quantize <type>', `auto (the finest that fits this machine), or ${weightTypes.join(', ')}`, 'auto')
    .option('--stage <stage=type>', `another type for one of ${weightStages.join(', ')}; may be repeated`, readStage)
    .option('--output <file>', 'file to write (default: ./NAME-TYPE.gguf)')
    .option('--threads <threads>', 'threads (default: one per core)', integerFrom(1))
    .option('--force', 'replace an existing file')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Norms and biases stay in 32 bits. The code predictor, code2wav and the encoders keep at least 8
bits, unless --stage sets their type.

Examples:
  omniserve convert Qwen/Qwen3-Omni-30B-A3B-Instruct
  omniserve convert ./Qwen3-Omni-30B-A3B-Instruct --quantize q4_0 --stage talker=q8_0 --output omni.gguf
  omniserve convert ./Qwen3-Omni-30B-A3B-Instruct --stage code-predictor=q6_k   (speech faster, less exact)
  omniserve serve --model omni.gguf
${EXIT_HELP}`,
    )
    .action(async (checkpoint: string, flags: ConvertFlags) => convert(checkpoint, flags))
}

function readStage(
  value: string,
  previous: Partial<Record<WeightStage, WeightType>> | undefined,
): Partial<Record<WeightStage, WeightType>> {
  const [stage = '', type = ''] = value.split('=')
  try {
    return { ...previous, [parseWeightStage(stage)]: parseWeightType(type) }
  } catch (error) {
    throw new InvalidArgumentError(`${error instanceof Error ? error.message : ''}. Write STAGE=TYPE.`)
  }
}

async function convert(name: string, flags: ConvertFlags): Promise<void> {
  const requestedType = flags.quantize === 'auto' ? undefined : parseWeightType(flags.quantize)
  const { location, id } = findCheckpoint(name)
  const signal = interruptSignal()
  // Imported late, so that help and argument errors are fast.
  const [{ describeModel, supportedArchitectures }, { loadBackend }, weights, { adviseType }, { createProgress }] =
    await Promise.all([
      import('../../models/index.ts'),
      import('../../tensor/index.ts'),
      import('../../weights/index.ts'),
      import('../memory-advice.ts'),
      import('../progress.ts'),
    ])
  using checkpoint = await weights.openCheckpoint(location, { supported: supportedArchitectures, signal })
  const { declarations, naming, ...rest } = describeModel(checkpoint.config)
  const advice = adviseType({ declarations, naming, ...rest })
  const type = requestedType ?? advice.type
  if (type === undefined) {
    throw new CommandError(
      `${name} needs ${bytesText(advice.bytes)} even at 4 bits, and this machine can hold ${bytesText(advice.available)}; to convert it for another machine, give a type with --quantize`,
    )
  }
  const output = path.resolve(flags.output ?? `${path.basename(id)}-${type}.gguf`)
  if (existsSync(output) && flags.force !== true) {
    throw new CommandError(`${output} already exists; use --force to replace it, or another --output`, EXIT.usage)
  }
  if (requestedType === undefined) note(`quantising to ${type}, the finest type that fits this machine`)
  const startedAt = performance.now()
  const progress = createProgress('bytes')
  using backend = await loadBackend({
    device: 'cpu',
    ...(flags.threads !== undefined && { threads: flags.threads }),
  })
  let result
  try {
    result = await weights.convertCheckpoint(backend, checkpoint, declarations, {
      output,
      naming,
      type,
      ...(flags.stage !== undefined && { stages: flags.stage }),
      onProgress: ({ bytesDone, bytes, tensorsDone, tensors }) =>
        progress.update(bytesDone, bytes, `${tensorsDone}/${tensors} weights`),
      signal,
    })
  } finally {
    progress.stop()
  }
  const seconds = (performance.now() - startedAt) / 1000
  if (flags.json === true) {
    printJson({
      path: result.path,
      bytes: result.bytes,
      type,
      stages: flags.stage ?? {},
      fallbacks: result.fallbacks,
      ignored: result.ignored,
      seconds,
    })
    return
  }
  print(`${result.path}: ${bytesText(result.bytes)}, ${type}, in ${seconds.toFixed(1)} s`)
  if (result.fallbacks.length > 0) {
    note(
      `${result.fallbacks.length} weights have rows that do not divide into blocks of ${type} and use a finer type (listed with --json)`,
    )
  }
  note(`Next: omniserve serve --model ${path.relative(process.cwd(), result.path)}`)
}
