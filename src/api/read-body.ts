/** Reads a request's JSON body within a size. */
import { errors } from '../protocol/index.ts'

/** @throws ApiError 413 past `maxBytes`, 400 when it is empty or not JSON. */
export async function readJson(request: Request, maxBytes: number): Promise<unknown> {
  const declared = request.headers.get('content-length')
  let text: string
  if (declared !== null && /^\d+$/.test(declared)) {
    // Node ends the body at the declared length, so it can be read in one go.
    if (Number(declared) > maxBytes) throw errors.bodyTooLarge(maxBytes)
    text = await request.text()
    if (text.length > maxBytes) throw errors.bodyTooLarge(maxBytes)
  } else {
    text = await readWithin(request, maxBytes)
  }
  if (text.trim() === '') throw errors.bodyInvalid('it is empty.')
  try {
    return JSON.parse(text)
  } catch {
    throw errors.bodyInvalid('it is not JSON.')
  }
}

async function readWithin(request: Request, maxBytes: number): Promise<string> {
  if (request.body === null) return ''
  const decoder = new TextDecoder()
  const pieces: string[] = []
  let size = 0
  for await (const piece of request.body) {
    size += piece.byteLength
    // Leaving the loop early cancels the rest of the body.
    if (size > maxBytes) throw errors.bodyTooLarge(maxBytes)
    pieces.push(decoder.decode(piece, { stream: true }))
  }
  pieces.push(decoder.decode())
  return pieces.join('')
}
