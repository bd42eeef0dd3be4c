/**
 * Converts the extensions that `/v1` accepts to the service's own form, before anything is checked. Pure.
 *
 * In: a body's parsed JSON. Out: a copy that `/compatible-mode/v1` would also accept, as far as this goes. Field paths
 * stay the same, so errors name the caller's own fields. Every rewriting is listed in docs/wire.md.
 */

type Json = Readonly<Record<string, unknown>>

/** `textOf` gives the text of an earlier reply by the id of its audio. */
export function lenientBody(json: unknown, textOf: (audioId: string) => string | undefined): unknown {
  if (!isObject(json)) return json
  const body: Record<string, unknown> = { ...json }
  if (Array.isArray(json['messages'])) {
    body['messages'] = json['messages'].map((message: unknown) =>
      isObject(message) ? lenientMessage(message, textOf) : message,
    )
  }
  const audio = json['audio']
  const modalities = json['modalities'] ?? undefined
  if (isObject(audio) && modalities === undefined) body['modalities'] = ['text', 'audio']
  if (Array.isArray(modalities) && modalities.length === 1 && modalities[0] === 'audio')
    body['modalities'] = ['text', 'audio']
  return body
}

function lenientMessage(message: Json, textOf: (audioId: string) => string | undefined): Json {
  const out: Record<string, unknown> = { ...message }
  if (message['role'] === 'developer') out['role'] = 'system'
  const { content, audio } = message
  if (message['role'] === 'assistant' && (content === null || content === undefined) && isObject(audio)) {
    const text = typeof audio['id'] === 'string' ? textOf(audio['id']) : undefined
    if (text !== undefined) out['content'] = text
  } else if (message['role'] === 'assistant' && typeof message['refusal'] === 'string') {
    out['content'] = content ?? message['refusal']
    delete out['refusal']
  }
  if (Array.isArray(content))
    out['content'] = content.map((part: unknown) => (isObject(part) ? lenientPart(part) : part))
  return out
}

function lenientPart(part: Json): Json {
  if (part['type'] === 'refusal' && typeof part['refusal'] === 'string') return { type: 'text', text: part['refusal'] }
  if (part['type'] === 'audio_url') {
    const { audio_url: given, ...others } = part
    const url = isObject(given) ? given['url'] : given
    return { ...others, type: 'input_audio', input_audio: { data: url } }
  }
  const audio = part['input_audio']
  if (part['type'] !== 'input_audio' || !isObject(audio) || typeof audio['data'] !== 'string') return part
  if (/^\s*(data:|https?:)/i.test(audio['data'])) return part
  return { ...part, input_audio: { ...audio, data: `data:;base64,${audio['data']}` } }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
