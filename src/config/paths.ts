/** File locations on this machine: pulled checkpoints, caches, the package itself. */
import { homedir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** The package's own folder: with package.json, `models/` and `web/`. The same depth from `src` and from `dist`. */
export const packageFolder = fileURLToPath(new URL('../../', import.meta.url))

/** `OMNISERVE_HOME`, else the platform's cache folder. */
export function homeFolder(environment: Readonly<Record<string, string | undefined>> = process.env): string {
  const given = environment['OMNISERVE_HOME']
  if (given !== undefined && given !== '') return path.resolve(given)
  const cache = environment['XDG_CACHE_HOME']
  return path.join(cache === undefined || cache === '' ? path.join(homedir(), '.cache') : cache, 'omniserve')
}

/** Where `omniserve pull OWNER/NAME` puts a checkpoint and `--model OWNER/NAME` looks for it. */
export function pulledFolder(hubId: string, environment?: Readonly<Record<string, string | undefined>>): string {
  return path.join(homeFolder(environment), 'checkpoints', ...hubId.split('/'))
}
