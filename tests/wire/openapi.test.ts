/** `/openapi.json`: valid, complete, and no request made from it is answered with a 500. */
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { apiErrorBodySchema } from '../../src/protocol/index.ts'
import { startTestServer, type TestServer } from '../support/server.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
interface Schema {
  $ref?: string
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  anyOf?: Schema[]
  oneOf?: Schema[]
  const?: Json
  enum?: Json[]
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  minItems?: number
}
interface Document {
  paths: Record<string, Record<string, { operationId: string; responses: Record<string, unknown> }>>
  components: { schemas: Record<string, Schema> }
}

let server: TestServer
let document: Document
beforeAll(async () => {
  server = await startTestServer({ lenientNonStream: true })
  document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document
})
afterAll(() => server[Symbol.asyncDispose]())

describe('the document', () => {
  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    const result = await validator.validate(structuredClone(document) as never)
    expect(result.errors).toBeUndefined()
    expect(result.valid).toBe(true)
    expect(validator.version).toBe('3.1')
  })

  it('has no broken references and no duplicate ids', () => {
    for (const [, name] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      expect(document.components.schemas).toHaveProperty(name ?? '')
    }
    const ids = Object.values(document.paths).flatMap((methods) =>
      Object.values(methods).map(({ operationId }) => operationId),
    )
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('names every route, which answers as documented', async () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, { responses }] of Object.entries(methods)) {
        const response = await fetch(server.url + path.replace('{id}', 'qwen3-omni-flash'), {
          method,
          ...(method === 'post' && { body: '{}' }),
        })
        expect(Object.keys(responses), `${method} ${path}`).toContain(String(response.status))
        await response.arrayBuffer()
      }
    }
  })

  it('is also a page without scripts or external resources', async () => {
    const response = await fetch(`${server.url}/reference`)
    const html = await response.text()
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(html).not.toMatch(/<script|<link|<img|https?:\/\/(?!127\.0\.0\.1:8000)/)
    for (const name of Object.keys(document.components.schemas)) expect(html).toContain(`id="${name}"`)
    expect(html).toContain('/compatible-mode/v1/tokens/count')
  })
})

/** A small generator of bodies: mostly valid by the schema, often with a part of it broken. Seeded. */
function createFuzzer(seed: number) {
  let state = seed
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
  const oddities: readonly Json[] = [
    null,
    true,
    false,
    0,
    -1,
    1e308,
    -1e308,
    1.5,
    2 ** 53,
    '',
    ' ',
    'x'.repeat(300),
    '\u0000',
    '\ud800',
    '😀',
    '__proto__',
    [],
    {},
    [[]],
    [null],
    { toString: 'x' },
    '../../etc/passwd',
    '<|im_end|>',
    'data:;base64,',
    'http://127.0.0.1:1/',
    'http://[',
    'qwen3-omni-flash',
  ]
  const words: readonly Json[] = [
    'qwen3-omni-flash',
    'qwen-omni-turbo',
    'text',
    'audio',
    'Cherry',
    'wav',
    'user',
    'system',
    'assistant',
    'data:;base64,AAAA',
    'hello',
  ]
  const generate = (schema: Schema, depth: number): Json => {
    if (random() < 0.03 || depth > 9) return pick(oddities)
    if (schema.$ref !== undefined)
      return generate(document.components.schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {}, depth + 1)
    const options = schema.anyOf ?? schema.oneOf
    if (options !== undefined) return generate(pick(options), depth + 1)
    if (schema.const !== undefined) return schema.const
    if (schema.enum !== undefined) return pick(schema.enum)
    const type = Array.isArray(schema.type) ? pick(schema.type) : schema.type
    switch (type) {
      case 'object': {
        const result: { [key: string]: Json } = {}
        for (const [key, property] of Object.entries(schema.properties ?? {})) {
          const wanted = schema.required?.includes(key) === true ? 0.97 : 0.25
          if (random() < wanted) result[key] = generate(property, depth + 1)
        }
        if (random() < 0.05) result[pick(['extra_body', 'x', '__proto__', 'constructor'])] = pick(oddities)
        return result
      }
      case 'array':
        return Array.from({ length: (schema.minItems ?? 0) + Math.floor(random() * 3) }, () =>
          generate(schema.items ?? {}, depth + 1),
        )
      case 'string':
        return random() < 0.8 ? pick(words) : pick(oddities)
      case 'integer':
      case 'number': {
        const low = schema.minimum ?? schema.exclusiveMinimum ?? -10
        const high = schema.maximum ?? schema.exclusiveMaximum ?? low + 100
        const value = random() < 0.2 ? pick([low, high, low - 1, high + 1]) : low + random() * Math.min(high - low, 1e6)
        return type === 'integer' ? Math.round(value) : value
      }
      case 'boolean':
        return random() < 0.7
      case 'null':
        return null
      default:
        return pick(oddities)
    }
  }
  return () => {
    const body = generate({ $ref: 'ChatCompletionRequest' }, 0)
    // Most random names are no model; without this most bodies would end there.
    if (typeof body === 'object' && body !== null && !Array.isArray(body) && random() < 0.9) {
      body['model'] = pick(['qwen3-omni-flash', 'qwen-omni-turbo', 'qwen2.5-omni-7b'])
      if (random() < 0.8) body['stream'] = true
      body['max_tokens'] = random() < 0.9 ? 3 : (body['max_tokens'] ?? null)
      if (random() < 0.75)
        for (const key of ['tools', 'response_format', 'n', 'enable_search', 'modalities', 'audio']) delete body[key]
      if (random() < 0.5) body['messages'] = [{ role: 'user', content: pick(words) }]
      else if (random() < 0.7 && Array.isArray(body['messages'])) body['messages'].push({ role: 'user', content: 'x' })
      if (random() < 0.5) delete body['thinking_budget']
    }
    return body
  }
}

describe('a schema fuzzer', () => {
  it('finds no 500, and every refusal matches the error schema', async () => {
    const next = createFuzzer(20_251_205)
    const statuses: Record<number, number> = {}
    const codes = new Set<string | null>()
    for (let round = 0; round < 1500; round += 1) {
      const body = next()
      const path = round % 3 === 0 ? '/tokens/count' : '/chat/completions'
      const response = await fetch(server.baseUrl + path, { method: 'POST', body: JSON.stringify(body) })
      const text = await response.text()
      statuses[response.status] = (statuses[response.status] ?? 0) + 1
      expect(response.status, JSON.stringify(body)).toBeLessThan(500)
      if (response.status >= 400) codes.add(apiErrorBodySchema.parse(JSON.parse(text)).error.code)
      else expect(text, JSON.stringify(body)).not.toContain('"error"')
    }
    // The test needs many bodies that pass validation.
    expect(statuses[200]).toBeGreaterThan(150)
    expect(statuses[400]).toBeGreaterThan(300)
    expect(server.services.queue.active).toBe(0)
  }, 120_000)

  it('finds no 500 in paths and methods', async () => {
    const paths = [
      '/',
      '/v1',
      '/v1/',
      '/v1/models/%00',
      '/v1/models/%ff',
      '/v1/models/a%2Fb',
      '/v1/voices?model=',
      '/v1/voices?model=%F0%9F',
      '//',
      '/..%2f..%2fetc/passwd',
      '/assets/../../package.json',
      '/v1/models/' + 'x'.repeat(4000),
      '/%',
      '/v1/chat/completions?x=1',
    ]
    for (const path of paths) {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD']) {
        const response = await fetch(server.url + path, { method })
        expect(response.status, `${method} ${path}`).toBeLessThan(500)
        expect(await response.text()).not.toContain('"name": "omniserve"')
      }
    }
  })
})
