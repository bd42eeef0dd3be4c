/**
 * Parses a media source of a request: an http(s) URL or a base64 data URI.
 *
 * Bare base64 without `data:` is refused, as by the service. The media type in a data URI is ignored: the content
 * decides. Parameters of a data URI may have spaces, commas and quotes, as browsers write them (`codecs=vp8,opus`).
 *
 * Reference: RFC 2397 (data), RFC 4648 (base64 and its URL-safe alphabet), WHATWG Fetch (data: URL processor) and URL.
 */
import { MediaError } from './errors.ts'

export type MediaSource =
  | { readonly kind: 'url'; readonly url: URL }
  | { readonly kind: 'data'; readonly bytes: Buffer }

/** The end of a data URI's header. The last match is used: a parameter may contain it, but base64 has no semicolon. */
const base64Marker = /;\s*base64\s*,/gi
const mediaType = /^data:[^,"]*$/i

/** Most characters of a data URI's header. */
const maxHeaderLength = 2048

/** Most characters of a URL. */
const maxUrlLength = 8192

/**
 * Reads a source string. Data URIs are decoded here, after their length is checked.
 *
 * @param dataUriMaxBytes most characters of the whole data URI
 * @throws MediaError `url_invalid`, `data_uri_too_large`
 */
export function parseSource(source: string, dataUriMaxBytes: number): MediaSource {
  if (/^\s*data:/i.test(source.slice(0, 64)))
    return { kind: 'data', bytes: parseDataUri(source.trim(), dataUriMaxBytes) }
  const url = source.length > maxUrlLength ? null : parseUrl(source)
  if (url === null) {
    if (/^\s*https?:/i.test(source)) {
      throw invalid(
        source.length > maxUrlLength
          ? `The URL has ${source.length} characters; at most ${maxUrlLength} are accepted.`
          : 'The URL cannot be parsed: check its host and port.',
      )
    }
    throw invalid('It is neither an http(s) URL nor a data URI. Base64 needs the prefix `data:;base64,`.')
  }
  checkUrl(url)
  return { kind: 'url', url }
}

/** Like `URL.parse`, which Node 20 does not have. */
export function parseUrl(text: string, base?: URL): URL | null {
  try {
    return new URL(text, base)
  } catch {
    return null
  }
}

/**
 * Refuses URLs that are not downloaded: other schemes than http(s), credentials, or no host.
 *
 * @throws MediaError `url_invalid`
 */
export function checkUrl(url: URL): void {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw invalid(`The scheme \`${url.protocol}\` is not supported; use http, https or a data URI.`)
  }
  if (url.username !== '' || url.password !== '')
    throw invalid('It has a user name or password; send the file as a data URI instead.')
  if (url.hostname === '') throw invalid('It has no host.')
}

function parseDataUri(uri: string, maxBytes: number): Buffer {
  if (uri.length > maxBytes) {
    throw new MediaError(
      'data_uri_too_large',
      `The data URI has ${uri.length} bytes; at most ${maxBytes} are accepted. Send a URL instead.`,
      { source: 'data' },
    )
  }
  const marker = [...uri.slice(0, maxHeaderLength).matchAll(base64Marker)].at(-1)
  const header = uri.slice(0, marker?.index ?? 0)
  if (marker === undefined || !mediaType.test(header.split(';', 1)[0]!)) {
    throw invalid('The data URI must look like `data:audio/wav;base64,...` (or `data:;base64,...`).', 'data')
  }
  return decodeBase64(uri.slice(marker.index + marker[0].length))
}

/** Node decodes malformed base64 to other bytes than intended; such input is refused here. */
function decodeBase64(text: string): Buffer {
  let payload = text
  if (payload.includes('%')) payload = payload.replace(/%(2b|2f|3d|0d|0a)/gi, (escape) => decodeURIComponent(escape))
  // Line breaks, tabs and outer spaces are layout. A space inside a line was a `+` that a form decoder replaced.
  if (/\s/.test(payload)) payload = payload.replace(/^\s+|[ \t\f]*[\r\n\t\f]\s*|\s+$/g, '')
  if (payload.includes(' ')) {
    throw invalid(
      'The base64 of the data URI has spaces in place of `+`, because it was decoded as form data. Send `%2B` in a form.',
      'data',
    )
  }
  const stray = /[^A-Za-z0-9+/_=-]|=(?=[^=])/.exec(payload)?.[0]
  if (stray !== undefined) {
    throw invalid(`The base64 of the data URI has a character that is not allowed: ${JSON.stringify(stray)}.`, 'data')
  }
  const digits = payload.replace(/=+$/, '')
  const padding = payload.length - digits.length
  if (digits.length % 4 === 1 || (padding > 0 && (padding > 2 || payload.length % 4 !== 0))) {
    throw invalid(
      `The base64 of the data URI has a wrong length (${payload.length} characters): it is incomplete.`,
      'data',
    )
  }
  return Buffer.from(digits, 'base64')
}

function invalid(message: string, source: 'url' | 'data' = 'url'): MediaError {
  return new MediaError('url_invalid', `The media URL is not valid. ${message}`, { source })
}
