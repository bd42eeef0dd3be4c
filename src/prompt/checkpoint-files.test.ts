import { expect, it } from 'vitest'
import { readCheckpointFiles } from './checkpoint-files.ts'

const contents: Record<string, string> = {
  'config.json': '{"architectures": ["A"]}',
  'tokenizer.json': '{"model": {}}',
  'vocab.json': '{}',
  'processor_config.json': '[1]',
}

function source(config?: { readonly [key: string]: unknown }) {
  const asked: string[] = []
  const bytesAsked: string[] = []
  return {
    asked,
    bytesAsked,
    location: 'here',
    ...(config && { config }),
    readText: async (name: string) => {
      asked.push(name)
      return contents[name]
    },
    readBytes: async (name: string) => {
      bytesAsked.push(name)
      return name === 'voices.bin' ? Uint8Array.of(1) : undefined
    },
  }
}

it('reads every file once, however often it is asked for', async () => {
  const given = source()
  const files = await readCheckpointFiles(given, ['voices.bin', 'other.bin'])
  expect(files.requireJson('config.json')).toEqual({ architectures: ['A'] })
  expect(files.json('config.json')).toBe(files.json('config.json'))
  expect(files.text('tokenizer.json')).toBe('{"model": {}}')
  expect(new Set(given.asked).size).toBe(given.asked.length)
  // The older vocabulary is not needed with tokenizer.json.
  expect(given.asked).not.toContain('vocab.json')
  expect(given.bytesAsked).toEqual(['voices.bin', 'other.bin'])
  expect([files.bytes('voices.bin'), files.bytes('other.bin')]).toEqual([Uint8Array.of(1), undefined])
})

it('does not read again a configuration that is there', async () => {
  const given = source({ architectures: ['B'] })
  expect((await readCheckpointFiles(given)).requireJson('config.json')).toEqual({ architectures: ['B'] })
  expect(given.asked).not.toContain('config.json')
})

it('names the file that is broken or missing', async () => {
  const files = await readCheckpointFiles(source())
  expect(() => files.json('processor_config.json')).toThrow(
    'processor_config.json in here is broken: not a JSON object',
  )
  expect(files.json('generation_config.json')).toBeUndefined()
  expect(() => files.requireJson('generation_config.json')).toThrow('here has no generation_config.json')
})
