/**
 * A port of the loopback interface that stays free until it is used, also between two servers that use it in turn.
 */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Below the ports that systems assign to servers on port 0 and to clients. */
const RANGE = [15_000, 32_000] as const

export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(...RANGE)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}
