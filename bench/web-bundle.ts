/** The playground's size: all its built files, gzipped, and what a first visit loads. Limit: 320 kB. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { gzipSync } from 'node:zlib'

import { playgroundFolder } from '../tests/browser/playground-server.ts'
import type { Benchmark, Row } from './harness.ts'

const LIMIT_KB = 320

/** Files of the built playground with their sizes in bytes. */
export function bundleFiles(folder: string = playgroundFolder): { name: string; bytes: number; gzipped: number }[] {
  if (!existsSync(folder)) throw new Error('the playground is not built: npm run build')
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name)
      const content = readFileSync(file)
      return { name: path.relative(folder, file), bytes: content.length, gzipped: gzipSync(content).length }
    })
}

function sum(files: ReturnType<typeof bundleFiles>, keep: (name: string) => boolean): Row {
  const kept = files.filter(({ name }) => keep(name))
  const kilobytes = (key: 'bytes' | 'gzipped'): number => kept.reduce((total, file) => total + file[key], 0) / 1000
  return { case: '', files: kept.length, kB: kilobytes('bytes'), 'gzipped kB': kilobytes('gzipped') }
}

export const benchmark: Benchmark = {
  name: 'web-bundle',
  title: `weight of the playground (limit ${LIMIT_KB} kB gzipped, all languages and parts together)`,
  run: async () => {
    // The API reference is a page of its own.
    const files = bundleFiles().filter(({ name }) => !/reference/.test(name))
    const total = sum(files, () => true)
    if (Number(total['gzipped kB']) >= LIMIT_KB)
      throw new Error(`the playground weighs ${total['gzipped kB']} kB gzipped`)
    // Markdown, the Chinese texts and the recorder are loaded when they are needed.
    const later = /markdown|zh-han|worklet/
    return [
      { ...total, case: 'everything' },
      { ...sum(files, (name) => !later.test(name)), case: 'first load, English' },
      { ...sum(files, (name) => later.test(name)), case: 'loaded when needed' },
    ]
  },
}
