/**
 * The other end of `child-server.ts`, in the child: prints the port, answers each line on standard input with resident
 * bytes, bytes that live on the heaps after a collection, and microseconds of processor so far, and ends with it.
 */
import { createInterface } from 'node:readline'

const ownProcessor = (): number => process.cpuUsage().user + process.cpuUsage().system

/** @param processor microseconds so far; default this process's. */
export function answerMeasurements(port: number, processor: () => number = ownProcessor): void {
  process.stdout.write(`${port}\n`)
  /** Microseconds that collections for the sake of this took. */
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
