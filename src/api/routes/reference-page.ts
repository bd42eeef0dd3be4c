/**
 * The API reference at `/reference`: the built page (Swagger UI over `/openapi.json`, with requests to try), or, in
 * a checkout without a build, the same document as one page without scripts. Both under a policy without inline code.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Context } from 'hono'
import type { AppEnv } from '../services.ts'

interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
}

interface Operation {
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly description?: string }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly responses: Readonly<
    Record<
      string,
      { readonly description: string; readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }
    >
  >
}

export interface ReferenceDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 0 auto; padding: 1.5rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1rem }
code, pre { font: 0.9em ui-monospace, monospace } pre { overflow: auto; padding: 1rem; background: #8882; border-radius: 6px }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid #8884 }
.verb { font-weight: 700; text-transform: uppercase } h2, td, p { overflow-wrap: anywhere }
@media (max-width: 40rem) {
  thead { display: none } tbody, tr, td, table { display: block }
  td { border: 0; padding: 0 } tr { border-bottom: 1px solid #8884; padding: 0.5rem 0 } td:first-child { font-weight: 600 }
}
`

const policy = (...sources: string[]): string =>
  ["default-src 'none'", ...sources, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"].join('; ')

const PLAIN_POLICY = policy(`style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`)

/** Swagger UI's icons are data URIs in its style. */
const BUILT_POLICY = policy("script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'")

/** `folder` holds the built `reference.html`, if there is a build. */
export function referencePage(document: ReferenceDocument, folder?: string) {
  const plain = render(document)
  return async (c: Context<AppEnv>): Promise<Response> => {
    const built =
      folder === undefined ? undefined : await readFile(join(folder, 'reference.html'), 'utf8').catch(() => undefined)
    c.header('content-security-policy', built === undefined ? PLAIN_POLICY : BUILT_POLICY)
    c.header('x-content-type-options', 'nosniff')
    c.header('referrer-policy', 'no-referrer')
    c.header('cache-control', 'no-cache')
    return c.html(built ?? plain)
  }
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

/** Text in which `code` is marked with backticks. */
function prose(text: string | undefined): string {
  return escape(text ?? '').replaceAll(/`([^`]+)`/g, '<code>$1</code>')
}

function render(document: ReferenceDocument): string {
  const operations = Object.entries(document.paths)
    .filter(([path]) => !path.startsWith('/v1/'))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => section(path, method, operation)),
    )
  const schemas = Object.entries(document.components.schemas).map(([name, schema]) => schemaSection(name, schema))
  const example = `curl -N http://127.0.0.1:8000/compatible-mode/v1/chat/completions \\
  -H "Authorization: Bearer $DASHSCOPE_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": "qwen3-omni-flash", "stream": true, "messages": [{"role": "user", "content": "Hello"}],
       "modalities": ["text", "audio"], "audio": {"voice": "Cherry", "format": "wav"}}'`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(document.info.title)}: API reference</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escape(document.info.title)} ${escape(document.info.version)}</h1>
<p>${prose(document.info.description)} Every path below <code>/compatible-mode/v1</code> is also at <code>/v1</code>.
The same as data: <a href="/openapi.json">openapi.json</a>.</p>
<pre>${escape(example)}</pre>
${operations.join('\n')}
<h2 id="schemas">Objects</h2>
${schemas.join('\n')}
</body>
</html>
`
}

function section(path: string, method: string, operation: Operation): string {
  const body = Object.values(operation.requestBody?.content ?? {})[0]?.schema
  const parameters = (operation.parameters ?? []).map(
    (parameter) =>
      `<li><code>${escape(parameter.name)}</code> (${escape(parameter.in)}) ${prose(parameter.description)}</li>`,
  )
  const responses = Object.entries(operation.responses).map(([status, response]) => {
    const types = Object.entries(response.content ?? {}).map(
      ([type, { schema }]) => `${escape(type)}: ${typeOf(schema)}`,
    )
    return `<tr><td>${escape(status)}</td><td>${prose(response.description)}</td><td>${types.join('<br>')}</td></tr>`
  })
  return `<h2><span class="verb">${escape(method)}</span> <code>${escape(path)}</code></h2>
<p>${prose(operation.summary)}. ${prose(operation.description)}</p>
${parameters.length > 0 ? `<ul>${parameters.join('')}</ul>` : ''}
${body === undefined ? '' : `<p>Body: ${typeOf(body)}</p>`}
<table><thead><tr><th>Status</th><th>Meaning</th><th>Body</th></tr></thead><tbody>${responses.join('')}</tbody></table>`
}

function schemaSection(name: string, schema: Schema): string {
  const rows = Object.entries(schema.properties ?? {}).map(
    ([key, property]) =>
      `<tr><td><code>${escape(key)}</code>${schema.required?.includes(key) === true ? '' : ' (optional)'}</td><td>${typeOf(property)}</td><td>${prose(property.description)}</td></tr>`,
  )
  const table =
    rows.length > 0
      ? `<table><thead><tr><th>Key</th><th>Type</th><th>Meaning</th></tr></thead><tbody>${rows.join('')}</tbody></table>`
      : `<p>${typeOf(schema)}</p>`
  return `<h3 id="${escape(name)}">${escape(name)}</h3><p>${prose(schema.description)}</p>${table}`
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) {
    const name = escape(schema.$ref.split('/').at(-1) ?? '')
    return `<a href="#${name}">${name}</a>`
  }
  const options = schema.anyOf ?? schema.oneOf
  if (options !== undefined) return options.map(typeOf).join(' or ')
  if (schema.const !== undefined) return `<code>${escape(JSON.stringify(schema.const))}</code>`
  if (schema.enum !== undefined)
    return schema.enum.map((value) => `<code>${escape(JSON.stringify(value))}</code>`).join(' or ')
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}`
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema
  const low = minimum ?? exclusiveMinimum
  const high = maximum ?? exclusiveMaximum
  const whole = Math.abs(low ?? 0) > 1e15 && Math.abs(high ?? 0) > 1e15
  const range =
    whole || (low === undefined && high === undefined)
      ? ''
      : `, ${minimum === undefined && exclusiveMinimum !== undefined ? 'over' : 'from'} ${low ?? '-∞'} ${exclusiveMaximum === undefined || maximum !== undefined ? 'to' : 'to under'} ${high ?? '∞'}`
  return escape([schema.type ?? 'any'].flat().join(' or ')) + range
}
