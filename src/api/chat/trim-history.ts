/**
 * Removes the oldest turns of a conversation that is longer than its checkpoint supports.
 *
 * In: messages and the most turns; a turn is a user's message with the reply to it, the last one included. Out: the
 * messages to send, system messages always among them, and a warning.
 */
import type { GenerationMessage } from '../../contract/index.ts'

export interface TrimmedHistory {
  readonly messages: readonly GenerationMessage[]
  /** Undefined when nothing was removed. */
  readonly warning: string | undefined
}

export function trimHistory(
  messages: readonly GenerationMessage[],
  turns: number | undefined,
  checkpoint: string,
): TrimmedHistory {
  const starts = messages.flatMap((message, index) => (message.role === 'user' ? [index] : []))
  const first = turns === undefined || starts.length <= turns ? undefined : starts[starts.length - turns]
  if (first === undefined || turns === undefined) return { messages, warning: undefined }
  return {
    messages: messages.filter((message, index) => index >= first || message.role === 'system'),
    warning:
      `messages: the checkpoint '${checkpoint}' understands ${turns} turns; ` +
      `the oldest ${starts.length - turns} of ${starts.length} were left out`,
  }
}
