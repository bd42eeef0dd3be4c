/**
 * The addresses that the downloader may connect to: public ones, and hosts that the operator allows by name.
 *
 * Every address that is not public unicast is refused: private, loopback, link-local (cloud metadata), carrier-grade
 * NAT (Alibaba's metadata), multicast, documentation, benchmarking, unique-local, and every IPv6 form that contains an
 * IPv4 address (mapped, compatible, 6to4, Teredo, NAT64).
 *
 * Reference: IANA special-purpose registries as in `ipaddr.js`.
 */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { parseUrl } from '../source.ts'

/** Ranges that `ipaddr.js` calls unicast but that are not on the public internet. */
const extraRanges: readonly (readonly [string, number])[] = [
  ['168.63.129.16', 32], // Azure's host agent
  ['192.88.99.0', 24], // 6to4 relays
  ['::', 96], // IPv4-compatible, deprecated
  ['64:ff9b::', 96], // NAT64
  ['64:ff9b:1::', 48], // NAT64, local use
  ['100::', 64], // discard only
  ['2001::', 23], // protocol assignments: Teredo, ORCHID, benchmarking
  ['2001:db8::', 32], // documentation
  ['2002::', 16], // 6to4
  ['3fff::', 20], // documentation
  ['5f00::', 16], // segment routing
  ['fec0::', 10], // site-local, deprecated
]

/** True if `address` (IPv4 or IPv6, as text) is public unicast. False for malformed addresses and those with a zone. */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 0 || address.includes('%')) return false // ipaddr.js alone also accepts short forms
  const parsed = ipaddr.parse(address)
  if (parsed.range() !== 'unicast') return false
  return !extraRanges.some(([base, bits]) => {
    const range = ipaddr.parse(base)
    return range.kind() === parsed.kind() && parsed.match(range, bits)
  })
}

/** Hosts, each with or without a port, from which files may be downloaded even if their address is not public. */
export class HostAllowList {
  readonly #entries: ReadonlySet<string>

  /** @param hosts `HOST` (any port) or `HOST:PORT`, IPv6 in brackets, compared without case. @throws TypeError */
  constructor(hosts: readonly string[] = []) {
    this.#entries = new Set(hosts.map(normalise))
  }

  allows(url: URL): boolean {
    const host = stripDot(url.hostname.toLowerCase())
    const port = url.port !== '' ? url.port : url.protocol === 'https:' ? '443' : '80'
    return this.#entries.has(host) || this.#entries.has(`${host}:${port}`)
  }
}

function normalise(entry: string): string {
  const text = entry.trim().toLowerCase()
  const bare = ipaddr.isValid(text) && text.includes(':') ? `[${text}]` : text
  const url = parseUrl(`http://${bare}`)
  const port = /:(\d+)$/.exec(bare.replace(/^\[[^\]]*\]/, ''))?.[1]
  if (url === null || url.pathname !== '/' || url.username !== '' || url.search !== '') {
    throw new TypeError(`allowHosts: \`${entry}\` is not HOST or HOST:PORT`)
  }
  const host = stripDot(url.hostname)
  return port === undefined ? host : `${host}:${Number(port)}`
}

function stripDot(host: string): string {
  return host.endsWith('.') ? host.slice(0, -1) : host
}
