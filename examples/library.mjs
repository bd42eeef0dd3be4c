// The API server in your own program: start it, send a request, read the streamed reply, stop it.
import { readSse } from 'omniserve/protocol'
import { startServer } from 'omniserve/server'

const server = await startServer({ settings: { port: 0, model: 'nano' } })
console.log(`ready on ${server.url}`)
try {
  const response = await fetch(`${server.url}/compatible-mode/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'qwen3-omni-flash',
      messages: [{ role: 'user', content: process.argv[2] ?? 'Who are you?' }],
      stream: true,
    }),
  })
  if (!response.ok) throw new Error(await response.text())
  for await (const data of readSse(response.body)) {
    if (data === '[DONE]') break
    const chunk = JSON.parse(data)
    // An error after the first chunk comes inside the stream.
    if (chunk.error) throw new Error(chunk.error.message)
    process.stdout.write(chunk.choices[0]?.delta.content ?? '')
  }
  process.stdout.write('\n')
} finally {
  await server.stop()
}
