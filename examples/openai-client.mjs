// The official client: prints the text as it arrives, saves the speech as reply.wav. OMNISERVE_URL and
// OMNISERVE_API_KEY select another server.
import { writeFile } from 'node:fs/promises'
import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: process.env.OMNISERVE_API_KEY ?? 'none',
  baseURL: `${process.env.OMNISERVE_URL ?? 'http://127.0.0.1:8000'}/compatible-mode/v1`,
})
const stream = await client.chat.completions.create({
  model: 'qwen3-omni-flash',
  messages: [{ role: 'user', content: process.argv[2] ?? 'Who are you?' }],
  modalities: ['text', 'audio'],
  audio: { voice: 'Cherry', format: 'wav' },
  stream: true,
  stream_options: { include_usage: true },
})
const pieces = []
for await (const chunk of stream) {
  const delta = chunk.choices[0]?.delta
  process.stdout.write(delta?.content ?? delta?.audio?.transcript ?? '')
  if (delta?.audio?.data) pieces.push(Buffer.from(delta.audio.data, 'base64'))
  if (chunk.usage) console.log(`\n${chunk.usage.total_tokens} tokens`)
}

// The streamed audio is 24 kHz 16-bit mono PCM without a header.
const pcm = Buffer.concat(pieces)
const header = Buffer.alloc(44)
header.write('RIFF', 0)
header.writeUInt32LE(36 + pcm.length, 4)
header.write('WAVEfmt ', 8)
header.writeUInt32LE(16, 16)
header.writeUInt16LE(1, 20)
header.writeUInt16LE(1, 22)
header.writeUInt32LE(24_000, 24)
header.writeUInt32LE(48_000, 28)
header.writeUInt16LE(2, 32)
header.writeUInt16LE(16, 34)
header.write('data', 36)
header.writeUInt32LE(pcm.length, 40)
await writeFile('reply.wav', Buffer.concat([header, pcm]))
console.log(`${pcm.length / 48_000} s of speech in reply.wav`)
