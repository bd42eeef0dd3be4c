/**
 * Time to read and check a request: a 10 MB body (one image as a data URI) and a small one, stage by stage in
 * process, and whole over HTTP to an error that is found after everything was parsed.
 */
import { Agent, request } from 'node:http'
import { planRequest } from '../src/api/chat/prepare.ts'
import { startTestServer } from '../tests/support/server.ts'
import { type Benchmark, measure, median, round, type Row } from './harness.ts'

/** Sends bytes unchanged; a client with little overhead. */
function post(url: string, body: Buffer): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', agent }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode))
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

const agent = new Agent({ keepAlive: true })

export const benchmark: Benchmark = {
  name: 'wire-validation',
  title: 'Reading and checking requests, with a body of 10 MB and with a small one',
  async run(context) {
    const { quick } = context
    const times = quick ? 5 : 40
    await using server = await startTestServer()
    const body = (content: unknown, change: object = {}): string =>
      JSON.stringify({ model: 'qwen3-omni-flash', stream: true, messages: [{ role: 'user', content }], ...change })
    const image = [
      { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(10_400_000)}` } },
      { type: 'text', text: 'What is it?' },
    ]
    const rows: Row[] = []
    for (const [name, content] of [
      ['10 MB', image],
      ['small', 'What is it?'],
    ] as const) {
      context.log(name)
      const text = body(content)
      const bytes = Buffer.from(text)
      const repeat = name === 'small' ? 1000 : 1
      const perSecond = async (work: () => unknown): Promise<number> => {
        const all = await measure(times, async () => {
          for (let round_ = 0; round_ < repeat; round_ += 1) await work()
        })
        return round((repeat * 1000) / median(all))
      }
      const parsed: unknown = JSON.parse(text)
      const bad = Buffer.from(
        body(content, { audio: { voice: 'Nobody', format: 'wav' }, modalities: ['text', 'audio'] }),
      )
      const before = process.memoryUsage.rss()
      rows.push({
        case: name,
        'JSON.parse/s': await perSecond(() => JSON.parse(bytes.toString('utf8'))),
        'schema and rules/s': await perSecond(() => planRequest(server.services, parsed)),
        'over HTTP/s': round(
          1000 /
            median(
              await measure(times, async () => {
                const status = await post(`${server.baseUrl}/chat/completions`, bad)
                if (status !== 400) throw new Error(`expected 400, got ${status}`)
              }),
            ),
        ),
        'memory grown MB': round((process.memoryUsage.rss() - before) / 1e6),
      })
    }
    return rows
  },
}
