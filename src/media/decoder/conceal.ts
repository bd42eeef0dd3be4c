/**
 * Hides this process's environment from the decoder processes it starts.
 *
 * They get an empty environment, but on Linux any process of the same user may read its parent's under `/proc`, with
 * all keys. A process that is not "dumpable" shows that only to root with the right to trace. It also leaves no core
 * dump and accepts no debugger of the same user.
 *
 * Reference: prctl(2), PR_SET_DUMPABLE; proc(5), `/proc/pid/environ`.
 */
import { createRequire } from 'node:module'

const setDumpable = 4

let concealed = false

/** Does nothing on systems other than Linux, where no such file exists. */
export function concealEnvironment(): void {
  if (concealed || process.platform !== 'linux') return
  concealed = true
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default
  const prctl = koffi.load(null).func('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)')
  prctl(setDumpable, 0, 0, 0, 0)
}
