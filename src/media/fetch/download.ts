/**
 * Downloads one URL by http(s), and never connects to a forbidden address.
 *
 * At each hop the host name is resolved once, its addresses are checked, and the connection is made to a checked
 * address (SNI and Host keep the name), so that a DNS answer that changes after the check has no effect. Bytes,
 * redirects, idle time and total time are limited. A file of another kind is refused at its first bytes. Proxy settings
 * in the environment are ignored, because a proxy would resolve names itself.
 *
 * In: a URL and limits. Out: a {@link Spool} that the caller disposes. Errors: {@link MediaError}.
 */
import http from 'node:http'
import https from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { abortedError, MediaError } from '../errors.ts'
import { checkUrl, parseUrl } from '../source.ts'
import { sniffLength } from '../sniff.ts'
import { type HostAllowList, isPublicAddress } from './address.ts'
import { nameServerResolver, type ResolvedAddress, type Resolver, systemResolver, unlessAborted } from './resolve.ts'
import { resourceError } from './resources.ts'
import { Spool } from './spool.ts'

export interface DownloadTimeouts {
  /** Resolving, connecting and the response's headers, per hop, milliseconds. */
  readonly connectMs: number
  /** Longest time without data within a body, milliseconds. */
  readonly idleMs: number
  /** Everything, redirects included, milliseconds. */
  readonly totalMs: number
}

export interface DownloadOptions {
  readonly allow: HostAllowList
  readonly resolve?: Resolver | undefined
  readonly timeouts: DownloadTimeouts
  readonly maxRedirects: number
  readonly maxBytes: number
  readonly directory: string
  /** Called once with the first {@link sniffLength} bytes, or all if fewer; throwing stops the download. */
  readonly onHead?: (head: Uint8Array) => Promise<void>
  readonly signal: AbortSignal
}

/** Content encodings that change the bytes. Other names have no meaning, and browsers ignore them too. */
const compressions = /^(x-)?(gzip|compress)$|^(deflate|br|zstd|dcb|dcz|exi|pack200-gzip)$/i

const nameServers = nameServerResolver()

/** Content types of web pages and API replies. The service refuses them even if the bytes are media. */
const pageTypes = /^(text\/(html|css|javascript|xml)|application\/(json|xhtml\+xml|xml|javascript|problem\+json))\b/i

/**
 * Downloads `url` within the given limits.
 *
 * @throws MediaError `url_invalid`, `forbidden_host`, `download_failed`, `download_timeout`, `not_found`,
 * `unauthorized`, `too_large`, `wrong_content_type`, `aborted`, or whatever `onHead` throws
 */
export async function download(url: URL, options: DownloadOptions): Promise<Spool> {
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), options.timeouts.totalMs)
  const signal = AbortSignal.any([options.signal, deadline.signal])
  try {
    return await follow(url, options, signal)
  } catch (error) {
    if (options.signal.aborted) throw abortedError(options.signal)
    if (deadline.signal.aborted) {
      throw timeout(`The media was not downloaded within ${options.timeouts.totalMs / 1000} s.`, error)
    }
    if (error instanceof MediaError) throw error
    throw resourceError(error) ?? failed('The media could not be downloaded.', error)
  } finally {
    clearTimeout(timer)
  }
}

async function follow(start: URL, options: DownloadOptions, signal: AbortSignal): Promise<Spool> {
  let url = start
  for (let hop = 0; hop <= options.maxRedirects; hop += 1) {
    signal.throwIfAborted()
    // oxlint-disable-next-line no-await-in-loop -- each response names the next hop
    const response = await request(url, options, signal)
    const status = response.statusCode ?? 0
    const location = response.headers.location
    if (status >= 300 && status < 400 && status !== 304 && location !== undefined) {
      response.destroy()
      const next = parseUrl(asciiLocation(location), url)
      if (next === null) throw failed('The media URL redirects to an invalid URL.')
      checkUrl(next)
      url = next
      continue
    }
    try {
      checkResponse(response, status, options.maxBytes)
      // oxlint-disable-next-line no-await-in-loop -- last hop
      return await readBody(response, options, signal)
    } finally {
      response.destroy()
    }
  }
  throw failed(`The media URL redirects more than ${options.maxRedirects} times.`)
}

/** Node reads header bytes as Latin-1. Percent-encoded one by one, they are the UTF-8 that the server sent. */
function asciiLocation(location: string): string {
  return location.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`)
}

/** Resolves the host, checks its addresses and connects to a checked one. Resolves with the response's headers. */
async function request(url: URL, options: DownloadOptions, signal: AbortSignal): Promise<http.IncomingMessage> {
  const connectTimer = new AbortController()
  const timer = setTimeout(() => connectTimer.abort(), options.timeouts.connectMs)
  const hopSignal = AbortSignal.any([signal, connectTimer.signal])
  try {
    const addresses = await checkedAddresses(url, options, hopSignal)
    return await connect(url, addresses, hopSignal, connectTimer.signal)
  } catch (error) {
    if (connectTimer.signal.aborted && !signal.aborted) {
      throw timeout(`The media's server did not answer within ${options.timeouts.connectMs / 1000} s.`, error)
    }
    throw error
  } finally {
    clearTimeout(timer)
  }
}

async function checkedAddresses(
  url: URL,
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<readonly ResolvedAddress[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const family = isIP(host)
  const allowed = options.allow.allows(url)
  const resolve = options.resolve ?? (allowed ? systemResolver : nameServers)
  let all: readonly ResolvedAddress[]
  try {
    all = family === 0 ? await unlessAborted(resolve(host, signal), signal) : [{ address: host, family }]
  } catch (error) {
    if (signal.aborted) throw error
    throw resourceError(error) ?? failed(`The host ${host} could not be resolved.`, error)
  }
  const usable = allowed ? all : all.filter(({ address }) => isPublicAddress(address))
  if (usable.length === 0) {
    if (all.length === 0) throw failed(`The host ${host} has no address.`)
    throw new MediaError(
      'forbidden_host',
      `The media URL leads to ${host}, which is not on the public internet. ` +
        `Send the file as a data URI, or allow the host with --media-allow-host.`,
      { source: 'url' },
    )
  }
  return usable
}

function connect(
  url: URL,
  addresses: readonly ResolvedAddress[],
  signal: AbortSignal,
  connectSignal: AbortSignal,
): Promise<http.IncomingMessage> {
  const pinned: LookupFunction = (_hostname, lookupOptions, callback) => {
    const all = addresses.map(({ address, family }) => ({ address, family }))
    if (lookupOptions.all === true) callback(null, all)
    else callback(null, all[0]!.address, all[0]!.family)
  }
  const client = url.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    const outgoing = client.request(url, {
      method: 'GET',
      agent: false,
      lookup: pinned,
      headers: { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'omniserve' },
      maxHeaderSize: 16_384,
    })
    const abort = () => outgoing.destroy(connectSignal.aborted ? new Error('connect timeout') : new Error('aborted'))
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    outgoing.once('response', (response) => {
      signal.removeEventListener('abort', abort)
      const peer = response.socket.remoteAddress
      if (peer !== undefined && !addresses.some(({ address }) => sameAddress(address, peer))) {
        response.destroy()
        reject(
          new MediaError('forbidden_host', 'The connection to the media URL ended at an address that was not checked.'),
        )
        return
      }
      response.on('error', () => {}) // `readBody` handles read errors; one after it must not be uncaught
      resolve(response)
    })
    outgoing.once('error', (error) => {
      signal.removeEventListener('abort', abort)
      const reason =
        resourceError(error) ?? failed(`The media's server could not be reached: ${reasonOf(error)}.`, error)
      reject(signal.aborted ? error : reason)
    })
    outgoing.on('error', () => {})
    outgoing.end()
  })
}

/** OpenSSL's messages name its source files; their last part but those is the reason. */
function reasonOf({ message }: Error): string {
  const reason = /:SSL routines:[^:]*:([^:]+)/.exec(message)?.[1]
  if (reason === undefined) return message
  return reason === 'wrong version number' ? 'the server does not answer with TLS; try http://' : `TLS: ${reason}`
}

function sameAddress(checked: string, peer: string): boolean {
  return checked === peer || `::ffff:${checked}` === peer || canonical(checked) === canonical(peer)
}

function canonical(address: string): string {
  return address.includes(':') ? (parseUrl(`http://[${address}]`)?.hostname ?? address) : address
}

function checkResponse(response: http.IncomingMessage, status: number, maxBytes: number): void {
  if (status === 404 || status === 410) throw new MediaError('not_found', `The media URL was answered with ${status}.`)
  if (status === 401 || status === 403) {
    throw new MediaError(
      'unauthorized',
      `The media URL was answered with ${status}; it must be readable without a login.`,
    )
  }
  if (status === 206 && !isWhole(response.headers['content-range']))
    throw failed('The media URL was answered with 206: with a part of the file only.')
  if (![200, 203, 206].includes(status)) throw failed(`The media URL was answered with ${status}.`)
  const encodings = response.headers['content-encoding']?.split(',').map((name) => name.trim()) ?? []
  const encoding = encodings.find((name) => compressions.test(name))
  if (encoding !== undefined) {
    throw failed(
      `The media's server sent content-encoding ${encoding}, which was not requested. Serve the file uncompressed.`,
    )
  }
  const type = response.headers['content-type']
  if (type !== undefined && pageTypes.test(type)) {
    const fix = "Set the media's own type on its server, or send the file as a data URI."
    throw new MediaError(
      'wrong_content_type',
      `The media URL was answered with ${type.slice(0, 80)}, not with media. ${fix}`,
    )
  }
  const length = response.headers['content-length']
  if (length !== undefined && Number(length) > maxBytes) throw tooLarge(maxBytes, Number(length))
}

/** Whether a range that was not requested covers the whole file. */
function isWhole(range: string | undefined): boolean {
  const [, last, size] = /^bytes 0-(\d+)\/(\d+)$/.exec(range?.trim() ?? '') ?? []
  return last !== undefined && Number(last) + 1 === Number(size)
}

async function readBody(response: http.IncomingMessage, options: DownloadOptions, signal: AbortSignal): Promise<Spool> {
  const spool = new Spool(options.directory)
  const head: Buffer[] = []
  let headBytes = 0
  let checked = false
  let timedOut = false
  const idleTimer = setTimeout(() => {
    timedOut = true
    response.destroy(new Error('idle'))
  }, options.timeouts.idleMs)
  const abort = () => response.destroy(new Error('aborted'))
  signal.addEventListener('abort', abort, { once: true })
  const checkHead = async () => {
    checked = true
    await options.onHead?.(Buffer.concat(head))
    head.length = 0
  }
  try {
    signal.throwIfAborted()
    for await (const chunk of response as AsyncIterable<Buffer>) {
      idleTimer.refresh()
      if (spool.size + chunk.length > options.maxBytes) throw tooLarge(options.maxBytes)
      await spool.write(chunk)
      if (!checked) {
        head.push(chunk)
        headBytes += chunk.length
        if (headBytes >= sniffLength) await checkHead()
      }
    }
    if (!response.complete) throw failed("The media's server closed the connection before the whole file was sent.")
    if (!checked) await checkHead()
    return spool
  } catch (error) {
    await spool[Symbol.asyncDispose]()
    if (signal.aborted || error instanceof MediaError) throw error
    const resource = resourceError(error)
    if (resource !== undefined) throw resource
    if (timedOut) throw timeout(`The media's server sent nothing for ${options.timeouts.idleMs / 1000} s.`, error)
    throw failed("The media's server closed the connection before the whole file was sent.", error)
  } finally {
    clearTimeout(idleTimer)
    signal.removeEventListener('abort', abort)
  }
}

function tooLarge(maxBytes: number, bytes?: number): MediaError {
  const count = bytes === undefined ? `more than ${maxBytes}` : String(bytes)
  return new MediaError('too_large', `The media file has ${count} bytes; at most ${maxBytes} are accepted.`, {
    source: 'url',
  })
}

function failed(message: string, cause?: unknown): MediaError {
  return new MediaError('download_failed', message, { source: 'url', cause })
}

function timeout(message: string, cause?: unknown): MediaError {
  return new MediaError('download_timeout', message, { source: 'url', cause })
}
