#!/usr/bin/env node
/** The `omniserve` command. Each subcommand has a file in `commands/`, and only the called one is loaded. */
import { Command, CommanderError } from 'commander'
import { EXIT, EXIT_HELP, explainFailure } from './exit.ts'
import { clearStatus, exitOnClosedPipe } from './output.ts'
import { packageInfo } from './package-info.ts'

type AddCommand = (program: Command) => void

/** In the order of `--help`. */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  serve: async () => (await import('./commands/serve.ts')).addServeCommand,
  chat: async () => (await import('./commands/chat.ts')).addChatCommand,
  pull: async () => (await import('./commands/pull.ts')).addPullCommand,
  convert: async () => (await import('./commands/convert.ts')).addConvertCommand,
  models: async () => (await import('./commands/models.ts')).addModelsCommand,
  voices: async () => (await import('./commands/voices.ts')).addVoicesCommand,
  tokens: async () => (await import('./commands/tokens.ts')).addTokensCommand,
  bench: async () => (await import('./commands/bench.ts')).addBenchCommand,
  cluster: async () => (await import('./commands/cluster.ts')).addClusterCommand,
  doctor: async () => (await import('./commands/doctor.ts')).addDoctorCommand,
  verify: async () => (await import('./commands/verify.ts')).addVerifyCommand,
}

/** @param subcommand the only one to load; all are loaded if it is unknown */
async function createProgram(subcommand: string | undefined): Promise<Command> {
  const program = new Command('omniserve')
    .description('Qwen-Omni on your own machine')
    .version(packageInfo.version, '-V, --version')
    .showHelpAfterError('(see omniserve COMMAND --help)')
    .addHelpText(
      'after',
      `
Examples:
  omniserve serve
  omniserve chat "Who are you?" --play
  omniserve chat --help
${EXIT_HELP}`,
    )
    .exitOverride()
  const names = subcommand !== undefined && Object.hasOwn(COMMANDS, subcommand) ? [subcommand] : Object.keys(COMMANDS)
  for (const name of names) (await COMMANDS[name]?.())?.(program)
  if (names.length > 1) {
    const { addCompletionCommand } = await import('./commands/completion.ts')
    await addCompletionCommand(program)
  }
  // Subcommands that the completion library adds do not inherit this setting.
  for (const command of program.commands) command.exitOverride()
  return program
}

try {
  // Commander prints help before any command runs, and its output may be piped to `head`.
  if (process.argv.length < 3 || process.argv.some((word) => word === '--help' || word === '-h')) exitOnClosedPipe()
  const program = await createProgram(process.argv[2])
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has already printed its message or the help.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  } else {
    clearStatus()
    const { exitCode, text } = explainFailure(error)
    process.stderr.write(`${text}\n`)
    process.exitCode = exitCode
  }
}
