/**
 * `omniserve pull`: downloads a checkpoint from Hugging Face or ModelScope into the folder in which
 * `--model ID` looks.
 */
import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import { type Command, Option } from 'commander'
import { pulledFolder } from '../../config/paths.ts'
import type { Licence } from '../../weights/hub/licence.ts'
import { CommandError, EXIT, EXIT_HELP } from '../exit.ts'
import { interruptSignal } from '../interrupt.ts'
import { integerFrom } from '../options.ts'
import { bytesText, listText, note, print, printJson, status, warn } from '../output.ts'

interface PullFlags {
  readonly hub?: 'huggingface' | 'modelscope'
  readonly revision?: string
  readonly folder?: string
  readonly parallel: number
  readonly acceptLicence?: boolean
  readonly json?: boolean
}

export function addPullCommand(program: Command): void {
  program
    .command('pull')
    .description('Download a checkpoint from Hugging Face or ModelScope')
    .argument('<id>', 'OWNER/NAME, or modelscope:OWNER/NAME')
    .addOption(
      new Option('--hub <name>', 'where to download from (default: huggingface)').choices([
        'huggingface',
        'modelscope',
      ]),
    )
    .option('--revision <name>', 'branch, tag or commit')
    .option('--folder <dir>', 'where the files go (default: OMNISERVE_HOME/checkpoints/OWNER/NAME)')
    .option('--parallel <files>', 'files downloaded at a time', integerFrom(1), 4)
    .option('--accept-licence', 'accept a licence that restricts use, without being asked')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
An interrupted download resumes when you run the command again. Every file is checked against the
hub's hash; files without one are listed. A licence that restricts use (Qwen2.5-Omni-3B:
non-commercial) is shown before the download and must be accepted. HF_TOKEN or MODELSCOPE_API_TOKEN
gives access to private checkpoints; HF_ENDPOINT or MODELSCOPE_ENDPOINT sets a mirror.

Examples:
  omniserve pull Qwen/Qwen3-Omni-30B-A3B-Instruct
  omniserve pull modelscope:Qwen/Qwen3-Omni-30B-A3B-Instruct --folder ./qwen3-omni
  omniserve pull Qwen/Qwen2.5-Omni-3B --accept-licence
${EXIT_HELP}`,
    )
    .action(async (id: string, flags: PullFlags) => pull(id, flags))
}

async function pull(given: string, flags: PullFlags): Promise<void> {
  const [{ parseHubId, pullCheckpoint }, { createProgress }] = await Promise.all([
    import('../../weights/hub/pull.ts'),
    import('../progress.ts'),
  ])
  const { hub, id } = parseHubId(given, flags.hub)
  const folder = path.resolve(flags.folder ?? pulledFolder(id))
  const signal = interruptSignal()
  let progress = createProgress('bytes')
  status(`requesting ${id} from ${hub} ...`)
  let result
  try {
    result = await pullCheckpoint(id, {
      hub,
      folder,
      parallel: flags.parallel,
      ...(flags.revision !== undefined && { revision: flags.revision }),
      onProgress: ({ bytesDone, bytes, file, filesDone, files }) =>
        progress.update(bytesDone, bytes, `${filesDone}/${files} ${file}`),
      onLicence: async (licence) => {
        progress.stop()
        await confirmLicence(licence, id, flags.acceptLicence === true, signal)
        progress = createProgress('bytes')
      },
      signal,
    })
  } finally {
    progress.stop()
  }
  if (result.unverified.length > 0) {
    warn(`${hub} has no hash for ${listText(result.unverified)}: only the size was checked`)
  }
  const name = flags.folder === undefined ? id : folder
  const advice = await adviceFor(folder, name)
  if (flags.json === true) {
    const { files, bytes, bytesFetched, revision, unverified, licence } = result
    printJson({
      id,
      hub,
      revision,
      folder,
      files,
      bytes,
      bytes_fetched: bytesFetched,
      unverified,
      licence: licence.name,
      advice,
    })
    return
  }
  const fetched = result.bytesFetched === 0 ? 'already complete' : `${bytesText(result.bytesFetched)} downloaded`
  print(`${id}: ${result.files.length} files, ${bytesText(result.bytes)} (${fetched}), in ${folder}`)
  note(advice)
}

/** Shows a licence that restricts use and asks for consent. @throws CommandError if it is not given */
async function confirmLicence(licence: Licence, id: string, accepted: boolean, signal: AbortSignal): Promise<void> {
  if (!licence.restricts) return
  const { name, terms, link } = licence
  note(`${id} has the licence ${name}${terms === undefined ? '' : ` (${terms})`}.`)
  if (link !== undefined) note(`Licence text: ${/^https?:/.test(link) ? link : `${link} on the page of ${id}`}`)
  if (accepted) return
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new CommandError(
      'only the model card was downloaded: accept the licence with --accept-licence, or pull another checkpoint',
      EXIT.usage,
    )
  }
  const answer = await question('Do you accept it? [y/N] ', signal)
  if (/^y(es)?$/i.test(answer.trim())) return
  throw new CommandError('the licence was not accepted: only the model card was downloaded')
}

/** Reads a line from the terminal; empty at the end of the input. @throws the signal's reason once aborted */
async function question(text: string, signal: AbortSignal): Promise<string> {
  using lines = createInterface({ input: process.stdin, output: process.stderr })
  // `readline` consumes Ctrl-C, so it is passed on to the process.
  lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
  const answer = await Promise.race([lines.question(text, { signal }).catch(() => ''), ended])
  signal.throwIfAborted()
  return answer
}

/** The next steps, depending on the downloaded files and this machine's memory. */
async function adviceFor(folder: string, name: string): Promise<string> {
  const [{ readCheckpointFacts }, { adviseType }, { failureText }, { totalmem }] = await Promise.all([
    import('../../engines/unloaded/unloaded-engine.ts'),
    import('../memory-advice.ts'),
    import('../exit.ts'),
    import('node:os'),
  ])
  try {
    const { description, weightBytes } = await readCheckpointFacts({ location: folder, id: name })
    const { type, bytes, available } = adviseType(description)
    if (weightBytes <= available) return `Next: omniserve serve --model ${name}`
    const machine = `its weights (${bytesText(weightBytes)}) do not fit this machine (${bytesText(totalmem())})`
    return type === undefined
      ? `It cannot run here: ${machine}, even quantised to 4 bits (${bytesText(bytes)}).`
      : `Next, as ${machine}: omniserve convert ${name} --quantize ${type}   (${bytesText(bytes)})`
  } catch (error) {
    return `It cannot be served: ${failureText(error)}`
  }
}
