/**
 * Hides this process's environment from the decoder processes it starts.
 *
 * Decoder processes get an empty environment, but on Linux a process may read the environment of any process of the
 * same user under `/proc`. A process that is not "dumpable" cannot be read that way, except by root. It also writes no
 * core dump and accepts no debugger of the same user.
 *
 * Reference: prctl(2), PR_SET_DUMPABLE; proc(5), `/proc/pid/environ`.
 */
import { createRequire } from 'node:module'

const setDumpable = 4

let concealed = false

/** Does nothing on other systems than Linux, which have no such file. */
export function concealEnvironment(): void {
  if (concealed || process.platform !== 'linux') return
  concealed = true
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default
  const prctl = koffi.load(null).func('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)')
  prctl(setDumpable, 0, 0, 0, 0)
}
