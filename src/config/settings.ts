/**
 * Every setting of the server: one row each, with its flag, its environment variable, its key in the configuration
 * file, its meaning and its default. `--help`, the loader and docs/configuration.md all come from here.
 */
import { z } from 'zod'

/** A number, or text that is a number: not null, true or an empty text, which JavaScript would convert to 0 or 1. */
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
/** As browsers send them: in lower case, without a path or a slash at the end. */
const origins = z.array(z.string().regex(/^(\*|null|[a-z][a-z0-9+.-]*:\/\/[^\sA-Z/?#@]+)$/))

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

/** zod drops this key of records silently. */
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
    description: 'address to listen on; without --api-key, loopback only',
  }),
  port: setting({
    schema: port,
    fallback: 8000,
    expects: 'a whole number from 0 to 65535',
    flags: '--port <port>',
    description: 'port to listen on; 0 picks a free port',
  }),
  model: setting({
    schema: z.string().min(1),
    fallback: 'nano',
    expects: 'a name, a folder or a hub id',
    flags: '--model <name|dir|hub-id>',
    description: 'checkpoint to serve: a built-in name, a folder, a converted file, or the id of a pulled checkpoint',
  }),
  device: setting({
    schema: z.enum(['auto', 'cpu', 'cuda', 'metal', 'vulkan']),
    fallback: 'auto',
    expects: 'auto, cpu, cuda, metal or vulkan',
    flags: '--device <device>',
    description: 'device that runs the model: auto, cpu, cuda, metal or vulkan',
  }),
  gpuPrecision: setting({
    schema: z.enum(['exact', 'fast']),
    fallback: 'fast',
    expects: 'exact or fast',
    flags: '--gpu-precision <exact|fast>',
    description: 'GPU precision: fast (half precision where quicker) or exact (f32, vulkan only)',
  }),
  threads: setting({
    schema: countOrZero,
    fallback: 0,
    expects: 'a whole number, 0 or more',
    flags: '--threads <threads>',
    description: 'threads for computation; 0 is one per core',
  }),
  contextLength: setting({
    schema: countOrZero,
    fallback: 0,
    expects: 'a whole number, 0 or more',
    flags: '--context-length <tokens>',
    description: "context length in tokens; 0 is the checkpoint's maximum",
  }),
  bind: setting({
    schema: pairs,
    fallback: {},
    expects: 'API_MODEL=CHECKPOINT or API_MODEL:thinking=CHECKPOINT (in a file, an object of these pairs)',
    flags: '--bind <api-model=checkpoint>',
    repeatable: true,
    description:
      'checkpoint for one API model, in place of --model; API_MODEL:thinking=CHECKPOINT for its thinking mode',
  }),
  alias: setting({
    schema: pairs,
    fallback: {},
    expects: 'NAME=SNAPSHOT (in a file, an object of these pairs)',
    flags: '--alias <name=snapshot>',
    repeatable: true,
    description: 'snapshot that an API model stands for, such as qwen3-omni-flash=qwen3-omni-flash-2025-12-01',
  }),
  region: setting({
    schema: z.enum(['intl', 'cn']),
    fallback: 'intl',
    expects: 'intl or cn',
    flags: '--region <intl|cn>',
    description: "Model Studio's region, for models and prices: intl (Singapore) or cn (Beijing)",
  }),
  apiKey: setting({
    schema: texts,
    fallback: [],
    expects: 'keys of at least one character (in a file, a list)',
    flags: '--api-key <key>',
    repeatable: true,
    secret: true,
    description: 'key that callers must send; without one, the server is open to this machine',
  }),
  adminKey: setting({
    schema: z.string(),
    fallback: '',
    expects: 'a text',
    flags: '--admin-key <key>',
    secret: true,
    description: 'key for the admin routes (/admin/cluster); without one they are off',
  }),
  mediaAllowHost: setting({
    schema: texts,
    fallback: [],
    expects: 'host names, each with or without a port (in a file, a list)',
    flags: '--media-allow-host <host[:port]>',
    repeatable: true,
    description: 'private or loopback host from which media may be downloaded',
  }),
  corsOrigin: setting({
    schema: origins,
    fallback: [],
    expects: 'origins such as https://app.example.com, in lower case, without a path, or * (in a file, a list)',
    flags: '--cors-origin <origin>',
    repeatable: true,
    description: 'web origin that may call; default: any if keys are set, else pages of this machine only',
  }),
  lenientNonStream: setting({
    schema: flag,
    fallback: false,
    expects: 'true or false',
    flags: '--lenient-non-stream',
    description: 'on /compatible-mode/v1, answer text requests without stream=true with one JSON object',
  }),
  textCarrier: setting({
    schema: pairs.pipe(z.record(z.string(), z.enum(['content', 'transcript', 'both']))),
    fallback: {},
    expects: 'MODEL=content, MODEL=transcript or MODEL=both (in a file, an object of these pairs)',
    flags: '--text-carrier <api-model=carrier>',
    repeatable: true,
    description:
      'field for the text of a spoken reply: content (default), transcript (delta.audio.transcript, as turbo in May 2025) or both',
  }),
  speechPrompt: setting({
    schema: z.string(),
    fallback: 'default',
    expects: 'default, none or the path of a file',
    flags: '--speech-prompt <default|none|file>',
    description: 'system prompt of spoken conversations: the built-in one, none, or the text of a file',
  }),
  speechPromptMinContext: setting({
    schema: countOrZero,
    fallback: 16_384,
    expects: 'a whole number, 0 or more',
    flags: '--speech-prompt-min-context <tokens>',
    description: 'smallest context of a checkpoint that gets the built-in speech prompt; it is counted either way',
  }),
  speechSolver: setting({
    schema: z.enum(['euler', 'rk4']),
    fallback: 'euler',
    expects: 'euler or rk4',
    flags: '--speech-solver <euler|rk4>',
    description: "solver of Qwen2.5-Omni's token2wav: euler (Qwen's engine) or rk4 (transformers; four times the work)",
  }),
  speechSteps: setting({
    schema: count,
    fallback: 9,
    expects: 'a whole number, 1 or more',
    flags: '--speech-steps <steps>',
    description: 'steps of that solver; fewer are faster and less exact',
  }),
  speechGuidance: setting({
    schema: numeric(z.number().min(0)),
    fallback: 0.5,
    expects: 'a number, 0 or more',
    flags: '--speech-guidance <strength>',
    description: 'classifier-free guidance of token2wav; 0 turns it off and halves the work',
  }),
  realtimeSessions: setting({
    schema: count,
    fallback: 256,
    expects: 'a whole number, 1 or more',
    flags: '--realtime-sessions <sessions>',
    description: 'maximum number of open realtime sessions; further ones get 503 at the handshake',
  }),
  realtimeSessionLimit: setting({
    schema: seconds,
    fallback: 7200,
    expects: 'a number of seconds, 0 or more',
    flags: '--realtime-session-limit <seconds>',
    description: 'time limit for a realtime session; 0 is no limit',
  }),
  realtimeIdle: setting({
    schema: seconds,
    fallback: 300,
    expects: 'a number of seconds, 0 or more',
    flags: '--realtime-idle <seconds>',
    description: 'time without an event or a reply after which a realtime session is closed; 0 is no limit',
  }),
  rateLimit: setting({
    schema: flag,
    fallback: false,
    expects: 'true or false',
    flags: '--rate-limit',
    description: "limit each key to the model's requests and tokens per minute",
  }),
  maxActive: setting({
    schema: count,
    fallback: 32,
    expects: 'a whole number, 1 or more',
    flags: '--max-active <requests>',
    description: 'maximum number of requests processed at once',
  }),
  maxWaiting: setting({
    schema: countOrZero,
    fallback: 128,
    expects: 'a whole number, 0 or more',
    flags: '--max-waiting <requests>',
    description: 'maximum number of waiting requests; further ones get 503',
  }),
  cacheMemory: setting({
    schema: countOrZero,
    fallback: 0,
    expects: 'a whole number of bytes, 0 or more',
    flags: '--cache-memory <bytes>',
    description: 'memory limit for the KV caches of a checkpoint, prefix cache included; 0 is 80 % of free memory',
  }),
  mediaMemory: setting({
    schema: count,
    fallback: 512 * 1024 * 1024,
    expects: 'a whole number of bytes, 1 or more',
    flags: '--media-memory <bytes>',
    description: 'memory limit for decoded media in the server; further requests wait',
  }),
  maxBodyBytes: setting({
    schema: count,
    fallback: 64 * 1024 * 1024,
    expects: 'a whole number, 1 or more',
    flags: '--max-body-bytes <bytes>',
    description: 'maximum size of a request body',
  }),
  bodyTimeout: setting({
    schema: seconds,
    fallback: 300,
    expects: 'a number of seconds, 0 or more',
    flags: '--body-timeout <seconds>',
    description: 'time limit for a request body to arrive; 0 is no limit',
  }),
  requestTimeout: setting({
    schema: seconds,
    fallback: 0,
    expects: 'a number of seconds, 0 or more',
    flags: '--request-timeout <seconds>',
    description: 'time limit for a request; 0 is no limit',
  }),
  stallTimeout: setting({
    schema: seconds,
    fallback: 300,
    expects: 'a number of seconds, 0 or more',
    flags: '--stall-timeout <seconds>',
    description: 'time after which a client that stops reading is cut off; 0 is no limit',
  }),
  keepAlive: setting({
    schema: seconds,
    fallback: 15,
    expects: 'a number of seconds, 0 or more',
    flags: '--keep-alive <seconds>',
    description: 'pause in a stream after which a comment is sent, so that proxies keep it open; 0 sends none',
  }),
  shutdownGrace: setting({
    schema: seconds,
    fallback: 30,
    expects: 'a number of seconds, 0 or more',
    flags: '--shutdown-grace <seconds>',
    description: 'time that a stopping server gives running replies to finish',
  }),
  logLevel: setting({
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    fallback: 'info',
    expects: 'trace, debug, info, warn, error, fatal or silent',
    flags: '--log-level <level>',
    description: 'lowest level that is logged: trace, debug, info, warn, error, fatal or silent',
  }),
  logFormat: setting({
    schema: z.enum(['auto', 'text', 'json']),
    fallback: 'auto',
    expects: 'auto, text or json',
    flags: '--log-format <format>',
    description:
      'log format: auto, text (readable lines) or json (one object per line); auto is text on a terminal, else json',
  }),
} as const

export type SettingName = keyof typeof SETTINGS
export type Settings = { readonly [K in SettingName]: (typeof SETTINGS)[K]['fallback'] }

/** `mediaAllowHost` is `OMNISERVE_MEDIA_ALLOW_HOST`. */
export function environmentName(name: string): string {
  return `OMNISERVE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}
