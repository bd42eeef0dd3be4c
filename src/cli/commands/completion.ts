/** `omniserve completion SHELL`: a script for the shell, which asks `omniserve complete -- WORDS` at every Tab. */
import tab from '@bomb.sh/tab/commander'
import type { Command } from 'commander'
import { createCatalogue, VOICES } from '../../catalogue/index.ts'
import { weightTypes } from '../../weights/weight-types.ts'
import { EXIT_HELP } from '../exit.ts'

/** To be called when all other commands are there. */
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
  suggest('quantize', [['auto', 'what this machine holds'], ...weightTypes.map((type) => [type, ''] as const)])
  suggest(
    'device',
    ['auto', 'cpu', 'cuda', 'metal', 'vulkan'].map((device) => [device, ''] as const),
  )
  suggest(
    'log-level',
    ['debug', 'info', 'warn', 'error', 'silent'].map((level) => [level, ''] as const),
  )
  const command = program.commands.find((candidate) => candidate.name() === 'completion')
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
