/** Small generated media, and a file server on the loopback address. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import sharp from 'sharp'
import { encodeWav } from '../../src/media/index.ts'

/** A PNG of one colour. */
export function png(width: number, height: number, colour = { r: 200, g: 30, b: 30 }): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: colour } })
    .png()
    .toBuffer()
}

export function jpeg(width: number, height: number, colour = { r: 30, g: 30, b: 200 }): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: colour } })
    .jpeg()
    .toBuffer()
}

/** A tone as a WAV file, 16-bit mono. */
export function wav(seconds: number, sampleRate = 16_000): Buffer {
  const samples = Int16Array.from({ length: Math.round(seconds * sampleRate) }, (_, index) =>
    Math.round(Math.sin((2 * Math.PI * 440 * index) / sampleRate) * 8000),
  )
  return Buffer.from(encodeWav(samples, sampleRate))
}

export function dataUri(bytes: Buffer, type = ''): string {
  return `data:${type};base64,${bytes.toString('base64')}`
}

export interface FileServer extends AsyncDisposable {
  /** `127.0.0.1:PORT`, for `--media-allow-host`. */
  readonly host: string
  readonly url: string
  /** Requested paths. */
  readonly asked: readonly string[]
}

export interface ServedFile {
  readonly body: Buffer | string
  readonly type?: string
  readonly status?: number
  /** Never answers. */
  readonly hang?: boolean
}

/** Serves `files` by path. */
export async function serveFiles(files: Readonly<Record<string, ServedFile>>): Promise<FileServer> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? '/'
    asked.push(path)
    const file = files[path]
    if (file?.hang === true) return
    if (file === undefined) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(file.status ?? 200, file.type === undefined ? {} : { 'content-type': file.type })
    response.end(file.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    host,
    url: `http://${host}`,
    asked,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
