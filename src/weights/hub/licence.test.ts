import { expect, it } from 'vitest'
import { readLicence } from './licence.ts'

const card = (...lines: string[]): string => ['---', ...lines, '---', '# Model', 'license: mit'].join('\n')

it.each([
  ['apache-2.0', card('license: apache-2.0', 'language:', '- en'), false],
  // As in the cards of Qwen2.5-Omni-7B and 3B.
  ['apache-2.0', card('license: other', 'license_name: apache-2.0'), false],
  ['qwen-research', card('license: other', 'license_name: qwen-research', 'license_link: LICENSE'), true],
  ['cc-by-nc-4.0', card("license: 'cc-by-nc-4.0' # no commerce"), true],
  ['other', card('license: other'), true],
  ['mit', card('license:', 'tags: [a]').replace('license:\n', 'license: MIT\r\n'), false],
  ['unknown', card('tags: [a]'), false],
  ['unknown', 'license: cc-by-nc-4.0', false],
  ['unknown', undefined, false],
])('reads the licence %s', (name, text, restricts) => {
  expect(readLicence('Somebody/Model', text)).toMatchObject({ name, restricts })
})

it('reads the link to the licence text', () => {
  const licence = readLicence(
    'Somebody/Model',
    card('license: other', 'license_name: own', 'license_link: https://x/y'),
  )
  expect(licence.link).toBe('https://x/y')
})

it('knows the licence of Qwen2.5-Omni-3B and its derivatives, whatever the card says', () => {
  for (const id of ['Qwen/Qwen2.5-Omni-3B', 'other/Qwen2.5-Omni-3B-GPTQ']) {
    expect(readLicence(id, card('license: apache-2.0'))).toMatchObject({ name: 'qwen-research', restricts: true })
    expect(readLicence(id, undefined).terms).toContain('non-commercial')
  }
  expect(readLicence('Qwen/Qwen2.5-Omni-7B', undefined).restricts).toBe(false)
})
