/**
 * Settings from, in rising order: defaults, the configuration file, the environment, the command line.
 *
 * In: flags as commander parsed them, an environment, and a file's path (`--config`, `OMNISERVE_CONFIG`, or
 * `omniserve.json` in the working folder when there is one). Out: {@link Settings}, or a {@link ConfigError} with the
 * bad value's origin and the allowed values.
 */
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import path from 'node:path'
import { CLUSTER_KEYS } from './cluster-schema.ts'
import { ConfigError } from './config-error.ts'
import { didYouMean } from '../protocol/did-you-mean.ts'
import { environmentName, type SettingName, SETTINGS, type Settings } from './settings.ts'

export interface ConfigSources {
  /** Values by setting name. Undefined: the option was not given. */
  readonly flags?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** The file to read; it must exist. */
  readonly file?: string | undefined
  /** Where `omniserve.json` is looked for when no file is named. */
  readonly folder?: string | undefined
}

const names = Object.keys(SETTINGS).filter((name): name is SettingName => name in SETTINGS)

/** @throws ConfigError for an unreadable file, an unknown key, or a value that does not fit. */
export async function loadSettings(sources: ConfigSources): Promise<Settings> {
  const environment = sources.environment ?? {}
  const fromFile = await readConfigFile(sources.file ?? environment['OMNISERVE_CONFIG'], sources.folder)
  const result: Partial<Record<SettingName, unknown>> = {}
  for (const name of names) {
    const row = SETTINGS[name]
    const variable = environmentName(name)
    const given = environment[variable]
    const candidates: [unknown, string][] = [
      [sources.flags?.[name], `the option ${row.flags.split(' ')[0] ?? ''}`],
      [
        given === '' || given === undefined ? undefined : 'repeatable' in row ? given.split(',') : given,
        `the variable ${variable}`,
      ],
      [
        Object.hasOwn(fromFile.values, name) ? fromFile.values[name] : undefined,
        `the key "${name}" in ${fromFile.path}`,
      ],
    ]
    const found = candidates.find(([value]) => value !== undefined)
    if (found === undefined) {
      result[name] = row.fallback
      continue
    }
    const [value, origin] = found
    const parsed = row.schema.safeParse(value)
    if (!parsed.success) {
      const fault = 'secret' in row ? 'has a value (hidden) that does not fit' : `is ${shown(value)}`
      throw new ConfigError(`${origin} ${fault}; it must be ${row.expects}.`)
    }
    result[name] = parsed.data
  }
  // Every name of SETTINGS has just been filled in by its own schema or fallback.
  return result as Settings
}

/** The settings file: the named one, or `omniserve.json` of the folder, which may be absent. */
export function configFilePath(file: string | undefined, folder: string | undefined): string | undefined {
  if (file !== undefined && file !== '') return file
  return folder === undefined ? undefined : path.join(folder, 'omniserve.json')
}

async function readConfigFile(
  file: string | undefined,
  folder: string | undefined,
): Promise<{ path: string; values: Readonly<Record<string, unknown>> }> {
  const named = file !== undefined && file !== ''
  const target = configFilePath(file, folder)
  if (target === undefined) return { path: '', values: {} }
  let text: string
  try {
    text = await readFile(target, 'utf8')
  } catch (error) {
    if (!named && error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return { path: target, values: {} }
    throw new ConfigError(`cannot read the configuration file ${target}: ${readingText(error)}.`)
  }
  let json: unknown
  try {
    if (/\.ya?ml$/i.test(target)) {
      const { parseConfigText } = await import('./config-document.ts')
      json = parseConfigText(text, target).values
    } else json = JSON.parse(text)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError(
      `the configuration file ${target} is not JSON: ${error instanceof Error ? error.message : String(error)}.`,
    )
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ConfigError(`the configuration file ${target} must hold one JSON object.`)
  }
  const values = { ...json }
  for (const key of Object.keys(values)) {
    if (!Object.hasOwn(SETTINGS, key) && key !== '$schema' && !CLUSTER_KEYS.some((name) => name === key)) {
      throw new ConfigError(
        `the configuration file ${target} has an unknown key "${key}".${didYouMean(key, names)} The keys are ${names.join(', ')}.`,
      )
    }
  }
  return { path: target, values }
}

/** `"70000"`, `"a" and "b"`, or JSON. */
function shown(value: unknown): string {
  return Array.isArray(value) && value.length > 0
    ? value.map((item) => JSON.stringify(item)).join(' and ')
    : JSON.stringify(value)
}

function readingText(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  switch (code) {
    case 'ENOENT':
      return 'there is no such file'
    case 'EACCES':
      return 'permission denied'
    case 'EISDIR':
      return 'it is a folder'
    default:
      return error instanceof Error ? error.message : String(error)
  }
}

/** Whether a host is reachable from this machine only: `localhost`, 127.0.0.0/8, `::1`. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase()
  if (bare === 'localhost' || bare === '::1' || bare.endsWith('.localhost')) return true
  return isIP(bare) === 4 && bare.startsWith('127.')
}

/** @throws ConfigError when the server would be open to the network without a key. */
export function checkExposure(settings: Settings): void {
  if (settings.apiKey.length === 0 && !isLoopback(settings.host)) {
    throw new ConfigError(
      `refusing to listen on ${settings.host} without a key: anyone who reaches it could use it. Set --api-key (or OMNISERVE_API_KEY), or listen on 127.0.0.1.`,
    )
  }
}
