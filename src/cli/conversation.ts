/**
 * A conversation at the terminal.
 *
 * Typed lines are messages; lines that begin with a slash are commands (`/help`). Replies are streamed. Ctrl-C stops a
 * reply; twice at an empty prompt it ends the conversation, like Ctrl-D. Messages are kept only in memory.
 */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import type { Message, UserPart } from '../protocol/index.ts'
import { ask, type Reply } from './ask.ts'
import { attach, type AttachmentKind, kindOfFile } from './attachments.ts'
import { type ChatSettings, defaultVoice, requestBody } from './chat-settings.ts'
import type { ApiConnection } from './api-connection.ts'
import { CommandError, failureText, Interrupted } from './exit.ts'
import { LineReader } from './line-reader.ts'
import { note, print, styled, warn } from './output.ts'
import { usageText } from './reply-text.ts'
import { checkWavName, requirePlayer, SpeechOutput } from './speech-output.ts'
import { findVoice } from './voice-names.ts'

const HELP = `/image FILE|URL   attach an image to the next message
/audio FILE|URL   attach audio               /video FILE|URL   attach a video
/file FILE        attach a file of any of these kinds
/drop             remove the attachments
/voice NAME|off   spoken replies on or off   /play on|off      play them
/save FILE        save the last reply's speech as WAV
/thinking on|off  reason before answering    /system TEXT      system message (empty: none)
/retry            generate the last reply again
/usage            tokens and times of the last reply
/clear            new conversation           /exit             end (also Ctrl-D)
"""               starts and ends a message of several lines`

const COMMANDS = [
  '/image',
  '/audio',
  '/video',
  '/file',
  '/drop',
  '/voice',
  '/play',
  '/save',
  '/thinking',
  '/system',
  '/retry',
  '/usage',
  '/clear',
  '/help',
  '/exit',
]

/** Runs until the user ends it. */
export async function converse(api: ApiConnection, settings: ChatSettings): Promise<void> {
  const conversation = new Conversation(api, settings)
  using lines = new LineReader({ complete, onInterrupt: () => conversation.stop() })
  print(`${styled('bold', `${settings.model} on ${api.name}`)}. /help for commands, Ctrl-D to end.`)
  for (;;) {
    const line = await readMessage(lines, conversation.prompt)
    if (line === undefined || !(await conversation.handleLine(line))) break
  }
}

/** Reads a line, or the lines between two lines of three quotation marks. */
async function readMessage(lines: LineReader, prompt: string): Promise<string | undefined> {
  const first = await lines.read(prompt)
  if (first?.trim() !== '"""') return first
  const block: string[] = []
  for (;;) {
    const line = await lines.read('... ')
    if (line === undefined) return undefined
    if (line.trim() === '"""') return block.join('\n')
    block.push(line)
  }
}

class Conversation {
  readonly #api: ApiConnection
  #settings: ChatSettings
  #messages: Message[] = []
  #attached: UserPart[] = []
  /** The last reply; `reply` is undefined if it was stopped. */
  #last: { readonly reply: Reply | undefined; readonly speech: SpeechOutput } | undefined
  #currentReply: AbortController | undefined

  constructor(api: ApiConnection, settings: ChatSettings) {
    this.#api = api
    this.#settings = settings
  }

  get prompt(): string {
    const attached = this.#attached.length === 0 ? '' : `[+${this.#attached.length}] `
    return styled('cyan', `${attached}> `)
  }

  /** Stops the current reply. @returns false if there is none */
  stop(): boolean {
    if (this.#currentReply === undefined) return false
    this.#currentReply.abort(new Interrupted('stopped'))
    return true
  }

  /** Sends a message or executes a command. @returns false to end the conversation */
  async handleLine(line: string): Promise<boolean> {
    const text = line.trim()
    if (text === '') return true
    if (/^\/(exit|quit|bye)$/.test(text)) return false
    try {
      const command = /^\/([a-z]+)(?:\s+(.*))?$/s.exec(text)
      if (command === null) await this.#send([...this.#attached, { type: 'text', text: line }])
      else await this.#execute(command[1] ?? '', (command[2] ?? '').trim())
    } catch (error) {
      if (error instanceof Interrupted) note(styled('dim', '(stopped)', process.stderr))
      else note(styled('red', failureText(error), process.stderr))
    }
    return true
  }

  async #execute(command: string, value: string): Promise<void> {
    switch (command) {
      case 'image':
      case 'audio':
      case 'video':
        await this.#attach(command, value)
        break
      case 'file': {
        const kind = await kindOfFile(requireArgument(value, '/file FILE'))
        if (kind === undefined || kind === 'text')
          throw new CommandError(`${value} is not an image, audio or video file`)
        await this.#attach(kind, value)
        break
      }
      case 'drop':
        this.#attached = []
        break
      case 'voice': {
        const { model } = this.#settings
        const voice =
          value === 'off' ? undefined : value === '' ? defaultVoice(model) : await findVoice(this.#api, model, value)
        const thinkingOff = voice !== undefined && this.#settings.thinking
        this.#settings = { ...this.#settings, voice, ...(thinkingOff && { thinking: false }) }
        print(voice === undefined ? 'Replies are text only.' : `Replies are spoken by ${voice}.`)
        if (thinkingOff) print('Thinking is off: the API does not support speech with thinking.')
        break
      }
      case 'play':
        this.#settings = {
          ...this.#settings,
          player: isOn(value) ? requirePlayer() : undefined,
          voice: this.#settings.voice ?? (isOn(value) ? defaultVoice(this.#settings.model) : undefined),
          ...(isOn(value) && { thinking: false }),
        }
        print(isOn(value) ? `Replies are spoken by ${this.#settings.voice} and played.` : 'Replies are not played.')
        break
      case 'save':
        await this.#save(requireArgument(value, '/save FILE'))
        break
      case 'thinking': {
        const speechOff = isOn(value) && this.#settings.voice !== undefined
        this.#settings = { ...this.#settings, thinking: isOn(value), ...(speechOff && { voice: undefined }) }
        print(isOn(value) ? 'Thinking is on.' : 'Thinking is off.')
        if (speechOff) print('Replies are text only now: the API does not support speech with thinking.')
        break
      }
      case 'system':
        this.#settings = { ...this.#settings, system: value === '' ? undefined : value }
        print(value === '' ? 'No system message.' : 'System message set.')
        break
      case 'retry':
        await this.#retry()
        break
      case 'usage':
        if (this.#last === undefined) print('There is no reply yet.')
        else print(this.#last.reply === undefined ? 'The last reply was stopped.' : usageText(this.#last.reply))
        break
      case 'clear':
        this.#messages = []
        this.#attached = []
        print('New conversation.')
        break
      case 'help':
        print(HELP)
        break
      default:
        throw new CommandError(`unknown command /${command}; /help lists all commands`)
    }
  }

  async #attach(kind: AttachmentKind, source: string): Promise<void> {
    const name = requireArgument(source, `/${kind} FILE`).replace(/^(['"])(.*)\1$/, '$2')
    this.#attached.push(await attach(this.#api, kind, name))
  }

  async #save(file: string): Promise<void> {
    const speech = this.#last?.speech
    if (speech === undefined || speech.seconds === 0) {
      throw new CommandError('the last reply has no speech; type /voice NAME and ask again')
    }
    checkWavName(file)
    await speech.save(file)
    print(`${speech.seconds.toFixed(2)} s of speech in ${file}`)
  }

  async #retry(): Promise<void> {
    const index = this.#messages.findLastIndex(({ role }) => role === 'user')
    const message = this.#messages[index]
    if (message === undefined || !Array.isArray(message.content)) throw new CommandError('there is no question yet')
    this.#messages = this.#messages.slice(0, index)
    await this.#send(message.content as UserPart[])
  }

  async #send(content: readonly UserPart[]): Promise<void> {
    const message: Message = { role: 'user', content: [...content] }
    const stopping = new AbortController()
    this.#currentReply = stopping
    const speech = new SpeechOutput(this.#settings.player)
    let replyText = ''
    let inReasoning = false
    try {
      const reply = await ask(
        this.#api,
        requestBody(this.#settings, [...this.#messages, message]),
        {
          onReasoning(text) {
            inReasoning = true
            process.stdout.write(styled('dim', text))
          },
          onText(text) {
            if (inReasoning) process.stdout.write('\n\n')
            inReasoning = false
            replyText += text
            process.stdout.write(text)
          },
          onSpeech: (samples) => speech.write(samples),
          onWarning: warn,
        },
        stopping.signal,
      )
      print()
      this.#last = { reply, speech }
      this.#attached = []
      await speech.end(stopping.signal)
    } catch (error) {
      if (replyText !== '') print()
      if (replyText !== '' || speech.seconds > 0) this.#last = { reply: undefined, speech }
      throw error
    } finally {
      await speech[Symbol.asyncDispose]()
      this.#currentReply = undefined
      // A question stays in the history if it has a reply, even one that was stopped.
      if (replyText !== '') this.#messages = [...this.#messages, message, { role: 'assistant', content: replyText }]
    }
  }
}

function requireArgument(value: string, usage: string): string {
  if (value === '') throw new CommandError(`missing argument: ${usage}`)
  return value
}

function isOn(value: string): boolean {
  if (value === 'on' || value === '') return true
  if (value === 'off') return false
  throw new CommandError('the argument must be on or off')
}

/** Completes names of commands, and paths after them. */
function complete(line: string): [string[], string] {
  if (/^\/[a-z]*$/.test(line)) return [COMMANDS.filter((command) => command.startsWith(line)), line]
  const typedPath = /^\/(?:image|audio|video|file|save)\s+(.*)$/.exec(line)?.[1]
  if (typedPath === undefined) return [[], line]
  const folder =
    typedPath.endsWith('/') || typedPath === ''
      ? typedPath
      : path.dirname(typedPath) === '.' && !typedPath.startsWith('./')
        ? ''
        : `${path.dirname(typedPath)}/`
  try {
    const entries = readdirSync(folder === '' ? '.' : folder, { withFileTypes: true })
    const paths = entries.map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : ''))
    return [paths.filter((candidate) => candidate.startsWith(typedPath)), typedPath]
  } catch {
    return [[], typedPath]
  }
}
