/** Building blocks of the bad requests' rows. */
/** A bad request and its answer: `message` is part of it. */
export type Row = readonly [
  name: string,
  body: unknown,
  status: number,
  code: string | null,
  param: string | null,
  message: string | RegExp,
]

export const ALGO = '<400> InternalError.Algo.InvalidParameter: '
export const INVALID = 'invalid_parameter_error'

export const text = (content: string) => ({ type: 'text', text: content })
export const user = (content: unknown) => ({ role: 'user', content })

/** A good flash request, changed. */
export const flash = (change: Record<string, unknown> = {}) => ({
  model: 'qwen3-omni-flash',
  stream: true,
  messages: [user('hi')],
  ...change,
})
export const turbo = (change: Record<string, unknown> = {}) => flash({ model: 'qwen-omni-turbo', ...change })
export const spoken = (change: Record<string, unknown> = {}) =>
  flash({ modalities: ['text', 'audio'], audio: { voice: 'Cherry', format: 'wav' }, ...change })
export const asking = (...messages: unknown[]) => flash({ messages })
export const part = (...parts: unknown[]) => asking(user(parts))
export const image = (url: unknown) => ({ type: 'image_url', image_url: { url } })
export const audio = (data: unknown) => ({ type: 'input_audio', input_audio: { data, format: 'wav' } })
export const video = (url: unknown) => ({ type: 'video_url', video_url: { url } })
export const frames = (list: unknown) => ({ type: 'video', video: list })
export const URL_TEXT = `${ALGO}The provided URL does not appear to be valid. Ensure it is correctly formatted.`
export const MIXED = `${ALGO}Multiple inputs of the same modality or mixed modality inputs are currently not applicable to the omni model`
export const HTTP = 'https://example.com/a.png'
