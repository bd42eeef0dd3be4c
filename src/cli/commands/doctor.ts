/** `omniserve doctor`: checks everything that a server needs on this machine and names the fixes. */
import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { DeviceKind } from '../../tensor/index.ts'
import type { Check } from '../check.ts'
import { EXIT, EXIT_HELP } from '../exit.ts'
import { interruptSignal } from '../interrupt.ts'
import { exitOnClosedPipe, print, printJson, styled } from '../output.ts'
import { addSettingsOptions, configFileOf, settingsFromOptions } from '../settings-options.ts'

interface DoctorFlags extends Record<string, unknown> {
  readonly json?: boolean
  readonly probe?: DeviceKind
  readonly probePlacement?: DeviceKind
}

export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description('Check this machine and report what to fix')
    .option('--json', 'print JSON')
    // The numeric library can end its process, so each device is tried in a child process with one of these options.
    .addOption(new Option('--probe <device>').hideHelp())
    .addOption(new Option('--probe-placement <device>').hideHelp())
  addSettingsOptions(command, ['host', 'port', 'model', 'device', 'gpuPrecision', 'threads'])
    .addHelpText(
      'after',
      `
Checks Node, the processor, memory, the numeric library and GPUs (with a self-test), the media
decoder (with an image and audio), the checkpoint's files, memory and weights, the port, the disk
and the audio player. With pools in the configuration file it also checks each replica. The exit
code is 1 when something must be fixed.

Examples:
  omniserve doctor
  omniserve doctor --config cluster.yaml
  omniserve doctor --model Qwen/Qwen3-Omni-30B-A3B-Instruct --port 9000 --json
${EXIT_HELP}`,
    )
    .action(async (flags: DoctorFlags) => doctor(flags))
}

async function doctor(flags: DoctorFlags): Promise<void> {
  exitOnClosedPipe()
  if (flags.probe !== undefined) {
    const { probeDevice } = await import('../device-checks.ts')
    printJson(await probeDevice(flags.probe))
    return
  }
  const settings = await settingsFromOptions(flags)
  if (flags.probePlacement !== undefined) {
    const { probePlacement } = await import('../placement-check.ts')
    printJson(await probePlacement(settings, flags.probePlacement))
    return
  }
  const signal = interruptSignal()
  const checks: Check[] = []
  const report = (check: Check): void => {
    checks.push(check)
    if (flags.json !== true) show(check)
  }
  const [{ loadClusterFile }, { checkMachine }] = await Promise.all([
    import('../../config/index.ts'),
    import('../checks.ts'),
  ])
  const file = configFileOf(flags)
  const cluster = file === undefined || !existsSync(file) ? undefined : await loadClusterFile(file)
  for await (const check of checkMachine(settings, signal)) {
    // A cluster does not use `--model`; `checkCluster` checks the checkpoints of its pools.
    if (cluster === undefined || check.name !== 'checkpoint') report(check)
  }
  if (cluster !== undefined && file !== undefined) {
    const { checkCluster } = await import('../cluster-checks.ts')
    for await (const check of checkCluster(cluster, settings, file, signal)) report(check)
  }
  const failed = checks.filter(({ status }) => status === 'fail').length
  const warned = checks.filter(({ status }) => status === 'warn').length
  if (flags.json === true) printJson({ ok: failed === 0, checks })
  else if (failed > 0) print(`\n${failed} to fix${warned > 0 ? `, ${notes(warned)}` : ''}.`)
  else print(warned > 0 ? `\nReady, with ${notes(warned)}.` : '\nReady.')
  if (failed > 0) process.exitCode = EXIT.failed
}

const notes = (count: number): string => `${count} ${count === 1 ? 'note' : 'notes'}`

const marks = {
  ok: ['green', 'ok  '],
  warn: ['yellow', 'note'],
  fail: ['red', 'FAIL'],
  absent: ['dim', 'none'],
} as const

function show({ name, status, found, fix }: Check): void {
  const [colour, mark] = marks[status]
  print(`${styled(colour, mark)}  ${name.padEnd(16)}  ${found}`)
  if (fix !== undefined) print(`${' '.repeat(24)}${styled('bold', fix)}`)
}
