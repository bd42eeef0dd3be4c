/** A reply as one JSON object, for requests without `stream` on a lenient server. Text only. */
import type { EngineEvent } from '../../contract/index.ts'
import type { ChatCompletion } from '../../protocol/index.ts'
import type { ReplyRecord } from './reply-record.ts'

/** Reads the engine to its end. @throws whatever the engine throws */
export async function wholeReply(
  events: AsyncIterator<EngineEvent>,
  record: ReplyRecord,
  facts: { readonly requestId: string; readonly created: number; readonly model: string },
): Promise<ChatCompletion> {
  let content = ''
  for (;;) {
    const next = await events.next()
    if (next.done === true) throw new Error('the engine ended without an end event')
    const event = next.value
    if (event.type === 'text-delta') {
      record.text(event.counts)
      content += event.text
    }
    if (event.type !== 'end') continue
    // After its last event, too, the engine holds the request until it is left.
    await events.return?.()
    const usage = record.usage(event.usage)
    record.finish(event.reason, usage)
    return {
      choices: [
        {
          message: { content, reasoning_content: '', role: 'assistant' },
          finish_reason: event.reason,
          index: 0,
          logprobs: null,
        },
      ],
      object: 'chat.completion',
      usage,
      created: facts.created,
      system_fingerprint: null,
      model: facts.model,
      id: `chatcmpl-${facts.requestId}`,
    }
  }
}
