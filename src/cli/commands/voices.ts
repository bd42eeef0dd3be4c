/** `omniserve voices`: lists the models' voices, and the checkpoint's speakers for them. */
import { type Command } from 'commander'
import type { VoiceListing } from '../../protocol/index.ts'
import { readResponse } from '../api-connection.ts'
import { connect } from '../connect.ts'
import { EXIT_HELP } from '../exit.ts'
import { interruptSignal } from '../interrupt.ts'
import { addConnectionOptions, type ConnectionFlags, settingFlags } from '../options.ts'
import { exitOnClosedPipe, print, printJson, styled, table } from '../output.ts'

interface VoicesFlags extends ConnectionFlags {
  readonly model?: string
  readonly json?: boolean
}

export function addVoicesCommand(program: Command): void {
  const command = program
    .command('voices')
    .description('List voices, their languages, and their speakers in the checkpoint')
    .option('--model <name>', 'API model (default: all)')
    .option('--json', 'print JSON as from GET /v1/voices')
  addConnectionOptions(command)
    .addHelpText(
      'after',
      `
A voice is "own" if the checkpoint was trained with it; others use the speaker that is listed.

Examples:
  omniserve voices --model qwen3-omni-flash
  omniserve voices --model qwen3-omni-flash-2025-12-01 --json
${EXIT_HELP}`,
    )
    .action(async (flags: VoicesFlags) => voices(flags))
}

async function voices(flags: VoicesFlags): Promise<void> {
  exitOnClosedPipe()
  const signal = interruptSignal()
  const { voiceListSchema } = await import('../../protocol/index.ts')
  await using api = await connect({ ...flags, flags: settingFlags(flags), load: false, signal })
  const query = flags.model === undefined ? '' : `?model=${encodeURIComponent(flags.model)}`
  const list = await readResponse(await api.fetch(`/voices${query}`, { signal }), voiceListSchema)
  if (flags.json === true) {
    printJson(list)
    return
  }
  for (const [index, model] of list.data.entries()) {
    if (index > 0) print()
    print(styled('bold', `${model.model} (default ${model.default_voice})`))
    // The Chinese name has wide characters, so it is the last column.
    const rows = model.voices.map((voice) => [
      voice.name,
      spokenBy(voice),
      voice.dialect ?? voice.languages.join(' '),
      voice.description,
      voice.display_name,
    ])
    print(table(['VOICE', 'HERE', 'SPEAKS', 'DESCRIPTION', 'NAME'], rows))
  }
}

function spokenBy({ native, spoken_by: speaker }: VoiceListing): string {
  if (native === null) return 'no speech'
  return native ? 'own' : `as ${speaker}`
}
