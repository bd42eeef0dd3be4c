// Node clients send `extra_body` as it is written.
import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: process.env.DASHSCOPE_API_KEY,
  baseURL: 'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
})
const completion = await client.chat.completions.create({
  model: 'qwen3-omni-flash',
  messages: [{ role: 'user', content: '你是誰?' }],
  stream: true,
  stream_options: { include_usage: true },
  extra_body: { enable_thinking: true },
  modalities: ['text'],
})
let reasoning = ''
for await (const chunk of completion) {
  if (chunk.choices.length === 0) console.log('\n' + JSON.stringify(chunk.usage))
  else {
    reasoning += chunk.choices[0].delta.reasoning_content ?? ''
    process.stdout.write(chunk.choices[0].delta.content ?? '')
  }
}
console.log('reasoning: ' + reasoning)
