/**
 * A request as a program: curl, Python, Node. Each sends exactly the JSON body given.
 *
 * In: the request with its data URIs, the server's address. Out: program text. Pure.
 */
import type { ChatRequest } from '../api/types.ts'

export type SnippetLanguage = 'curl' | 'python' | 'node'

/** Fields the `openai` Python package has as named arguments; the rest go in `extra_body`. */
const PYTHON_NAMED = new Set([
  'model',
  'messages',
  'stream',
  'stream_options',
  'modalities',
  'audio',
  'temperature',
  'top_p',
  'presence_penalty',
  'seed',
  'max_tokens',
  'stop',
])

function pythonLiteral(value: unknown, indent: string): string {
  if (value === null || value === undefined) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'number') return JSON.stringify(value)
  // JSON's escapes are Python's, but for characters outside the basic plane, which JSON.stringify leaves unescaped.
  if (typeof value === 'string') return JSON.stringify(value)
  const inner = `${indent}    `
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item !== 'object') && JSON.stringify(value).length < 60)
      return `[${value.map((item) => pythonLiteral(item, inner)).join(', ')}]`
    return `[\n${value.map((item) => `${inner}${pythonLiteral(item, inner)},\n`).join('')}${indent}]`
  }
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  const lines = entries.map(([key, item]) => `${inner}${JSON.stringify(key)}: ${pythonLiteral(item, inner)},\n`)
  return `{\n${lines.join('')}${indent}}`
}

function curl(request: ChatRequest, baseUrl: string): string {
  // In a quoted heredoc nothing is expanded, and no line of JSON is the bare word that ends it.
  return `curl -N ${baseUrl}/chat/completions \\
  -H "Authorization: Bearer \${OMNISERVE_API_KEY:-any}" \\
  -H "Content-Type: application/json" \\
  --data-binary @- <<'JSON'
${JSON.stringify(request, null, 2)}
JSON
`
}

function python(request: ChatRequest, baseUrl: string): string {
  const entries = Object.entries(request).filter(([, value]) => value !== undefined)
  const named = entries.filter(([key]) => PYTHON_NAMED.has(key))
  const extra = entries.filter(([key]) => !PYTHON_NAMED.has(key))
  const lines = named.map(([key, value]) => `    ${key}=${pythonLiteral(value, '    ')},\n`)
  if (extra.length > 0) lines.push(`    extra_body=${pythonLiteral(Object.fromEntries(extra), '    ')},\n`)
  const spoken = request.audio !== undefined
  return `# pip install openai
import os
${spoken ? 'import base64\nimport wave\n' : ''}from openai import OpenAI

client = OpenAI(
    api_key=os.getenv("OMNISERVE_API_KEY", "any"),
    base_url=${JSON.stringify(baseUrl)},
)

completion = client.chat.completions.create(
${lines.join('')})

${spoken ? 'audio = ""\n' : ''}for chunk in completion:
    if not chunk.choices:
        print()
        print(chunk.usage)
        continue
    delta = chunk.choices[0].delta
    if getattr(delta, "reasoning_content", None):
        print(delta.reasoning_content, end="", flush=True)
    if delta.content:
        print(delta.content, end="", flush=True)
${
  spoken
    ? `    # Older versions of the package give a dict here, newer ones an object.
    audio += (delta.model_dump().get("audio") or {}).get("data") or ""

with wave.open("reply.wav", "wb") as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(24000)
    file.writeframes(base64.b64decode(audio))
`
    : ''
}`
}

function node(request: ChatRequest, baseUrl: string): string {
  const spoken = request.audio !== undefined
  return `// npm install openai, save as ask.mjs, run with: node ask.mjs
import OpenAI from 'openai'
${spoken ? "import { writeFileSync } from 'node:fs'\n" : ''}
const client = new OpenAI({
  apiKey: process.env.OMNISERVE_API_KEY ?? 'any',
  baseURL: ${JSON.stringify(baseUrl)},
})

const completion = await client.chat.completions.create(${JSON.stringify(request, null, 2)})

${spoken ? "let audio = ''\n" : ''}for await (const chunk of completion) {
  const delta = chunk.choices[0]?.delta
  if (delta === undefined) {
    console.log('\\n', chunk.usage)
    continue
  }
  process.stdout.write(delta.reasoning_content ?? delta.content ?? '')
${
  spoken
    ? `  audio += delta.audio?.data ?? ''
}

const pcm = Buffer.from(audio, 'base64')
const header = Buffer.alloc(44)
header.write('RIFF', 0)
header.writeUInt32LE(36 + pcm.length, 4)
header.write('WAVEfmt ', 8)
header.writeUInt32LE(16, 16)
header.writeUInt16LE(1, 20)
header.writeUInt16LE(1, 22)
header.writeUInt32LE(24000, 24)
header.writeUInt32LE(48000, 28)
header.writeUInt16LE(2, 32)
header.writeUInt16LE(16, 34)
header.write('data', 36)
header.writeUInt32LE(pcm.length, 40)
writeFileSync('reply.wav', Buffer.concat([header, pcm]))
`
    : '}\n'
}`
}

/** Program text that sends `request` to `baseUrl` (`http://host:port/compatible-mode/v1`). */
export function snippet(language: SnippetLanguage, request: ChatRequest, baseUrl: string): string {
  switch (language) {
    case 'curl':
      return curl(request, baseUrl)
    case 'python':
      return python(request, baseUrl)
    case 'node':
      return node(request, baseUrl)
    default:
      return language satisfies never
  }
}

/** The text for display: long data URIs cut short, with their size. */
export function abbreviate(text: string): string {
  return text.replaceAll(
    /(data:[\w/+.-]*;base64,[A-Za-z0-9+/]{24})[A-Za-z0-9+/]{80,}={0,2}/g,
    (whole, head: string) => {
      return `${head}… (${Math.ceil((whole.length * 3) / 4 / 1024)} kB)`
    },
  )
}
