/**
 * The configuration file as text: YAML or JSON, read with the line of every key, for error messages.
 *
 * In: a path. Out: its values, and the cluster part checked. Reference: YAML 1.2, of which JSON is a part.
 */
import { readFile } from 'node:fs/promises'
import type { Document, LineCounter, visit } from 'yaml'
import type { z } from 'zod'
import { type ClusterFile, CLUSTER_KEYS, clusterSchema, type PoolFile } from './cluster-schema.ts'
import { ConfigError } from './config-error.ts'

export interface ConfigDocument {
  readonly values: Readonly<Record<string, unknown>>
  /** Line of a key, from 1; of the nearest key above where it is not in the file. */
  lineOf(path: readonly PropertyKey[]): number | undefined
}

/** @throws ConfigError with the line, if the text is not YAML */
export async function parseConfigText(text: string, file: string): Promise<ConfigDocument> {
  // Loaded when there is a file, as most commands have none.
  const { isNode, LineCounter, parseDocument, visit } = await import('yaml')
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false })
  const [error] = document.errors
  if (error) {
    const { line } = lines.linePos(error.pos[0])
    throw new ConfigError(`the configuration file ${file}, line ${line}, is not YAML: ${error.message}`)
  }
  const values = valuesOf(document, file, lines, visit)
  if (values === null) return { values: {}, lineOf: () => undefined }
  if (typeof values !== 'object' || Array.isArray(values))
    throw new ConfigError(`the configuration file ${file} must hold keys and values.`)
  return {
    values: values as Readonly<Record<string, unknown>>,
    lineOf(path) {
      for (let length = path.length; length > 0; length -= 1) {
        const node: unknown = document.getIn(path.slice(0, length), true)
        if (isNode(node) && node.range) return lines.linePos(node.range[0]).line
      }
      return undefined
    },
  }
}

/**
 * @throws ConfigError for an alias without its anchor, such as `*.example.com` without quotes, and for too many of
 * them
 */
function valuesOf(document: Document, file: string, lines: LineCounter, walk: typeof visit): unknown {
  try {
    return document.toJS()
  } catch (error) {
    let at: number | undefined
    walk(document, {
      Alias(_, alias) {
        if (alias.resolve(document) !== undefined) return undefined
        at = alias.range?.[0]
        return walk.BREAK
      },
    })
    const place = at === undefined ? '' : `, line ${lines.linePos(at).line},`
    const fix = at === undefined ? '' : '; put a value that begins with * in quotes'
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError(`the configuration file ${file}${place} cannot be read: ${reason}${fix}.`, { cause: error })
  }
}

/** The cluster part of a file; undefined when it has no `pools`. @throws ConfigError that names file, line and key */
export async function loadClusterFile(file: string): Promise<ClusterFile | undefined> {
  const document = await parseConfigText(await readFile(file, 'utf8'), file)
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
