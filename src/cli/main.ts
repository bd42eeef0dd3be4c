#!/usr/bin/env node
/** The `omniserve` command. One file per subcommand in `commands/`. */
import { Command, CommanderError } from 'commander'
import { addServeCommand } from './commands/serve.ts'
import { EXIT, EXIT_HELP, explainFailure } from './exit.ts'
import { packageInfo } from './package-info.ts'

export function createProgram(): Command {
  const program = new Command('omniserve')
    .description('Qwen-Omni on your own machine')
    .version(packageInfo.version, '-V, --version')
    .showHelpAfterError('(omniserve COMMAND --help shows what it takes)')
    .addHelpText('after', EXIT_HELP)
    .exitOverride()
  addServeCommand(program)
  // Subcommands made by `command()` take over these settings when they are made; those added elsewhere need them too.
  for (const command of program.commands) command.exitOverride()
  return program
}

try {
  await createProgram().parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its message, or the help that was asked for.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  } else {
    const { exitCode, text } = explainFailure(error)
    process.stderr.write(`${text}\n`)
    process.exitCode = exitCode
  }
}
