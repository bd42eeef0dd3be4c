/**
 * Each platform gets its own build of the numeric library from `npm ci`, at the tested version, and no other
 * platform's.
 */

import { readFileSync } from 'node:fs'

import { expect, it } from 'vitest'

import { buildFor, packagesFor } from '../src/tensor/index.ts'

interface Locked {
  readonly version: string
  readonly os?: readonly string[]
  readonly cpu?: readonly string[]
}

const { optionalDependencies } = read('package.json') as { optionalDependencies: Readonly<Record<string, string>> }
const { packages } = read('package-lock.json') as { packages: Readonly<Record<string, Locked>> }

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')) as unknown
}

it.each([
  ['linux', 'x64'],
  ['linux', 'arm64'],
  ['darwin', 'x64'],
  ['darwin', 'arm64'],
  ['win32', 'x64'],
] as const)('%s %s', (platform, arch) => {
  const [name = ''] = packagesFor('cpu', platform, arch)
  const version = buildFor(platform).packages
  expect(optionalDependencies[name]).toBe(version)
  const locked = packages[`node_modules/${name}`]
  expect(locked?.version).toBe(version)
  expect(locked?.os).toEqual([platform])
  // The packages for arm64 also declare x64, and would be downloaded there: package-lock.json is corrected by hand.
  expect(locked?.cpu, `set "cpu": ["${arch}"] for ${name} in package-lock.json`).toEqual([arch])
})

it('lists only existing packages of the library', () => {
  const names = Object.keys(optionalDependencies).filter((name) => name.startsWith('@node-llama-cpp/'))
  expect(names).toHaveLength(5)
})
