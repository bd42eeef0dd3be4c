/**
 * The section of CHANGELOG.md for a version, for release notes: `node release/changelog.ts 1.2.3`.
 *
 * Ends with 1 when the version is not package.json's, has no section, or the section still says "unreleased".
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'

const root = path.join(import.meta.dirname, '..')
const [wanted = ''] = process.argv.slice(2)

function fail(message: string): never {
  console.error(message)
  process.exit(1)
}

const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
if (wanted !== version) fail(`package.json has version ${version}, and ${wanted || 'none'} was asked for.`)
const sections = readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8').split(/^## /m).slice(1)
const section = sections.find((text) => text.split(/[\s,]/, 1)[0] === version)
if (section === undefined) fail(`CHANGELOG.md has no section for ${version}.`)
const [title = '', ...lines] = section.split('\n')
if (!/, \d{4}-\d\d-\d\d$/.test(title))
  fail(`The section of ${version} has no date: "${title}". It should be "${version}, 2026-12-31".`)
console.log(lines.join('\n').trim())
