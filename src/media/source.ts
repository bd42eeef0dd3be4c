/**
 * A media source as the wire gives it: an http(s) URL or a base64 data URI.
 *
 * Raw base64 without `data:` is refused as the service refuses it. The media type inside a data URI is not trusted: the
 * content decides what it is.
 *
 * Reference: RFC 2397 (data), WHATWG URL.
 */
import { MediaError } from './errors.ts'

export type MediaSource =
  | { readonly kind: 'url'; readonly url: URL }
  | { readonly kind: 'data'; readonly bytes: Buffer }

const header = /^data:([a-z0-9.+-]+\/[a-z0-9.+-]+)?(;[a-z0-9.+_-]+=("[^"]*"|[^;,"]*))*;base64,/i
const base64 = /^[A-Za-z0-9+/_-]*={0,2}$/

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
 * Refuses what the downloader will not fetch: other schemes, credentials, no host.
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
  const match = header.exec(uri.slice(0, 1024))
  if (match === null) {
    throw invalid('The data URI must look like `data:audio/wav;base64,...` (or `data:;base64,...`).', 'data')
  }
  let payload = uri.slice(match[0].length)
  if (/\s/.test(payload)) payload = payload.replace(/\s+/g, '')
  if (!base64.test(payload)) {
    throw invalid('The data URI holds characters that are not base64.', 'data')
  }
  return Buffer.from(payload, 'base64')
}

function invalid(message: string, source: 'url' | 'data' = 'url'): MediaError {
  return new MediaError('url_invalid', `The media URL is not valid. ${message}`, { source })
}
