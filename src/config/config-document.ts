/**
 * The configuration file as text: YAML or JSON, read with the line of every key, for error messages.
 *
 * Imported when there is a file, as most commands have none. In: text. Out: its values. Reference: YAML 1.2, of which
 * JSON is a part.
 */
import { type Document, isNode, LineCounter, parseDocument, visit } from 'yaml'
import { ConfigError } from './config-error.ts'

export interface ConfigDocument {
  readonly values: Readonly<Record<string, unknown>>
  /** Line of a key, from 1; of the nearest key above where it is not in the file. */
  lineOf(path: readonly PropertyKey[]): number | undefined
}

/** @throws ConfigError with the line, if the text is not YAML */
export function parseConfigText(text: string, file: string): ConfigDocument {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false })
  const [error] = document.errors
  if (error) {
    const { line } = lines.linePos(error.pos[0])
    throw new ConfigError(`the configuration file ${file}, line ${line}, is not YAML: ${error.message}`)
  }
  const values = valuesOf(document, file, lines)
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
function valuesOf(document: Document, file: string, lines: LineCounter): unknown {
  try {
    return document.toJS()
  } catch (error) {
    let at: number | undefined
    visit(document, {
      Alias(_, alias) {
        if (alias.resolve(document) !== undefined) return undefined
        at = alias.range?.[0]
        return visit.BREAK
      },
    })
    const place = at === undefined ? '' : `, line ${lines.linePos(at).line},`
    const fix = at === undefined ? '' : '; put a value that begins with * in quotes'
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError(`the configuration file ${file}${place} cannot be read: ${reason}${fix}.`, { cause: error })
  }
}
