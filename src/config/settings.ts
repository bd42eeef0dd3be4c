/**
 * Every setting of the server: one row each, with its flag, its environment variable, its key in the configuration file,
 * what it means and what it is when not given. `--help`, the loader and docs/configuration.md all come from here.
 */
import { z } from 'zod'

/** A number, or text that reads as one: not null, true or an empty text, which JavaScript would take for 0 or 1. */
function numeric<T extends z.ZodType>(schema: T) {
  return z.preprocess((value) => (typeof value === 'string' && value.trim() !== '' ? Number(value) : value), schema)
}

const port = numeric(z.number().int().min(0).max(65_535))
const count = numeric(z.number().int().min(1))
const countOrZero = numeric(z.number().int().min(0))
const seconds = numeric(z.number().min(0))
const flag = z.preprocess((value) => {
  if (typeof value !== 'string') return value
  if (/^(1|true|yes|on)$/i.test(value)) return true
  if (/^(0|false|no|off|)$/i.test(value)) return false
  return value
}, z.boolean())
const texts = z.array(z.string().min(1))

/** `NAME=VALUE` strings, or an object, as a map. */
const pairs = z.preprocess(
  (value) => {
    if (!Array.isArray(value)) return hasPrototypeKey(value) ? undefined : value
    const entries: [string, string][] = []
    for (const item of value) {
      const at = String(item).indexOf('=')
      if (at <= 0) return item
      entries.push([
        String(item).slice(0, at).trim(),
        String(item)
          .slice(at + 1)
          .trim(),
      ])
    }
    const map = Object.fromEntries(entries)
    return hasPrototypeKey(map) ? undefined : map
  },
  z.record(z.string(), z.string().min(1)),
)

/** zod leaves this key out of records without a word. */
function hasPrototypeKey(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__')
}

interface Setting<T extends z.ZodType> {
  /** Checks and converts a value from any source. */
  readonly schema: T
  readonly fallback: z.output<T>
  /** What a value must be, for messages: `it must be ...`. */
  readonly expects: string
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
    expects: 'a host name or an address',
    flags: '--host <host>',
    description: 'address to listen on; without --api-key only a loopback address is allowed',
  }),
  port: setting({
    schema: port,
    fallback: 8000,
    expects: 'a whole number from 0 to 65535',
    flags: '--port <port>',
    description: 'port to listen on; 0 picks a free one',
  }),
  model: setting({
    schema: z.string().min(1),
    fallback: 'nano',
    expects: 'a name, a folder or a hub id',
    flags: '--model <name|dir|hub-id>',
    description: 'checkpoint that answers: a built-in name, a folder, or a Hugging Face id already pulled',
  }),
  device: setting({
    schema: z.enum(['auto', 'cpu', 'cuda', 'metal', 'vulkan']),
    fallback: 'auto',
    expects: 'auto, cpu, cuda, metal or vulkan',
    flags: '--device <device>',
    description: 'what the model runs on: auto, cpu, cuda, metal or vulkan',
  }),
  gpuPrecision: setting({
    schema: z.enum(['exact', 'fast']),
    fallback: 'fast',
    expects: 'exact or fast',
    flags: '--gpu-precision <exact|fast>',
    description: 'how a GPU computes: fast in half precision where that is quicker, or exact in f32 (vulkan only)',
  }),
  threads: setting({
    schema: countOrZero,
    fallback: 0,
    expects: 'a whole number, 0 or more',
    flags: '--threads <threads>',
    description: 'threads of the numeric library; 0 is one per core',
  }),
  contextLength: setting({
    schema: countOrZero,
    fallback: 0,
    expects: 'a whole number, 0 or more',
    flags: '--context-length <tokens>',
    description: 'longest conversation the checkpoint is given room for; 0 is its own',
  }),
  bind: setting({
    schema: pairs,
    fallback: {},
    expects: 'API_MODEL=CHECKPOINT or API_MODEL:thinking=CHECKPOINT (in a file, an object of these pairs)',
    flags: '--bind <api-model=checkpoint>',
    repeatable: true,
    description:
      'checkpoint that answers for one API model in place of --model; API_MODEL:thinking=CHECKPOINT for its thinking mode',
  }),
  alias: setting({
    schema: pairs,
    fallback: {},
    expects: 'NAME=SNAPSHOT (in a file, an object of these pairs)',
    flags: '--alias <name=snapshot>',
    repeatable: true,
    description: 'point a stable API model at another snapshot, such as qwen3-omni-flash=qwen3-omni-flash-2025-12-01',
  }),
  region: setting({
    schema: z.enum(['intl', 'cn']),
    fallback: 'intl',
    expects: 'intl or cn',
    flags: '--region <intl|cn>',
    description: 'whose models and prices are listed: intl (Singapore) or cn (Beijing)',
  }),
  apiKey: setting({
    schema: texts,
    fallback: [],
    expects: 'keys of at least one character (in a file, a list)',
    flags: '--api-key <key>',
    repeatable: true,
    secret: true,
    description: 'key that callers must send; with none set, anyone who reaches the loopback address may call',
  }),
  adminKey: setting({
    schema: z.string(),
    fallback: '',
    expects: 'a text',
    flags: '--admin-key <key>',
    secret: true,
    description: 'key for the routes of operators (/admin/cluster); with none set they are off',
  }),
  mediaAllowHost: setting({
    schema: texts,
    fallback: [],
    expects: 'host names, each with or without a port (in a file, a list)',
    flags: '--media-allow-host <host[:port]>',
    repeatable: true,
    description: 'host that media may be fetched from although its address is private or loopback',
  }),
  corsOrigin: setting({
    schema: texts,
    fallback: [],
    expects: 'origins such as https://app.example.com (in a file, a list)',
    flags: '--cors-origin <origin>',
    repeatable: true,
    description: 'web origin that may call; default: any when keys are set, else pages of this machine only',
  }),
  lenientNonStream: setting({
    schema: flag,
    fallback: false,
    expects: 'true or false',
    flags: '--lenient-non-stream',
    description: 'answer requests without stream=true with one JSON object when only text is asked for',
  }),
  textCarrier: setting({
    schema: pairs.pipe(z.record(z.string(), z.enum(['content', 'transcript', 'both']))),
    fallback: {},
    expects: 'MODEL=content, MODEL=transcript or MODEL=both (in a file, an object of these pairs)',
    flags: '--text-carrier <api-model=carrier>',
    repeatable: true,
    description:
      'where the text of a spoken reply goes: content (default), transcript (delta.audio.transcript, as turbo did in May 2025) or both',
  }),
  speechPrompt: setting({
    schema: z.string(),
    fallback: 'default',
    expects: 'default, none or the path of a file',
    flags: '--speech-prompt <default|none|file>',
    description: 'system text put before spoken conversations: the built-in one, none, or the text of a file',
  }),
  speechPromptMinContext: setting({
    schema: countOrZero,
    fallback: 16_384,
    expects: 'a whole number, 0 or more',
    flags: '--speech-prompt-min-context <tokens>',
    description: 'checkpoints with a smaller context are not shown the built-in speech prompt (it is still counted)',
  }),
  speechSolver: setting({
    schema: z.enum(['euler', 'rk4']),
    fallback: 'euler',
    expects: 'euler or rk4',
    flags: '--speech-solver <euler|rk4>',
    description:
      "how Qwen2.5-Omni's diffusion makes speech of codes: euler as Qwen's engine, or rk4 as transformers, in four times the work",
  }),
  speechSteps: setting({
    schema: count,
    fallback: 9,
    expects: 'a whole number, 1 or more',
    flags: '--speech-steps <steps>',
    description: 'steps of that diffusion: fewer are quicker and coarser',
  }),
  speechGuidance: setting({
    schema: numeric(z.number().min(0)),
    fallback: 0.5,
    expects: 'a number, 0 or more',
    flags: '--speech-guidance <strength>',
    description: 'how strongly that diffusion follows voice and codes; 0 halves its work',
  }),
  realtimeSessions: setting({
    schema: count,
    fallback: 256,
    expects: 'a whole number, 1 or more',
    flags: '--realtime-sessions <sessions>',
    description: 'realtime sessions open at once; more get 503 at the handshake',
  }),
  realtimeSessionLimit: setting({
    schema: seconds,
    fallback: 7200,
    expects: 'a number of seconds, 0 or more',
    flags: '--realtime-session-limit <seconds>',
    description: 'longest realtime session; 0 is no limit',
  }),
  realtimeIdle: setting({
    schema: seconds,
    fallback: 300,
    expects: 'a number of seconds, 0 or more',
    flags: '--realtime-idle <seconds>',
    description: 'how long a realtime session may go without an event or a reply before it is closed; 0 is no limit',
  }),
  rateLimit: setting({
    schema: flag,
    fallback: false,
    expects: 'true or false',
    flags: '--rate-limit',
    description: 'hold each key to the catalogue’s requests and tokens per minute',
  }),
  maxActive: setting({
    schema: count,
    fallback: 32,
    expects: 'a whole number, 1 or more',
    flags: '--max-active <requests>',
    description: 'requests worked on at once',
  }),
  maxWaiting: setting({
    schema: countOrZero,
    fallback: 128,
    expects: 'a whole number, 0 or more',
    flags: '--max-waiting <requests>',
    description: 'requests that may wait; more get 503 at once',
  }),
  cacheMemory: setting({
    schema: countOrZero,
    fallback: 0,
    expects: 'a whole number of bytes, 0 or more',
    flags: '--cache-memory <bytes>',
    description:
      'most that the KV caches of a checkpoint take, those kept for later turns included; 0 is 80 % of free memory',
  }),
  mediaMemory: setting({
    schema: count,
    fallback: 512 * 1024 * 1024,
    expects: 'a whole number of bytes, 1 or more',
    flags: '--media-memory <bytes>',
    description: 'most that decoded images, audio and video take in the server; more wait',
  }),
  maxBodyBytes: setting({
    schema: count,
    fallback: 64 * 1024 * 1024,
    expects: 'a whole number, 1 or more',
    flags: '--max-body-bytes <bytes>',
    description: 'largest request body',
  }),
  bodyTimeout: setting({
    schema: seconds,
    fallback: 300,
    expects: 'a number of seconds, 0 or more',
    flags: '--body-timeout <seconds>',
    description: 'longest a request and its body may take to arrive; 0 is no limit',
  }),
  requestTimeout: setting({
    schema: seconds,
    fallback: 0,
    expects: 'a number of seconds, 0 or more',
    flags: '--request-timeout <seconds>',
    description: 'longest a request may take; 0 is no limit',
  }),
  stallTimeout: setting({
    schema: seconds,
    fallback: 300,
    expects: 'a number of seconds, 0 or more',
    flags: '--stall-timeout <seconds>',
    description: 'how long a caller may leave a reply unread before it is cut off; 0 is no limit',
  }),
  keepAlive: setting({
    schema: seconds,
    fallback: 15,
    expects: 'a number of seconds, 0 or more',
    flags: '--keep-alive <seconds>',
    description:
      'a comment is sent after so long without a byte of a reply, so that proxies keep it open; 0 sends none',
  }),
  shutdownGrace: setting({
    schema: seconds,
    fallback: 30,
    expects: 'a number of seconds, 0 or more',
    flags: '--shutdown-grace <seconds>',
    description: 'how long a stopping server lets replies finish',
  }),
  logLevel: setting({
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    fallback: 'info',
    expects: 'trace, debug, info, warn, error, fatal or silent',
    flags: '--log-level <level>',
    description: 'trace, debug, info, warn, error, fatal or silent',
  }),
  logFormat: setting({
    schema: z.enum(['auto', 'text', 'json']),
    fallback: 'auto',
    expects: 'auto, text or json',
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
