/**
 * Resolves host names within a time limit, without blocking the threads that file access needs.
 *
 * `dns.lookup` runs on libuv's four threads and cannot be cancelled: a few names whose server never answers would delay
 * all other lookups and file reads. Names that callers choose are therefore resolved by the name server directly (after
 * the hosts file, as the system does). `dns.lookup`, which also uses search domains and other sources, is only for
 * names that the operator allows, two at a time.
 *
 * In: a name, never an address. Out: its addresses. Errors: Node's DNS errors; an error for an aborted signal.
 */
import { lookup, Resolver as NameServers } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isIP } from 'node:net'
import { Semaphore } from '../semaphore.ts'

export interface ResolvedAddress {
  readonly address: string
  readonly family: number
}

/** Resolves a host name; called once for each hop of a download. */
export type Resolver = (hostname: string, signal: AbortSignal) => Promise<readonly ResolvedAddress[]>

export interface NameServerOptions {
  /** `ADDRESS:PORT`; the system's by default. */
  readonly servers?: readonly string[]
  /** The hosts file; the system's by default. */
  readonly hostsFile?: string
}

/** Timeout of one query to one server, milliseconds, and the number of tries. */
const queryLimits = { timeout: 2000, tries: 2 } as const

/** How long to wait for the other address family after the first answer, milliseconds. */
const otherFamilyMs = 250

/** Looks in the hosts file, then asks name servers. Ends when `signal` aborts. */
export function nameServerResolver(options: NameServerOptions = {}): Resolver {
  return async (hostname, signal) => {
    const listed = await fromHostsFile(hostname, options.hostsFile ?? systemHostsFile())
    if (listed.length > 0) return listed
    const servers = new NameServers(queryLimits)
    if (options.servers !== undefined) servers.setServers(options.servers)
    const cancel = () => servers.cancel()
    signal.addEventListener('abort', cancel, { once: true })
    try {
      signal.throwIfAborted()
      return await bothFamilies(servers, hostname)
    } catch (error) {
      signal.throwIfAborted()
      // No name server is configured; the system may have other sources.
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return await systemResolver(hostname, signal)
      throw error
    } finally {
      signal.removeEventListener('abort', cancel)
      servers.cancel()
    }
  }
}

async function bothFamilies(servers: NameServers, hostname: string): Promise<readonly ResolvedAddress[]> {
  const query = async (family: 4 | 6): Promise<ResolvedAddress[]> => {
    const addresses = await (family === 4 ? servers.resolve4(hostname) : servers.resolve6(hostname))
    return addresses.map((address) => ({ address, family }))
  }
  const answers = [query(4), query(6)]
  await Promise.any(answers).catch((error: unknown) => {
    throw error instanceof AggregateError ? error.errors[0] : error
  })
  const none: ResolvedAddress[] = []
  const timeout = new Promise<ResolvedAddress[]>((resolve) => setTimeout(resolve, otherFamilyMs, none).unref())
  const both = await Promise.all(answers.map((answer) => Promise.race([answer.catch(() => none), timeout])))
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
    return family !== 0 && names.some((alias) => alias.toLowerCase() === name) ? [{ address, family }] : []
  })
}

/** Concurrent lookups by the system: they take at most half of libuv's four threads. */
const systemLookups = new Semaphore(2)

/** Resolves through `dns.lookup`. Such a lookup cannot be cancelled, so at most two run at the same time. */
export const systemResolver: Resolver = async (hostname, signal) => {
  const slot = await systemLookups.acquire(1, signal)
  const addresses = lookup(hostname, { all: true, verbatim: true }).finally(() => slot[Symbol.dispose]())
  addresses.catch(() => {}) // after an abort nothing else handles the rejection
  return unlessAborted(addresses, signal)
}

/** Settles like `promise`, or rejects as soon as the signal is aborted. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Error('aborted', { cause: signal.reason }))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
