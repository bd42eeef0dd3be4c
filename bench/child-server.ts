/**
 * A server of this folder in a process of its own. It prints its port, answers each line with one line of numbers, and
 * ends when its standard input does.
 *
 * In: the file and its arguments. Out: the port, and the numbers when asked.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface ChildServer extends AsyncDisposable {
  readonly port: number
  /** The numbers that it answers with; their meaning depends on the file. */
  measure(): Promise<number[]>
}

export async function startChild(file: string, ...args: readonly string[]): Promise<ChildServer> {
  const child = spawn(process.execPath, ['--expose-gc', fileURLToPath(new URL(file, import.meta.url)), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async (): Promise<string> => String((await lines.next()).value)
  return {
    port: Number(await line()),
    async measure() {
      child.stdin.write('measure\n')
      return (await line()).split(' ').map(Number)
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await once(child, 'exit')
    },
  }
}
