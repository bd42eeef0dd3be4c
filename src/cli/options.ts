/** Options that several commands share, and readers of their values. */
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

/** `--url` and `--api-key`, and `--checkpoint` for answering without a server. */
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

/** How the model runs, for commands that load weights. */
export function addRunOptions(command: Command): Command {
  return addSettingsOptions(command, ['device', 'gpuPrecision', 'threads', 'contextLength'], { file: false })
}

/** Repeatable option. */
export function collect(value: string, before: readonly string[] | undefined): string[] {
  if (value === '') throw new InvalidArgumentError('It must not be empty.')
  return [...(before ?? []), value]
}

/** A number option; the API checks further ranges. */
export function numberIn(least: number, most = Number.POSITIVE_INFINITY): (value: string) => number {
  return (value) => {
    const number = Number(value)
    if (value.trim() === '' || Number.isNaN(number) || number < least || number > most) {
      throw new InvalidArgumentError(
        Number.isFinite(most)
          ? `It must be a number from ${least} to ${most}.`
          : `It must be a number, ${least} or more.`,
      )
    }
    return number
  }
}

export function integerFrom(least: number): (value: string) => number {
  return (value) => {
    const number = Number(value)
    if (value.trim() === '' || !Number.isSafeInteger(number) || number < least) {
      throw new InvalidArgumentError(`It must be a whole number, ${least} or more.`)
    }
    return number
  }
}

/** The settings among a command's options, for the api. */
export function settingFlags(flags: ConnectionFlags): Readonly<Record<string, unknown>> {
  const { device, gpuPrecision, threads, contextLength, region } = flags
  return { device, gpuPrecision, threads, contextLength, region }
}
