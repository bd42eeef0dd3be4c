import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '../api/types.ts'
import { abbreviate, snippet } from './snippets.ts'

const request: ChatRequest = {
  model: 'qwen3-omni-flash',
  messages: [{ role: 'user', content: 'JSON\nit\'s `x` $HOME \\ "q" 你好 😀' }],
  stream: true,
  stream_options: { include_usage: true },
  modalities: ['text'],
  enable_thinking: true,
  top_k: 7,
  stop: ['END'],
}

describe('snippets', () => {
  it('carry the request as it is', () => {
    const curl = snippet('curl', request, 'http://h/v1')
    expect(JSON.parse(curl.slice(curl.indexOf('\n{') + 1, curl.lastIndexOf('}') + 1))).toEqual(request)
    const node = snippet('node', request, 'http://h/v1')
    const literal = /create\((\{[\s\S]*?\n\})\)/.exec(node)?.[1] ?? ''
    expect(JSON.parse(literal)).toEqual(request)
    const python = snippet('python', request, 'http://h/v1')
    expect(python).toContain('    stream=True,\n')
    expect(python).toContain('    extra_body={\n        "enable_thinking": True,\n        "top_k": 7,\n    },\n')
    expect(python).not.toContain('wave')
    expect(snippet('python', { ...request, audio: { voice: 'Cherry', format: 'wav' } }, '')).toContain('import wave')
  })

  it('are shortened for reading only where long data is', () => {
    const text = `"data:image/png;base64,${'A'.repeat(4000)}==" and "data:;base64,AAAA"`
    expect(abbreviate(text)).toBe(`"data:image/png;base64,${'A'.repeat(24)}… (3 kB)" and "data:;base64,AAAA"`)
  })
})
