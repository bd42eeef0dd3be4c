/**
 * The playground at `/`: the files Vite built into `web/dist`, served from this package under a strict content security
 * policy. Without a build `/` is a short page with the API's address.
 */
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../services.ts'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.webp': 'image/webp',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.wav': 'audio/wav',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.txt': 'text/plain; charset=utf-8',
  '.map': 'application/json',
}

/** Nothing from other hosts; blobs and data for media that users pick, record and play. */
const POLICY = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "media-src 'self' blob: data:",
  "connect-src 'self' blob: data:",
  "worker-src 'self' blob:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const WELCOME = `<!doctype html><html lang="en"><meta charset="utf-8"><title>omniserve</title>
<h1>omniserve is running</h1>
<p>The API is at <code>/compatible-mode/v1</code> and <code>/v1</code>; see the <a href="/reference">API reference</a>.
The playground is not built: <code>npm run build</code>.</p></html>`

/** `folder` holds `index.html` and its assets. */
export function playground(folder: string): MiddlewareHandler<AppEnv> {
  const root = path.resolve(folder)
  return async (c, next) => {
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD') return next()
    const wanted = c.req.path === '/' ? '/index.html' : decode(c.req.path)
    if (wanted === undefined || wanted.includes('\0')) return next()
    const file = path.resolve(root, `.${wanted}`)
    if (!file.startsWith(root + path.sep)) return next()
    const found = await stat(file).then(
      (facts) => facts.isFile(),
      () => false,
    )
    if (!found && c.req.path !== '/') return next()
    c.header('content-security-policy', POLICY)
    c.header('x-content-type-options', 'nosniff')
    c.header('referrer-policy', 'no-referrer')
    c.header('permissions-policy', 'microphone=(self), camera=(self)')
    if (!found) return c.html(WELCOME)
    // Vite names everything in assets/ by its content.
    c.header('cache-control', wanted.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache')
    c.header('content-type', TYPES[path.extname(file).toLowerCase()] ?? 'application/octet-stream')
    return c.body(new Uint8Array(await readFile(file)))
  }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
