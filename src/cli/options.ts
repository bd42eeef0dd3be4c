/** Options that several commands share, and parsers of their values. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { addSettingsOptions } from './settings-options.ts'

export interface ConnectionFlags {
  readonly url?: string
  readonly apiKey?: string
  readonly checkpoint?: string
  readonly device?: string
  readonly gpuPrecision?: string
  readonly threads?: string
  readonly contextLength?: string
  readonly region?: string
  readonly verbose?: boolean
}

/** Adds the options that select a server or a checkpoint, and the region. */
export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', 'API server to use; without it the checkpoint runs here').env('OMNISERVE_URL'))
    .addOption(new Option('--api-key <key>', 'key for --url').env('OMNISERVE_API_KEY'))
    .option('--checkpoint <name|dir|hub-id>', 'checkpoint to run here (OMNISERVE_MODEL, default: nano)')
    .addOption(
      new Option('--region <region>', 'region for models and prices (OMNISERVE_REGION, default: intl)').choices([
        'intl',
        'cn',
      ]),
    )
}

/** Adds the options for running a model, for commands that load weights. */
export function addRunOptions(command: Command): Command {
  return addSettingsOptions(command, ['device', 'gpuPrecision', 'threads', 'contextLength'], { file: false })
}

/** A parser of numbers within a range. The API checks narrower ranges. */
export function numberIn(min: number, max = Number.POSITIVE_INFINITY): (value: string) => number {
  return (value) => {
    const number = Number(value)
    if (value.trim() === '' || Number.isNaN(number) || number < min || number > max) {
      throw new InvalidArgumentError(
        Number.isFinite(max) ? `It must be a number from ${min} to ${max}.` : `It must be a number, ${min} or more.`,
      )
    }
    return number
  }
}

/** A parser of integers. */
export function integerFrom(min: number): (value: string) => number {
  return (value) => {
    const number = Number(value)
    if (value.trim() === '' || !Number.isSafeInteger(number) || number < min) {
      throw new InvalidArgumentError(`It must be a whole number, ${min} or more.`)
    }
    return number
  }
}

/** The settings among a command's options. */
export function settingFlags(flags: ConnectionFlags): Readonly<Record<string, unknown>> {
  const { device, gpuPrecision, threads, contextLength, region } = flags
  return { device, gpuPrecision, threads, contextLength, region }
}
