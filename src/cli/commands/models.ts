/** `omniserve models`: lists the API models with their limits, and the checkpoints on this machine. */
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { homeFolder, packageFolder } from '../../config/paths.ts'
import { type ApiConnection, readResponse } from '../api-connection.ts'
import { connect } from '../connect.ts'
import { EXIT_HELP, failureText } from '../exit.ts'
import { findCheckpoint, isCheckpoint } from '../find-checkpoint.ts'
import { interruptSignal } from '../interrupt.ts'
import { addConnectionOptions, type ConnectionFlags, settingFlags } from '../options.ts'
import { bytesText, countText, exitOnClosedPipe, listText, print, printJson, styled, table } from '../output.ts'

interface LocalCheckpoint {
  readonly name: string
  readonly location: string
  readonly architecture?: string
  readonly weights?: string
  readonly bytes?: number
  readonly context_length?: number
  readonly input_modalities?: readonly string[]
  readonly output_modalities?: readonly string[]
  readonly thinking?: boolean
  readonly speakers?: readonly string[]
  /** Why it cannot be loaded. */
  readonly problem?: string
}

export function addModelsCommand(program: Command): void {
  const command = program
    .command('models')
    .description('List the API models with their limits, and the checkpoints on this machine')
    .option('--json', 'print JSON: `data` as from GET /v1/models, and `checkpoints`')
  addConnectionOptions(command)
    .addHelpText(
      'after',
      `
Examples:
  omniserve models
  omniserve models --checkpoint ./Qwen3-Omni-30B-A3B-Instruct --json
  omniserve models --url http://127.0.0.1:8000
${EXIT_HELP}`,
    )
    .action(async (flags: ConnectionFlags & { readonly json?: boolean }) => models(flags))
}

async function models(flags: ConnectionFlags & { readonly json?: boolean }): Promise<void> {
  exitOnClosedPipe()
  const signal = interruptSignal()
  const { modelListSchema } = await import('../../protocol/index.ts')
  await using api = await connect({ ...flags, flags: settingFlags(flags), load: false, signal })
  const response = await api.fetch('/models', { signal })
  const list = await readResponse(response, modelListSchema)
  const checkpoints = api.remote ? [] : await localCheckpoints(api)
  if (flags.json === true) {
    printJson({ ...list, ...(api.remote ? {} : { checkpoints }) })
    return
  }
  print(
    table(
      ['API MODEL', 'CONTEXT', 'INPUT', 'OUTPUT', 'THINKS', 'VOICES', 'ANSWERED BY'],
      list.data.map((model) => [
        model.id,
        countText(model.limits.normal.context_length),
        countText(model.limits.normal.max_input),
        countText(model.limits.normal.max_output),
        model.limits.thinking === undefined ? 'no' : `${countText(model.limits.thinking.max_reasoning ?? 0)} tokens`,
        String(model.voices.length),
        model.served_by?.checkpoint ?? '-',
      ]),
    ),
  )
  if (api.remote) return
  print()
  print(
    table(
      ['CHECKPOINT', 'WEIGHTS', 'SIZE', 'CONTEXT', 'READS', 'SPEAKS', 'THINKS'],
      checkpoints.map((row) =>
        row.problem === undefined
          ? [
              row.name,
              row.weights ?? '',
              bytesText(row.bytes ?? 0),
              countText(row.context_length ?? 0),
              (row.input_modalities ?? []).join(' '),
              (row.speakers ?? []).length === 0 ? 'no' : listText(row.speakers ?? [], 2),
              row.thinking === true ? 'yes' : 'no',
            ]
          : [row.name, styled('red', row.problem)],
      ),
    ),
  )
}

/** Built-in checkpoints, pulled ones, and those of the settings. */
async function localCheckpoints(api: ApiConnection): Promise<LocalCheckpoint[]> {
  const pulled = await pulledNames(path.join(homeFolder(), 'checkpoints'))
  const models = path.join(packageFolder, 'models')
  // The folder also has the voice activity detector, which is not a checkpoint.
  const builtIn = (await folderNames(models)).filter((name) => isCheckpoint(path.join(models, name)))
  const all = [...new Set([...api.engines.keys(), ...builtIn, ...pulled])]
  return Promise.all(all.map(describe))
}

async function describe(name: string): Promise<LocalCheckpoint> {
  let location = ''
  try {
    const found = findCheckpoint(name)
    location = found.location
    const { readCheckpointFacts } = await import('../../engines/unloaded/unloaded-engine.ts')
    const { model, speakers, weightBytes } = await readCheckpointFacts(found)
    return {
      name,
      location,
      architecture: model.architecture,
      weights: model.weights,
      bytes: weightBytes,
      context_length: model.contextLength,
      input_modalities: model.input,
      output_modalities: model.output,
      thinking: model.thinking,
      speakers,
    }
  } catch (error) {
    return { name, location, problem: failureText(error) }
  }
}

async function pulledNames(folder: string): Promise<string[]> {
  const owners = await folderNames(folder)
  const nested = await Promise.all(
    owners.map(async (owner) => (await folderNames(path.join(folder, owner))).map((name) => `${owner}/${name}`)),
  )
  return nested.flat()
}

/** Names of the folders in `folder`; empty if it does not exist. */
async function folderNames(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  } catch {
    return []
  }
}
