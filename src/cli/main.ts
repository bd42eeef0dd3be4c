#!/usr/bin/env node
/** The `omniserve` command. One file per subcommand in `commands/`; only the called one is loaded. */
import { Command, CommanderError } from 'commander'
import { EXIT, EXIT_HELP, explainFailure } from './exit.ts'
import { clearStatus, endWithReader } from './output.ts'
import { packageInfo } from './package-info.ts'

type AddCommand = (program: Command) => void

/** In the order that `--help` lists them. */
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

/** @param only the one subcommand to load; all when it is none of them */
async function createProgram(only: string | undefined): Promise<Command> {
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
  const names = only !== undefined && Object.hasOwn(COMMANDS, only) ? [only] : Object.keys(COMMANDS)
  for (const name of names) (await COMMANDS[name]?.())?.(program)
  if (names.length > 1) {
    const { addCompletionCommand } = await import('./commands/completion.ts')
    await addCompletionCommand(program)
  }
  // Subcommands made by `command()` inherit these settings when they are made; those added elsewhere need them too.
  for (const command of program.commands) command.exitOverride()
  return program
}

try {
  // Help, which commander prints before any command runs, may be read through `head` too.
  if (process.argv.length < 3 || process.argv.some((word) => word === '--help' || word === '-h')) endWithReader()
  const program = await createProgram(process.argv[2])
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its message, or the help.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  } else {
    clearStatus()
    const { exitCode, text } = explainFailure(error)
    process.stderr.write(`${text}\n`)
    process.exitCode = exitCode
  }
}
