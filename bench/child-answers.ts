/**
 * The child's side of `child-server.ts`: prints the port, answers each line of standard input with resident bytes, heap
 * bytes after a collection and microseconds of CPU time so far, and ends when standard input ends.
 */
import { createInterface } from 'node:readline'

const ownProcessor = (): number => process.cpuUsage().user + process.cpuUsage().system

/** @param processor microseconds so far; default this process's. */
export function answerMeasurements(port: number, processor: () => number = ownProcessor): void {
  process.stdout.write(`${port}\n`)
  /** Microseconds spent on these collections, which do not count. */
  let collecting = 0
  createInterface({ input: process.stdin }).on('line', () => {
    const worked = processor() - collecting
    globalThis.gc?.()
    collecting = processor() - worked
    const { rss, heapUsed, external } = process.memoryUsage()
    process.stdout.write(`${rss} ${heapUsed + external} ${worked}\n`)
  })
  process.stdin.on('end', () => process.exit(0))
}
