/** Adds settings as command line options, and reads them from the parsed options. */
import { type Command, InvalidArgumentError } from 'commander'
import { configFilePath, loadSettings } from '../config/load.ts'
import { environmentName, type SettingName, SETTINGS, type Settings } from '../config/settings.ts'

/** Reads a repeatable option. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  if (value === '') throw new InvalidArgumentError('It must not be empty.')
  return [...(previous ?? []), value]
}

/** Adds one option per setting (or per one of `names`), and, unless `file` is false, `--config`. */
export function addSettingsOptions(
  command: Command,
  names: readonly SettingName[] = Object.keys(SETTINGS).filter((name): name is SettingName => name in SETTINGS),
  { file = true }: { readonly file?: boolean } = {},
): Command {
  for (const name of names) {
    const setting = SETTINGS[name]
    const fallback =
      Array.isArray(setting.fallback) || typeof setting.fallback === 'object' || setting.fallback === ''
        ? ''
        : `, default: ${setting.fallback}`
    const text = `${setting.description} (${environmentName(name)}${fallback})`
    if ('repeatable' in setting) command.option(setting.flags, `${text}; may be repeated`, collect)
    else command.option(setting.flags, text)
  }
  if (!file) return command
  return command.option(
    '--config <file>',
    'YAML or JSON file with settings (names in camelCase) and pools of replicas (OMNISERVE_CONFIG, default: ./omniserve.json if present)',
  )
}

/** Path of the configuration file, which may not exist. */
export function configFileOf({ config }: Readonly<Record<string, unknown>>): string | undefined {
  return configFilePath(typeof config === 'string' ? config : process.env['OMNISERVE_CONFIG'], process.cwd())
}

/** Settings from the parsed options, the environment and the configuration file. @throws ConfigError */
export function settingsFromOptions(options: Readonly<Record<string, unknown>>): Promise<Settings> {
  const file = options['config']
  return loadSettings({
    flags: options,
    environment: process.env,
    file: typeof file === 'string' ? file : undefined,
    folder: process.cwd(),
  })
}
