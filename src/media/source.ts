/**
 * A media source as the wire gives it: an http(s) URL or a base64 data URI.
 *
 * Raw base64 without `data:` is refused as the service refuses it. The media type inside a data URI is not trusted: the
 * content decides what it is.
 *
 * Parameters of a data URI may hold spaces, commas and quotes, as browsers write them (`codecs=vp8,opus`).
 *
 * Reference: RFC 2397 (data), RFC 4648 (base64 and its URL-safe alphabet), WHATWG Fetch (data: URL processor) and URL.
 */
import { MediaError } from './errors.ts'

export type MediaSource =
  | { readonly kind: 'url'; readonly url: URL }
  | { readonly kind: 'data'; readonly bytes: Buffer }

/** The end of the header: base64 itself has no semicolon, so the first one is it. */
const base64Mark = /;\s*base64\s*,/i
const mediaType = /^data:\s*([\w.+!#$&^-]+\/[\w.+!#$&^-]+)?\s*$/i

/** Most characters before the payload. */
const longestHeader = 2048

/**
 * Reads a source string. Data URIs are decoded here, after their length is checked.
 *
 * @param dataUriMaxBytes most characters of the whole data URI
 * @throws MediaError `url_invalid`, `data_uri_too_large`
 */
export function parseSource(source: string, dataUriMaxBytes: number): MediaSource {
  if (/^\s*data:/i.test(source.slice(0, 64)))
    return { kind: 'data', bytes: parseDataUri(source.trim(), dataUriMaxBytes) }
  if (source.length > 8192) {
    throw invalid('It is neither an http(s) URL nor a data URI. Base64 needs the prefix `data:;base64,`.')
  }
  const url = parseUrl(source)
  if (url === null) {
    throw invalid('It is neither an http(s) URL nor a data URI. Base64 needs the prefix `data:;base64,`.')
  }
  checkUrl(url)
  return { kind: 'url', url }
}

/** `URL.parse`, which Node 20 lacks. */
export function parseUrl(text: string, base?: URL): URL | null {
  try {
    return new URL(text, base)
  } catch {
    return null
  }
}

/**
 * Refuses what the downloader does not fetch: other schemes, credentials, no host.
 *
 * @throws MediaError `url_invalid`
 */
export function checkUrl(url: URL): void {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw invalid(`The scheme \`${url.protocol}\` is not fetched; use http, https or a data URI.`)
  }
  if (url.username !== '' || url.password !== '') throw invalid('A URL with a user name or password is not fetched.')
  if (url.hostname === '') throw invalid('The URL has no host.')
}

function parseDataUri(uri: string, maxBytes: number): Buffer {
  if (uri.length > maxBytes) {
    throw new MediaError(
      'data_uri_too_large',
      `The data URI has ${uri.length} bytes; at most ${maxBytes} are taken. Give a URL instead.`,
      { source: 'data' },
    )
  }
  const mark = base64Mark.exec(uri.slice(0, longestHeader))
  const header = uri.slice(0, mark?.index ?? 0)
  if (mark === null || !mediaType.test(header.split(';', 1)[0]!)) {
    throw invalid('The data URI must look like `data:audio/wav;base64,...` (or `data:;base64,...`).', 'data')
  }
  return decodeBase64(uri.slice(mark.index + mark[0].length))
}

/** Strict where Node is lenient: input that would decode to other bytes than intended is refused. */
function decodeBase64(text: string): Buffer {
  let payload = text
  if (payload.includes('%')) payload = payload.replace(/%(2b|2f|3d|0d|0a)/gi, (escape) => decodeURIComponent(escape))
  // Line breaks, and the indentation after them, are layout; a space inside a line was a `+`.
  if (/\s/.test(payload)) payload = payload.replace(/[ \t]*[\r\n]\s*|\s+$/g, '')
  if (payload.includes(' ')) {
    throw invalid(
      'The base64 of the data URI holds spaces: its `+` were decoded as form data. Send `+`, or `%2B` in a form.',
      'data',
    )
  }
  const stray = /[^A-Za-z0-9+/_=-]|=(?=[^=])/.exec(payload)?.[0]
  if (stray !== undefined) {
    throw invalid(`The data URI holds characters that are not base64 (${JSON.stringify(stray)}).`, 'data')
  }
  const digits = payload.replace(/=+$/, '')
  const padding = payload.length - digits.length
  if (digits.length % 4 === 1 || (padding > 0 && (padding > 2 || payload.length % 4 !== 0))) {
    throw invalid(
      `The base64 of the data URI has a wrong length (${payload.length} characters): some are missing.`,
      'data',
    )
  }
  return Buffer.from(digits, 'base64')
}

function invalid(message: string, source: 'url' | 'data' = 'url'): MediaError {
  return new MediaError('url_invalid', `The media URL is not valid. ${message}`, { source })
}
