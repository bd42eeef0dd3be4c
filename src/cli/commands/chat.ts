/**
 * `omniserve chat`: one question or a conversation, with a running server or a server in this process.
 */
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { type Command, Option } from 'commander'
import { createCatalogue } from '../../catalogue/index.ts'
import type { UserPart } from '../../protocol/index.ts'
import { ask, type Reply } from '../ask.ts'
import { attach, attachFrames, fitInRequest } from '../attachments.ts'
import { type ChatSettings, defaultVoice, requestBody } from '../chat-settings.ts'
import type { ApiConnection } from '../api-connection.ts'
import { connect } from '../connect.ts'
import { CommandError, EXIT, EXIT_HELP } from '../exit.ts'
import { findCheckpoint } from '../find-checkpoint.ts'
import { readStandardInput } from '../input.ts'
import { interruptSignal } from '../interrupt.ts'
import {
  addConnectionOptions,
  addRunOptions,
  type ConnectionFlags,
  integerFrom,
  numberIn,
  settingFlags,
} from '../options.ts'
import { collect } from '../settings-options.ts'
import { exitOnClosedPipe, note, printJson, styled, warn } from '../output.ts'
import { usageText } from '../reply-text.ts'
import { checkWavName, requirePlayer, SpeechOutput } from '../speech-output.ts'

interface ChatFlags extends ConnectionFlags {
  readonly model: string
  readonly image?: readonly string[]
  readonly audio?: readonly string[]
  readonly video?: readonly string[]
  readonly frame?: readonly string[]
  readonly system?: string
  readonly voice?: string
  readonly saveAudio?: string
  readonly play?: boolean
  readonly thinking?: boolean
  readonly thinkingBudget?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly maxTokens?: number
  readonly seed?: number
  readonly json?: boolean
  readonly usage?: boolean
}

export function addChatCommand(program: Command): void {
  const command = program
    .command('chat')
    .description('Ask one question or have a conversation, with images, audio, video and speech')
    .argument('[words...]', 'the question; - reads standard input; without words, a conversation starts')
    .option('--model <name>', 'API model; any other name is used as --checkpoint', 'qwen3-omni-flash')
    .option('--image <file|url>', 'attach an image; may be repeated', collect)
    .option('--audio <file|url>', 'attach audio; may be repeated', collect)
    .option('--video <file|url>', 'attach a video with its audio; may be repeated', collect)
    .option('--frame <file|url>', 'attach one frame of a video; repeat in time order', collect)
    .option('--system <text>', 'system message')
    .option('--voice <name>', 'speak the reply in this voice (see: omniserve voices)')
    .option('--save-audio <file>', 'save the speech as WAV; uses the default voice without --voice')
    .option('--play', 'play the speech as it arrives, with ffplay, pw-play, paplay, aplay, play or afplay')
    .option('--thinking', 'reason before answering; the reasoning goes to standard error')
    .option('--thinking-budget <tokens>', 'maximum number of reasoning tokens', integerFrom(1))
    .option('--temperature <number>', 'from 0 (always the most probable token) to below 2', numberIn(0))
    .option('--top-p <number>', 'more than 0, at most 1', numberIn(0))
    .option('--top-k <number>', '0 turns it off', integerFrom(0))
    .option('--max-tokens <tokens>', 'maximum number of tokens in the reply', integerFrom(1))
    .option('--seed <number>', 'the same seed gives the same reply', integerFrom(0))
    .option('--usage', 'print tokens and times after the reply')
    .option('--json', 'print one JSON object instead of the text')
    .addOption(new Option('--verbose', "print the server's log"))
  addRunOptions(addConnectionOptions(command))
  command
    .addHelpText(
      'after',
      `
Without --url, chat uses a server on this machine if one is running (at the settings' host and
port). Otherwise, or with --checkpoint, the checkpoint runs in this command. Files are sent inside
the request; the server downloads URLs. The reply goes to standard output, everything else to
standard error. In a conversation, /help lists the commands; Ctrl-C stops a reply.

Examples:
  omniserve chat
  omniserve chat "Who are you?"
  omniserve chat "what is this?" --image cat.jpg --voice Cherry --save-audio out.wav
  omniserve chat "What is said here?" --audio talk.mp3 --play
  cat notes.txt | omniserve chat "Sum this up:" -
  omniserve chat "Hello" --checkpoint ./Qwen3-Omni-30B-A3B-Instruct
  omniserve chat "Hello" --url http://127.0.0.1:8000 --json
${EXIT_HELP}`,
    )
    .action(async (words: string[], flags: ChatFlags) => chat(words, flags))
}

async function chat(words: readonly string[], flags: ChatFlags): Promise<void> {
  exitOnClosedPipe()
  const { model, checkpoint } = resolveModel(flags)
  if (flags.saveAudio !== undefined) checkWritable(flags.saveAudio)
  const player = flags.play === true ? requirePlayer() : undefined
  const question = await readWords(words)
  const hasMedia = [flags.image, flags.audio, flags.video, flags.frame].some((list) => list !== undefined)
  const interactive = question === undefined && !hasMedia
  if (interactive && !process.stdin.isTTY) {
    throw new CommandError('there is no question: give words, or pipe them in', EXIT.usage)
  }
  if (interactive && flags.json === true) throw new CommandError('--json needs a question', EXIT.usage)
  if (interactive && flags.saveAudio !== undefined) {
    throw new CommandError('--save-audio needs a question; in a conversation type /save FILE', EXIT.usage)
  }
  // A conversation handles Ctrl-C itself.
  const signal = interactive ? new AbortController().signal : interruptSignal()
  const settings: ChatSettings = {
    model,
    system: flags.system,
    voice: flags.voice ?? (flags.saveAudio !== undefined || player !== undefined ? defaultVoice(model) : undefined),
    thinking: flags.thinking === true || flags.thinkingBudget !== undefined,
    sampling: samplingOf(flags),
    player,
  }
  await using api = await connect({
    url: flags.url,
    apiKey: flags.apiKey,
    checkpoint,
    flags: settingFlags(flags),
    load: true,
    // Only a server in this process accepts files that are too large for a request.
    useRunning: await fitInRequest([...(flags.image ?? []), ...(flags.audio ?? []), ...(flags.video ?? [])]),
    verbose: flags.verbose,
    signal,
  })
  if (interactive) {
    const { converse } = await import('../conversation.ts')
    await converse(api, settings)
    return
  }
  await answerOnce(api, settings, await contentOf(api, question, flags), flags, signal)
}

/** Checks the file's folder before the reply is generated. @throws CommandError */
function checkWritable(file: string): void {
  checkWavName(file)
  try {
    accessSync(path.dirname(path.resolve(file)), constants.W_OK)
  } catch {
    throw new CommandError(`--save-audio ${file}: its folder does not exist or is not writable`, EXIT.usage)
  }
}

/** `--model` may also name a checkpoint, which is then used with the default API model. @throws CommandError */
function resolveModel(flags: ChatFlags): { readonly model: string; readonly checkpoint: string | undefined } {
  const { model, checkpoint, url } = flags
  const known = createCatalogue('intl').find(model) ?? createCatalogue('cn').find(model)
  // With --url the server checks the model's name.
  if (known !== undefined || url !== undefined) return { model, checkpoint }
  if (checkpoint !== undefined) {
    throw new CommandError(`--model ${model}: unknown model; see: omniserve models`, EXIT.usage)
  }
  try {
    findCheckpoint(model)
  } catch (error) {
    const missing = `${model} is not an API model (see: omniserve models), and there is ${(error as Error).message}`
    throw new CommandError(`--model ${missing}`, EXIT.checkpoint)
  }
  return { model: 'qwen3-omni-flash', checkpoint: model }
}

/** The question from the arguments or standard input; undefined if there is none. */
async function readWords(words: readonly string[]): Promise<string | undefined> {
  const readsInput = words.includes('-') || (words.length === 0 && !process.stdin.isTTY)
  const input = readsInput ? (await readStandardInput()).trim() : ''
  if (words.length === 0) return input === '' ? undefined : input
  return words.map((word) => (word === '-' ? input : word)).join(words.includes('-') ? '\n' : ' ')
}

function samplingOf(flags: ChatFlags): ChatSettings['sampling'] {
  return {
    ...(flags.temperature !== undefined && { temperature: flags.temperature }),
    ...(flags.topP !== undefined && { top_p: flags.topP }),
    ...(flags.topK !== undefined && { top_k: flags.topK }),
    ...(flags.maxTokens !== undefined && { max_tokens: flags.maxTokens }),
    ...(flags.seed !== undefined && { seed: flags.seed }),
    ...(flags.thinkingBudget !== undefined && { thinking_budget: flags.thinkingBudget }),
  }
}

async function contentOf(api: ApiConnection, text: string | undefined, flags: ChatFlags): Promise<string | UserPart[]> {
  const parts: UserPart[] = []
  for (const source of flags.image ?? []) parts.push(await attach(api, 'image', source))
  for (const source of flags.audio ?? []) parts.push(await attach(api, 'audio', source))
  for (const source of flags.video ?? []) parts.push(await attach(api, 'video', source))
  if (flags.frame !== undefined) parts.push(await attachFrames(api, flags.frame))
  if (parts.length === 0) return text ?? ''
  if (text !== undefined && text !== '') parts.push({ type: 'text', text })
  return parts
}

async function answerOnce(
  api: ApiConnection,
  settings: ChatSettings,
  content: string | UserPart[],
  flags: ChatFlags,
  signal: AbortSignal,
): Promise<void> {
  const json = flags.json === true
  await using speech = new SpeechOutput(settings.player)
  let inReasoning = false
  let textStarted = false
  const pendingReply = ask(
    api,
    requestBody(settings, [{ role: 'user', content }]),
    {
      onReasoning(text) {
        inReasoning = true
        if (!json) process.stderr.write(styled('dim', text, process.stderr))
      },
      onText(text) {
        if (inReasoning && !json) process.stderr.write('\n')
        inReasoning = false
        textStarted = true
        if (!json) process.stdout.write(text)
      },
      onSpeech: (samples) => speech.write(samples),
      onWarning: warn,
    },
    signal,
  )
  let reply: Reply
  try {
    reply = await pendingReply
  } catch (error) {
    if (textStarted && !json) process.stdout.write('\n')
    if (flags.saveAudio !== undefined && speech.seconds > 0) await saveSpeech(speech, flags.saveAudio, false)
    throw error
  }
  if (!json) process.stdout.write('\n')
  if (flags.saveAudio !== undefined) await saveSpeech(speech, flags.saveAudio, json)
  await speech.end(signal)
  if (json) {
    printJson({
      id: reply.id,
      model: settings.model,
      text: reply.text,
      ...(reply.reasoning !== '' && { reasoning: reply.reasoning }),
      finish_reason: reply.finishReason,
      audio: settings.voice === undefined ? null : { file: flags.saveAudio ?? null, seconds: speech.seconds },
      usage: reply.usage,
      milliseconds: {
        first_token: rounded(reply.times.firstToken),
        first_audio: rounded(reply.times.firstAudio),
        total: rounded(reply.times.total),
      },
    })
  } else if (flags.usage === true) note(usageText(reply))
}

async function saveSpeech(speech: SpeechOutput, file: string, quiet: boolean): Promise<void> {
  await speech.save(file)
  if (!quiet) note(styled('dim', `${speech.seconds.toFixed(2)} s of speech in ${file}`, process.stderr))
}

function rounded(milliseconds: number | null): number | null {
  return milliseconds === null ? null : Math.round(milliseconds)
}
