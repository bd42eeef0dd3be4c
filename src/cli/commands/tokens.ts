/** `omniserve tokens`: counts tokens and price of files, a text or a request, without running a model. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import type { ChatCompletionRequest, TokensCount, UserPart } from '../../protocol/index.ts'
import { attach, kindOfFile } from '../attachments.ts'
import { type ApiConnection, readResponse } from '../api-connection.ts'
import { connect } from '../connect.ts'
import { CommandError, EXIT, EXIT_HELP, explainFailure, failureText } from '../exit.ts'
import { readStandardInput } from '../input.ts'
import { interruptSignal } from '../interrupt.ts'
import { addConnectionOptions, type ConnectionFlags, settingFlags } from '../options.ts'
import { countText, exitOnClosedPipe, note, print, printJson, table, warn } from '../output.ts'

interface TokensFlags extends ConnectionFlags {
  readonly text?: string
  readonly request?: string
  readonly model: string
  readonly voice?: string
  readonly json?: boolean
}

interface Counted {
  /** The file; absent for a text or a request. */
  readonly file?: string
  readonly count: TokensCount
}

interface Failed {
  readonly file: string
  readonly error: string
}

export function addTokensCommand(program: Command): void {
  const command = program
    .command('tokens')
    .description('Count the tokens and the price of files or a request, without running it')
    .argument('[files...]', 'image, audio, video and text files, each counted as one question')
    .option('--text <text>', 'a question; with files, added to each of them')
    .option('--request <file>', 'count the JSON body of a chat request; - reads standard input')
    .option('--model <name>', 'API model, for its rules and prices', 'qwen3-omni-flash')
    .option('--voice <name>', 'count as a request with audio output')
    .option('--json', 'print JSON as from POST /v1/tokens/count; for files, a list whose entries name the `file`')
  addConnectionOptions(command)
    .addHelpText(
      'after',
      `
The content decides what a file is; for a URL, its ending does. A file that cannot be counted is
reported and the others are counted. The exit code is then that of the first failure.

Examples:
  omniserve tokens cat.jpg talk.mp3
  omniserve tokens video.mp4 --text "What happens here?" --model qwen-omni-turbo
  omniserve tokens --request body.json --json
${EXIT_HELP}`,
    )
    .action(async (files: string[], flags: TokensFlags) => tokens(files, flags))
}

async function tokens(files: readonly string[], flags: TokensFlags): Promise<void> {
  exitOnClosedPipe()
  if (flags.request !== undefined && (files.length > 0 || flags.text !== undefined)) {
    throw new CommandError('--request cannot be combined with files or --text', EXIT.usage)
  }
  if (flags.request === undefined && files.length === 0 && flags.text === undefined) {
    throw new CommandError('nothing to count: give files, --text or --request', EXIT.usage)
  }
  const signal = interruptSignal()
  await using api = await connect({ ...flags, flags: settingFlags(flags), load: false, signal })
  const counted: Counted[] = []
  const failed: Failed[] = []
  if (flags.request !== undefined) {
    counted.push({ count: await count(api, await readRequest(flags.request), signal) })
  } else if (files.length === 0) {
    counted.push({ count: await count(api, requestOf([textPart(flags.text ?? '')], flags), signal) })
  }
  for (const file of files) {
    try {
      const parts = [await partOf(api, file), ...(flags.text === undefined ? [] : [textPart(flags.text)])]
      counted.push({ file, count: await count(api, requestOf(parts, flags), signal) })
    } catch (error) {
      if (!concernsFile(error) || signal.aborted) throw error
      const message = failureText(error)
      failed.push({ file, error: message.includes(file) ? message : `${file}: ${message}` })
      process.exitCode ??= explainFailure(error).exitCode
    }
  }
  if (flags.json !== true) {
    if (counted.length > 0) show(counted)
    for (const { error } of failed) note(`omniserve: ${error}`)
    if (failed.length > 0 && files.length > 1) note(`${failed.length} of ${files.length} files could not be counted`)
  } else if (files.length === 0) printJson(counted[0]?.count)
  else printJson({ object: 'list', data: [...counted.map((row) => ({ file: row.file, ...row.count })), ...failed] })
}

/** Whether the error concerns one file. If the server cannot be reached, no file can be counted. */
function concernsFile(error: unknown): boolean {
  return !(error instanceof CommandError) || error.exitCode !== EXIT.unreachable
}

function textPart(text: string): UserPart {
  return { type: 'text', text }
}

async function partOf(api: ApiConnection, file: string): Promise<UserPart> {
  if (/^https?:\/\//i.test(file)) {
    const suffix = /\.(\w+)(?:[?#].*)?$/.exec(file)?.[1]?.toLowerCase() ?? ''
    if (/^(mp3|wav|flac|ogg|opus|m4a|aac|amr|wma)$/.test(suffix)) return attach(api, 'audio', file)
    if (/^(mp4|mov|mkv|webm|avi|flv|wmv|ts)$/.test(suffix)) return attach(api, 'video', file)
    return attach(api, 'image', file)
  }
  const kind = await kindOfFile(file)
  switch (kind) {
    case 'text':
      return textPart(await readFile(file, 'utf8'))
    case undefined:
      throw new CommandError(`${file} is not an image, audio, video or text file`, EXIT.usage)
    default:
      return attach(api, kind, file)
  }
}

function requestOf(content: readonly UserPart[], { model, voice }: TokensFlags): Partial<ChatCompletionRequest> {
  return {
    model,
    messages: [{ role: 'user', content: [...content] }],
    ...(voice !== undefined && { modalities: ['text', 'audio'], audio: { voice, format: 'wav' } }),
  }
}

async function readRequest(file: string): Promise<unknown> {
  const text = file === '-' ? await readStandardInput() : await readFile(file, 'utf8')
  try {
    const value: unknown = JSON.parse(text)
    return value
  } catch (error) {
    const reason = error instanceof Error ? error.message : ''
    throw new CommandError(`--request ${file} is not JSON: ${reason}`, EXIT.usage)
  }
}

async function count(api: ApiConnection, request: unknown, signal: AbortSignal): Promise<TokensCount> {
  const response = await api.fetch('/tokens/count', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request),
    signal,
  })
  const { tokensCountSchema } = await import('../../protocol/index.ts')
  return readResponse(response, tokensCountSchema)
}

function show(counted: readonly Counted[]): void {
  const rows = counted.map(({ file, count: { usage, cost, limits } }) => {
    const details = usage.prompt_tokens_details ?? {}
    const cells = [details.text_tokens, details.image_tokens, details.audio_tokens, details.video_tokens]
    return [
      file ?? 'request',
      ...cells.map((amount) => (amount === undefined ? '-' : countText(amount))),
      `${countText(usage.prompt_tokens)} of ${countText(limits.max_input)}`,
      cost === null ? '-' : `${cost.currency} ${cost.input.toFixed(6)}`,
      limits.checkpoint_prompt_tokens === null
        ? '-'
        : `${countText(limits.checkpoint_prompt_tokens)} of ${countText(limits.checkpoint_context ?? 0)}`,
    ]
  })
  const checkpoint = counted[0]?.count.limits.checkpoint ?? 'checkpoint'
  print(table(['', 'TEXT', 'IMAGE', 'AUDIO', 'VIDEO', 'PROMPT', 'LIST PRICE', `FOR ${checkpoint.toUpperCase()}`], rows))
  for (const { file, count: answer } of counted) {
    for (const text of answer.warnings) warn(file === undefined ? text : `${file}: ${text}`)
  }
}
