/** `omniserve pull`: a checkpoint from Hugging Face or ModelScope, resumed and checked, into the folder `--model ID` looks in. */
import path from 'node:path'
import { type Command, Option } from 'commander'
import { pulledFolder } from '../../config/index.ts'
import { parseHubId, pullCheckpoint } from '../../weights/hub/pull.ts'
import { EXIT_HELP } from '../exit.ts'
import { interruptSignal } from '../interrupt.ts'
import { integerFrom } from '../options.ts'
import { bytesText, listText, note, print, printJson, status, warn } from '../output.ts'
import { createProgress } from '../progress.ts'

interface PullFlags {
  readonly hub?: 'huggingface' | 'modelscope'
  readonly revision?: string
  readonly folder?: string
  readonly parallel: number
  readonly json?: boolean
}

export function addPullCommand(program: Command): void {
  program
    .command('pull')
    .description('Fetch a checkpoint from Hugging Face or ModelScope')
    .argument('<id>', 'OWNER/NAME, or modelscope:OWNER/NAME')
    .addOption(
      new Option('--hub <name>', 'where to fetch from (default: huggingface)').choices(['huggingface', 'modelscope']),
    )
    .option('--revision <name>', 'branch, tag or commit')
    .option('--folder <dir>', 'where the files go (default: OMNISERVE_HOME/checkpoints/OWNER/NAME)')
    .option('--parallel <files>', 'files at a time', integerFrom(1), 4)
    .option('--json', 'print what was fetched as JSON')
    .addHelpText(
      'after',
      `
Run again after a stop, it resumes. Every file is checked against the hub's hash; files that have none are listed.
HF_TOKEN or MODELSCOPE_API_TOKEN give access to what is not public; HF_ENDPOINT or MODELSCOPE_ENDPOINT name a mirror.

Examples:
  omniserve pull Qwen/Qwen3-Omni-30B-A3B-Instruct
  omniserve pull modelscope:Qwen/Qwen3-Omni-30B-A3B-Instruct --folder ./qwen3-omni
${EXIT_HELP}`,
    )
    .action(async (id: string, flags: PullFlags) => pull(id, flags))
}

async function pull(given: string, flags: PullFlags): Promise<void> {
  const { hub, id } = parseHubId(given, flags.hub)
  const folder = path.resolve(flags.folder ?? pulledFolder(id))
  const progress = createProgress('bytes')
  status(`asking ${hub} for ${id} ...`)
  let result
  try {
    result = await pullCheckpoint(id, {
      hub,
      folder,
      parallel: flags.parallel,
      ...(flags.revision !== undefined && { revision: flags.revision }),
      onProgress: ({ bytesDone, bytes, file, filesDone, files }) =>
        progress.update(bytesDone, bytes, `${filesDone}/${files} ${file}`),
      signal: interruptSignal(),
    })
  } finally {
    progress.stop()
  }
  if (result.unverified.length > 0) {
    warn(`${hub} gives no hash for ${listText(result.unverified)}: only the size was checked`)
  }
  const name = flags.folder === undefined ? id : folder
  const advice = await adviceFor(folder, name)
  if (flags.json === true) {
    const { files, bytes, bytesFetched, revision, unverified } = result
    printJson({ id, hub, revision, folder, files, bytes, bytes_fetched: bytesFetched, unverified, advice })
    return
  }
  const fetched = result.bytesFetched === 0 ? 'all there already' : `${bytesText(result.bytesFetched)} fetched`
  print(`${id}: ${result.files.length} files, ${bytesText(result.bytes)} (${fetched}), in ${folder}`)
  note(advice)
}

/** What to do next, by what was fetched and what this machine holds. */
async function adviceFor(folder: string, name: string): Promise<string> {
  const [{ readCheckpointFacts }, { adviseType }, { explainFailure }, { totalmem }] = await Promise.all([
    import('../../engines/unloaded/unloaded-engine.ts'),
    import('../memory-advice.ts'),
    import('../exit.ts'),
    import('node:os'),
  ])
  try {
    const { description, weightBytes } = await readCheckpointFacts({ location: folder, id: name })
    const { type, bytes, room } = adviseType(description)
    if (weightBytes <= room) return `Next: omniserve serve --model ${name}`
    const machine = `its ${bytesText(weightBytes)} of weights are more than this machine (${bytesText(totalmem())}) holds`
    return type === undefined
      ? `It will not run here: ${machine}, and ${bytesText(bytes)} when quantised to 4 bits.`
      : `Next, because ${machine}: omniserve convert ${name} --quantize ${type}   (${bytesText(bytes)})`
  } catch (error) {
    return `It cannot be served: ${explainFailure(error).text.replace(/^omniserve: /, '')}`
  }
}
