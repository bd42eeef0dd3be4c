// Ask, print the text as it comes, write the speech to reply.wav.
import { createWriteStream } from 'node:fs'
import { once } from 'node:events'
import OpenAI from 'openai'
import { Writer } from 'wav'

const client = new OpenAI({
  apiKey: process.env.DASHSCOPE_API_KEY,
  baseURL: 'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
})
const completion = await client.chat.completions.create({
  model: 'qwen3-omni-flash',
  messages: [{ role: 'user', content: '你是誰?' }],
  stream: true,
  stream_options: { include_usage: true },
  modalities: ['text', 'audio'],
  audio: { voice: 'Cherry', format: 'wav' },
})
let audio = ''
for await (const chunk of completion) {
  if (Array.isArray(chunk.choices) && chunk.choices.length > 0) {
    const { delta } = chunk.choices[0]
    if (delta.content) process.stdout.write(delta.content)
    if (delta.audio && delta.audio['data']) audio += delta.audio['data']
  } else {
    console.log('\n' + JSON.stringify(chunk.usage))
  }
}
const writer = new Writer({ sampleRate: 24000, channels: 1, bitDepth: 16 })
const file = createWriteStream('reply.wav')
writer.pipe(file)
writer.write(Buffer.from(audio, 'base64'))
writer.end()
await once(file, 'finish')
