// Two turns: a sound, what was answered as a list of parts, and a question about it.
import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: process.env.DASHSCOPE_API_KEY,
  baseURL: 'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
})
const completion = await client.chat.completions.create({
  model: 'qwen3-omni-flash',
  messages: [
    {
      role: 'user',
      content: [
        {
          type: 'input_audio',
          input_audio: { data: 'https://help-static-aliyun-doc.aliyuncs.com/sound.wav', format: 'wav' },
        },
        { type: 'text', text: 'What do you hear?' },
      ],
    },
    { role: 'assistant', content: [{ type: 'text', text: 'A tone.' }] },
    { role: 'user', content: [{ type: 'text', text: 'How high?' }] },
  ],
  stream: true,
  stream_options: { include_usage: true },
  modalities: ['text'],
})
for await (const chunk of completion) {
  if (chunk.choices.length === 0) console.log('\n' + JSON.stringify(chunk.usage))
  else process.stdout.write(chunk.choices[0].delta.content ?? '')
}
