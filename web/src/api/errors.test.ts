import { describe, expect, it } from 'vitest'
import { en } from '../i18n/en.ts'
import { adviceKey, failureFromResponse, isFault, RequestFailure, toFailure } from './errors.ts'

const envelope = {
  error: {
    message: "Voice 'X' is not supported.",
    type: 'invalid_request_error',
    param: null,
    code: 'invalid_parameter_error',
  },
  id: 'chatcmpl-1',
  request_id: '1',
}

describe('failures', () => {
  it('reads a refusal as JSON or framed as an event', async () => {
    const expected = {
      kind: 'api',
      status: 400,
      message: "Voice 'X' is not supported.",
      code: 'invalid_parameter_error',
      type: 'invalid_request_error',
      requestId: '1',
    }
    const text = JSON.stringify(envelope)
    expect(await failureFromResponse(new Response(text, { status: 400 }))).toEqual(expected)
    expect(await failureFromResponse(new Response(`data: ${text}\n\n`, { status: 400 }))).toEqual(expected)
  })

  it('says when something else answered', async () => {
    expect(await failureFromResponse(new Response('<h1>Bad gateway</h1>', { status: 502 }))).toMatchObject({
      kind: 'protocol',
      status: 502,
    })
    expect(toFailure(new SyntaxError('x')).kind).toBe('protocol')
    expect(toFailure(new TypeError('Failed to fetch'))).toEqual({ kind: 'network', message: '' })
    expect(toFailure(new TypeError('network error'))).toEqual({ kind: 'network', message: '' })
    expect(toFailure(new TypeError('x is undefined')).message).toBe('x is undefined')
    const failure = { kind: 'api' as const, message: 'm' }
    expect(toFailure(new RequestFailure(failure))).toBe(failure)
  })

  it.each([
    [{ kind: 'network', message: '' }, 'network'],
    [{ kind: 'api', message: '', status: 401 }, 'key'],
    [{ kind: 'api', message: '', status: 429, code: 'limit_requests' }, 'busy'],
    [{ kind: 'api', message: "Voice 'X' is not supported.", status: 400 }, 'voice'],
    [{ kind: 'api', message: 'Range of input length should be [1, 49152]', status: 400 }, 'length'],
    [{ kind: 'api', message: 'Download multimodal file timed out', status: 400 }, 'url'],
    [{ kind: 'api', message: '', status: 500 }, 'server'],
    [{ kind: 'api', message: '', code: 'internal_error' }, 'server'],
    [{ kind: 'api', message: '', code: 'ModelUnavailable' }, 'unavailable'],
    [{ kind: 'api', message: '', status: 503, code: 'ModelServingError' }, 'busy'],
    [{ kind: 'api', message: '', code: 'RequestTimeOut' }, 'busy'],
    [{ kind: 'api', message: '', status: 400 }, 'request'],
  ] as const)('advises on %j', (failure, advice) => {
    expect(adviceKey(failure)).toBe(advice)
    expect(en.failure).toHaveProperty(`${advice}.title`)
  })

  it('tells a breakdown, also in the middle of a reply, from a refusal', () => {
    expect(isFault({ kind: 'api', message: '', code: 'ModelUnavailable' })).toBe(true)
    expect(isFault({ kind: 'api', message: '', status: 500 })).toBe(true)
    expect(isFault({ kind: 'api', message: '', status: 400 })).toBe(false)
    expect(isFault({ kind: 'network', message: '' })).toBe(false)
  })
})
