/** The cluster part of the configuration file. In: a path. Out: the part, checked against its schema. */
import { readFile } from 'node:fs/promises'
import type { z } from 'zod'
import { type ClusterFile, CLUSTER_KEYS, clusterSchema, type PoolFile } from './cluster-schema.ts'
import { ConfigError } from './config-error.ts'

/** The cluster part of a file; undefined when it has no `pools`. @throws ConfigError that names file, line and key */
export async function loadClusterFile(file: string): Promise<ClusterFile | undefined> {
  const { parseConfigText } = await import('./config-document.ts')
  const document = parseConfigText(await readFile(file, 'utf8'), file)
  const part = Object.fromEntries(
    CLUSTER_KEYS.flatMap((key) => (key in document.values ? [[key, document.values[key]]] : [])),
  )
  if (Object.keys(part).length === 0) return undefined
  const parsed = clusterSchema.safeParse(part)
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.slice(0, 5).map((issue) => {
    const { path, message } = deepest(issue)
    const line = document.lineOf(path)
    return `${file}${line === undefined ? '' : `, line ${line}`}: ${pathText(path)} ${message}.`
  })
  throw new ConfigError(faults.join('\n'))
}

interface Fault {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

/** A union's own message has no detail; the alternative that fits furthest has. */
function deepest(issue: z.core.$ZodIssue): Fault {
  if (issue.code === 'unrecognized_keys')
    return { path: issue.path, message: `has an unknown key "${issue.keys.join('", "')}"` }
  if (issue.code === 'invalid_union') {
    const found = issue.errors
      .flat()
      .map((inner) => deepest({ ...inner, path: [...issue.path, ...inner.path] }))
      .toSorted((a, b) => b.path.length - a.path.length)
    if (found[0] && found[0].path.length > issue.path.length) return found[0]
    return {
      path: issue.path,
      message: found.find(({ message }) => message.startsWith('must'))?.message ?? 'does not fit',
    }
  }
  if (issue.code === 'invalid_type' && issue.input === undefined && issue.message.includes('undefined'))
    return { path: issue.path, message: 'is required' }
  return { path: issue.path, message: issue.message.replace(/^Invalid (input|option): /, 'is wrong: ') }
}

function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${String(key)}`))
    .join('')
}

/** The key of a pool's peers. @throws ConfigError when the variable or the file has none */
export async function poolKey(
  name: string,
  { key, keyVariable, keyFile }: PoolFile,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string | undefined> {
  if (keyVariable !== undefined) {
    const value = environment[keyVariable]
    if (value === undefined || value === '')
      throw new ConfigError(`the pool ${name} takes its key from the variable ${keyVariable}, which is not set.`)
    return value
  }
  if (keyFile === undefined) return key
  try {
    return (await readFile(keyFile, 'utf8')).trim()
  } catch (error) {
    throw new ConfigError(`the pool ${name} takes its key from the file ${keyFile}, which cannot be read.`, {
      cause: error,
    })
  }
}
