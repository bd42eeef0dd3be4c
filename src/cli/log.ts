/**
 * The server's log on standard error: readable lines on a terminal, JSON otherwise.
 *
 * In: pino's objects. Out: `12:03:44 info  chat completion  model=qwen3-omni-flash outcome=stop`, or pino's own JSON.
 */
import pino, { type Logger } from 'pino'
import type { Settings } from '../config/index.ts'
import { clearStatus, styled } from './output.ts'

type Style = Parameters<typeof styled>[0]

const STANDARD_ERROR = 2

/** @param stream the format `auto` is text if this is a terminal, else JSON */
export function createLog(
  { logLevel, logFormat }: Pick<Settings, 'logLevel' | 'logFormat'>,
  stream: NodeJS.WriteStream = process.stderr,
): Logger {
  const asText = logFormat === 'text' || (logFormat === 'auto' && stream.isTTY)
  if (!asText) return pino({ level: logLevel, base: null }, pino.destination(STANDARD_ERROR))
  return pino(
    { level: logLevel, base: null },
    {
      write(line: string) {
        clearStatus()
        stream.write(`${logLine(line, stream)}\n`)
      },
    },
  )
}

const styles: Readonly<Record<string, Style>> = {
  trace: 'dim',
  debug: 'dim',
  info: 'green',
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
}

/** Converts a JSON line of pino to readable text. A line that is not JSON is returned without its line end. */
export function logLine(json: string, stream: NodeJS.WriteStream = process.stderr): string {
  let fields: Record<string, unknown>
  try {
    fields = JSON.parse(json) as Record<string, unknown>
  } catch {
    return json.trimEnd()
  }
  const { level, time, msg, err, ...facts } = fields
  const name = pino.levels.labels[Number(level)] ?? String(level)
  const parts = [
    styled('dim', clockTime(Number(time)), stream),
    styled(styles[name] ?? 'dim', name.padEnd(5), stream),
    ...(typeof msg === 'string' ? [msg] : []),
  ]
  const pairs = flatten(facts).map(([key, value]) => `${key}=${valueText(value)}`)
  const line = [parts.join(' '), ...(pairs.length > 0 ? [styled('dim', pairs.join(' '), stream)] : [])].join('  ')
  return err === undefined ? line : `${line}\n${errorText(err)}`
}

function clockTime(milliseconds: number): string {
  const time = new Date(milliseconds)
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':')
}

/** Pairs of a path such as `usage.prompt_tokens` and its value, one for each leaf. */
function flatten(value: unknown, key = ''): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [[key, value]]
  return Object.entries(value).flatMap(([name, inner]) => flatten(inner, key === '' ? name : `${key}.${name}`))
}

function valueText(value: unknown): string {
  if (typeof value === 'number' && !Number.isInteger(value)) return String(Number(value.toPrecision(3)))
  if (typeof value !== 'string') return JSON.stringify(value)
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}

function errorText(error: unknown): string {
  const text =
    typeof error === 'object' && error !== null && 'stack' in error ? String(error.stack) : JSON.stringify(error)
  return text
    .split('\n')
    .map((line) => `    ${line.trim()}`)
    .join('\n')
}
