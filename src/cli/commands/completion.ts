/**
 * `omniserve completion SHELL`: prints a script for the shell, which calls `omniserve complete -- WORDS` at every Tab.
 */
import tab from '@bomb.sh/tab/commander'
import type { Command } from 'commander'
import { createCatalogue, VOICES } from '../../catalogue/index.ts'
import { weightTypes } from '../../weights/weight-types.ts'
import { BASH_COMPLETION } from '../completion-bash.ts'
import { EXIT_HELP } from '../exit.ts'
import { print } from '../output.ts'

/** Ends the list of suggestions. 0: the shell adds file names. */
const WITH_FILE_NAMES = ':0'

/** The lines that `work` prints with `console.log`, as the library does. */
function capturedLines(work: () => void): string[] {
  const lines: string[] = []
  const { log } = console
  console.log = (line: unknown) => lines.push(String(line))
  try {
    work()
  } finally {
    console.log = log
  }
  return lines
}

/** Must be called after all other commands are registered. */
export async function addCompletionCommand(program: Command): Promise<void> {
  const root = tab(program, { completionCommandName: 'completion' })
  const suggest = (
    option: string,
    values: readonly (readonly [string, string])[],
    commands?: readonly string[],
  ): void => {
    for (const [name, command] of root.commands) {
      if (commands !== undefined && !commands.includes(name)) continue
      const found = command.options.get(option)
      if (found !== undefined) {
        found.handler = (complete) => {
          for (const [value, description] of values) complete(value, description)
        }
      }
    }
  }
  const models = createCatalogue('intl').models.map(({ id, family }) => [id, family] as const)
  suggest('model', models, ['chat', 'voices', 'tokens', 'bench'])
  suggest(
    'voice',
    VOICES.map(({ name, description }) => [name, description] as const),
  )
  suggest('quantize', [
    ['auto', 'the finest that fits this machine'],
    ...weightTypes.map((type) => [type, ''] as const),
  ])
  suggest(
    'device',
    ['auto', 'cpu', 'cuda', 'metal', 'vulkan'].map((device) => [device, ''] as const),
  )
  suggest(
    'log-level',
    ['debug', 'info', 'warn', 'error', 'silent'].map((level) => [level, ''] as const),
  )
  const subcommand = (name: string): Command | undefined =>
    program.commands.find((candidate) => candidate.name() === name)
  subcommand('complete')?.action((words: string[]) => {
    const lines = capturedLines(() => root.parse(words))
    print(lines.length > 1 ? lines.join('\n') : WITH_FILE_NAMES)
  })
  const command = subcommand('completion')
  command?.action((shell: string) => {
    if (shell === 'bash') print(BASH_COMPLETION)
    else root.setup('omniserve', 'omniserve', shell)
  })
  command?.description('Print a completion script for a shell').addHelpText(
    'after',
    `
Examples:
  omniserve completion bash > ~/.local/share/bash-completion/completions/omniserve
  omniserve completion zsh > "\${fpath[1]}/_omniserve"
  omniserve completion fish > ~/.config/fish/completions/omniserve.fish
${EXIT_HELP}`,
  )
}
