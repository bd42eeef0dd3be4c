// One request per way of giving media: by URL and as Base64.
import { readFileSync } from 'node:fs'
import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: process.env.DASHSCOPE_API_KEY,
  baseURL: 'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
})
const files = 'https://help-static-aliyun-doc.aliyuncs.com'
const base64 = (name) => readFileSync(name).toString('base64')
const parts = [
  { type: 'image_url', image_url: { url: `${files}/picture.png` } },
  { type: 'image_url', image_url: { url: `data:image/png;base64,${base64('picture.png')}` } },
  { type: 'input_audio', input_audio: { data: `${files}/sound.wav`, format: 'wav' } },
  { type: 'input_audio', input_audio: { data: `data:;base64,${base64('sound.wav')}`, format: 'wav' } },
  { type: 'video', video: Array.from({ length: 4 }, () => `${files}/frame.jpg`) },
  { type: 'video', video: Array.from({ length: 4 }, () => `data:image/jpeg;base64,${base64('frame.jpg')}`) },
  { type: 'video_url', video_url: { url: `${files}/clip.mp4` } },
  { type: 'video_url', video_url: { url: `data:;base64,${base64('clip.mp4')}` } },
]
for (const part of parts) {
  const completion = await client.chat.completions.create({
    model: 'qwen3-omni-flash',
    messages: [{ role: 'user', content: [part, { type: 'text', text: 'What is it?' }] }],
    stream: true,
    stream_options: { include_usage: true },
    modalities: ['text', 'audio'],
    audio: { voice: 'Cherry', format: 'wav' },
  })
  for await (const chunk of completion) {
    if (chunk.choices.length === 0) console.log('\n' + JSON.stringify(chunk.usage))
    else process.stdout.write(chunk.choices[0].delta.content ?? '')
  }
}
