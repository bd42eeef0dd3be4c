/**
 * Every setting of the server: one row each, with its flag, its environment variable, its key in the configuration file,
 * what it means and what it is when not given. `--help`, the loader and docs/configuration.md all come from here.
 */
import { z } from 'zod'

const port = z.coerce.number().int().min(0).max(65_535)
const count = z.coerce.number().int().min(1)
const seconds = z.coerce.number().min(0)
const flag = z.preprocess((value) => {
  if (typeof value !== 'string') return value
  if (/^(1|true|yes|on)$/i.test(value)) return true
  if (/^(0|false|no|off|)$/i.test(value)) return false
  return value
}, z.boolean())

/** `NAME=VALUE` strings, or an object, as a map. */
function pairs(what: string) {
  return z.preprocess(
    (value) => {
      if (!Array.isArray(value)) return value
      const map: Record<string, string> = {}
      for (const item of value) {
        const at = String(item).indexOf('=')
        if (at <= 0) return item
        map[String(item).slice(0, at).trim()] = String(item)
          .slice(at + 1)
          .trim()
      }
      return map
    },
    z.record(z.string(), z.string().min(1), { error: `should be ${what}` }),
  )
}

interface Setting<T extends z.ZodType> {
  /** Checks and converts a value from any source. */
  readonly schema: T
  readonly fallback: z.output<T>
  /** Commander's notation; its long name in camelCase is the configuration file's key. */
  readonly flags: string
  readonly description: string
  /** May be given several times; in the environment, separated by commas. */
  readonly repeatable?: true
  /** Not printed or logged. */
  readonly secret?: true
}

function setting<T extends z.ZodType>(row: Setting<T>): Setting<T> {
  return row
}

export const SETTINGS = {
  host: setting({
    schema: z.string().min(1),
    fallback: '127.0.0.1',
    flags: '--host <host>',
    description: 'address to listen on; without --api-key only a loopback address is allowed',
  }),
  port: setting({
    schema: port,
    fallback: 8000,
    flags: '--port <port>',
    description: 'port to listen on; 0 picks a free one',
  }),
  model: setting({
    schema: z.string().min(1),
    fallback: 'nano',
    flags: '--model <name|dir|hub-id>',
    description: 'checkpoint that answers: a built-in name, a folder, or a Hugging Face id already pulled',
  }),
  device: setting({
    schema: z.enum(['auto', 'cpu', 'cuda', 'metal', 'vulkan']),
    fallback: 'auto',
    flags: '--device <device>',
    description: 'what the model runs on: auto, cpu, cuda, metal or vulkan',
  }),
  threads: setting({
    schema: z.coerce.number().int().min(0),
    fallback: 0,
    flags: '--threads <threads>',
    description: 'threads of the numeric library; 0 is one per core',
  }),
  contextLength: setting({
    schema: z.coerce.number().int().min(0),
    fallback: 0,
    flags: '--context-length <tokens>',
    description: 'longest conversation the checkpoint is given room for; 0 is its own',
  }),
  bind: setting({
    schema: pairs('API_MODEL=CHECKPOINT or API_MODEL:thinking=CHECKPOINT'),
    fallback: {},
    flags: '--bind <api-model=checkpoint>',
    repeatable: true,
    description:
      'checkpoint that answers for one API model in place of --model; API_MODEL:thinking=CHECKPOINT for its thinking mode',
  }),
  alias: setting({
    schema: pairs('NAME=SNAPSHOT'),
    fallback: {},
    flags: '--alias <name=snapshot>',
    repeatable: true,
    description: 'point a stable API model at another snapshot, such as qwen3-omni-flash=qwen3-omni-flash-2025-12-01',
  }),
  region: setting({
    schema: z.enum(['intl', 'cn']),
    fallback: 'intl',
    flags: '--region <intl|cn>',
    description: 'whose models and prices are listed: intl (Singapore) or cn (Beijing)',
  }),
  apiKey: setting({
    schema: z.array(z.string().min(1)),
    fallback: [],
    flags: '--api-key <key>',
    repeatable: true,
    secret: true,
    description: 'key that callers must send; with none set, anyone who reaches the loopback address may call',
  }),
  mediaAllowHost: setting({
    schema: z.array(z.string().min(1)),
    fallback: [],
    flags: '--media-allow-host <host[:port]>',
    repeatable: true,
    description: 'host that media may be fetched from although its address is private or loopback',
  }),
  corsOrigin: setting({
    schema: z.array(z.string().min(1)),
    fallback: [],
    flags: '--cors-origin <origin>',
    repeatable: true,
    description: 'web origin that may call; default: any when keys are set, else pages of this machine only',
  }),
  lenientNonStream: setting({
    schema: flag,
    fallback: false,
    flags: '--lenient-non-stream',
    description: 'answer requests without stream=true with one JSON object when only text is asked for',
  }),
  textCarrier: setting({
    schema: pairs('MODEL=content, MODEL=transcript or MODEL=both').pipe(
      z.record(z.string(), z.enum(['content', 'transcript', 'both'])),
    ),
    fallback: {},
    flags: '--text-carrier <api-model=carrier>',
    repeatable: true,
    description:
      'where the text of a spoken reply goes: content (default), transcript (delta.audio.transcript, as turbo did in May 2025) or both',
  }),
  speechPrompt: setting({
    schema: z.string(),
    fallback: 'default',
    flags: '--speech-prompt <default|none|file>',
    description: 'system text put before spoken conversations: the built-in one, none, or the text of a file',
  }),
  speechPromptMinContext: setting({
    schema: z.coerce.number().int().min(0),
    fallback: 16_384,
    flags: '--speech-prompt-min-context <tokens>',
    description: 'checkpoints with a smaller context are not shown the built-in speech prompt (it is still counted)',
  }),
  rateLimit: setting({
    schema: flag,
    fallback: false,
    flags: '--rate-limit',
    description: 'hold each key to the catalogue’s requests and tokens per minute',
  }),
  maxActive: setting({
    schema: count,
    fallback: 32,
    flags: '--max-active <requests>',
    description: 'requests worked on at once',
  }),
  maxWaiting: setting({
    schema: z.coerce.number().int().min(0),
    fallback: 128,
    flags: '--max-waiting <requests>',
    description: 'requests that may wait; more get 503 at once',
  }),
  maxBodyBytes: setting({
    schema: count,
    fallback: 64 * 1024 * 1024,
    flags: '--max-body-bytes <bytes>',
    description: 'largest request body',
  }),
  requestTimeout: setting({
    schema: seconds,
    fallback: 0,
    flags: '--request-timeout <seconds>',
    description: 'longest a request may take; 0 is no limit',
  }),
  stallTimeout: setting({
    schema: seconds,
    fallback: 300,
    flags: '--stall-timeout <seconds>',
    description: 'how long a caller may leave a reply unread before it is cut off; 0 is no limit',
  }),
  shutdownGrace: setting({
    schema: seconds,
    fallback: 30,
    flags: '--shutdown-grace <seconds>',
    description: 'how long a stopping server lets replies finish',
  }),
  logLevel: setting({
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    fallback: 'info',
    flags: '--log-level <level>',
    description: 'trace, debug, info, warn, error, fatal or silent',
  }),
  logFormat: setting({
    schema: z.enum(['auto', 'text', 'json']),
    fallback: 'auto',
    flags: '--log-format <format>',
    description: 'auto, text (lines for people) or json (an object per line); auto is text on a terminal, else json',
  }),
} as const

export type SettingName = keyof typeof SETTINGS
export type Settings = { readonly [K in SettingName]: (typeof SETTINGS)[K]['fallback'] }

/** `mediaAllowHost` is `OMNISERVE_MEDIA_ALLOW_HOST`. */
export function environmentName(name: string): string {
  return `OMNISERVE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}
