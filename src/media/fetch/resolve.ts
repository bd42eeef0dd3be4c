/**
 * Host names to addresses, within a time limit and without the threads that files need.
 *
 * `dns.lookup` runs on libuv's four threads and cannot be stopped: a few names whose server never answers would delay
 * every other lookup and every file. Names that callers choose therefore go to the name server directly (after the
 * hosts file, as the system does); `dns.lookup`, with the system's search domains and other sources, is only for names
 * that the operator allows, two at a time.
 *
 * In: a name, never an address. Out: its addresses. Errors: Node's DNS errors, or the signal's.
 */
import { lookup, Resolver as NameServers } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isIP } from 'node:net'

export interface ResolvedAddress {
  readonly address: string
  readonly family: number
}

/** Name to addresses; called once for each hop of a download. */
export type Resolver = (hostname: string, signal: AbortSignal) => Promise<readonly ResolvedAddress[]>

export interface NameServerOptions {
  /** `ADDRESS:PORT`; the system's by default. */
  readonly servers?: readonly string[]
  /** The hosts file; the system's by default. */
  readonly hostsFile?: string
}

/** One query to one server, milliseconds, and how often it is repeated. */
const patience = { timeout: 2000, tries: 2 } as const

/** How long the other family's answer is waited for once one has arrived, milliseconds. */
const otherFamilyMs = 250

/** Looks in the hosts file, then asks name servers. Ends when `signal` aborts. */
export function nameServerResolver(options: NameServerOptions = {}): Resolver {
  return async (hostname, signal) => {
    const listed = await fromHostsFile(hostname, options.hostsFile ?? systemHostsFile())
    if (listed.length > 0) return listed
    const servers = new NameServers(patience)
    if (options.servers !== undefined) servers.setServers(options.servers)
    const cancel = () => servers.cancel()
    signal.addEventListener('abort', cancel, { once: true })
    try {
      signal.throwIfAborted()
      return await bothFamilies(servers, hostname)
    } catch (error) {
      signal.throwIfAborted()
      // No name server is known here; the system may have other ways.
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return await systemResolver(hostname, signal)
      throw error
    } finally {
      signal.removeEventListener('abort', cancel)
      servers.cancel()
    }
  }
}

async function bothFamilies(servers: NameServers, hostname: string): Promise<readonly ResolvedAddress[]> {
  const ask = async (family: 4 | 6): Promise<ResolvedAddress[]> => {
    const addresses = await (family === 4 ? servers.resolve4(hostname) : servers.resolve6(hostname))
    return addresses.map((address) => ({ address, family }))
  }
  const answers = [ask(4), ask(6)]
  await Promise.any(answers).catch((error: unknown) => {
    throw error instanceof AggregateError ? error.errors[0] : error
  })
  const none: ResolvedAddress[] = []
  const late = new Promise<ResolvedAddress[]>((resolve) => setTimeout(resolve, otherFamilyMs, none).unref())
  const both = await Promise.all(answers.map((answer) => Promise.race([answer.catch(() => none), late])))
  return both.flat()
}

function systemHostsFile(): string {
  const windows = process.env['SystemRoot']
  return windows === undefined ? '/etc/hosts' : join(windows, 'System32', 'drivers', 'etc', 'hosts')
}

async function fromHostsFile(hostname: string, file: string): Promise<ResolvedAddress[]> {
  const name = hostname.toLowerCase().replace(/\.$/, '')
  if (name === 'localhost' || name.endsWith('.localhost')) {
    return [
      { address: '127.0.0.1', family: 4 },
      { address: '::1', family: 6 },
    ]
  }
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EMFILE' || error.code === 'ENFILE') throw error
    return ''
  })
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    const family = isIP(address)
    return family !== 0 && names.some((each) => each.toLowerCase() === name) ? [{ address, family }] : []
  })
}

/** Lookups by the system that may run at once: half of libuv's threads. */
const mostLookups = 2

let lookups = 0
const waiting: (() => void)[] = []

/** Asks the system, as every program does. Such a lookup cannot be cancelled, so few run at once. */
export const systemResolver: Resolver = async (hostname, signal) => {
  await turn(signal)
  const answer = lookup(hostname, { all: true, verbatim: true }).finally(() => {
    const next = waiting.shift()
    if (next === undefined) lookups -= 1
    else next() // the slot passes on
  })
  answer.catch(() => {}) // the caller may have left
  return unlessAborted(answer, signal)
}

function turn(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  if (lookups < mostLookups) {
    lookups += 1
    return Promise.resolve()
  }
  return new Promise((resolve, reject) => {
    const go = () => {
      signal.removeEventListener('abort', leave)
      resolve()
    }
    const leave = () => {
      waiting.splice(waiting.indexOf(go), 1)
      reject(signal.reason as Error)
    }
    waiting.push(go)
    signal.addEventListener('abort', leave, { once: true })
  })
}

/** `promise`, or a rejection as soon as the signal is aborted. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Error('aborted', { cause: signal.reason }))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
