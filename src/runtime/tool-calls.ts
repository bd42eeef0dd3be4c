/**
 * Tool calls in a reply: the text between `<tool_call>` and `</tool_call>`.
 *
 * In: the text between the two special tokens. Out: name and arguments, or undefined if it is not a JSON object that
 * names one of the tools. Pure. Reference: the tool format of Qwen's chat templates (Hermes style).
 */

import type { ToolChoice, ToolDefinition } from '../contract/index.ts'

export interface ToolCall {
  readonly name: string
  /** JSON text of an object. */
  readonly arguments: string
}

export interface ToolMarkers {
  readonly open: number
  readonly close: number
}

export function readToolCall(text: string, tools: readonly ToolDefinition[]): ToolCall | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof json !== 'object' || json === null || !('name' in json)) return undefined
  const { name } = json
  if (typeof name !== 'string' || !tools.some((tool) => tool.name === name)) return undefined
  const given: unknown = 'arguments' in json ? json.arguments : {}
  // Some checkpoints write the arguments as a string of JSON.
  const value = typeof given === 'string' ? parsed(given) : given
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return { name, arguments: JSON.stringify(value) }
}

/** The forced text after the opening token when a tool call is required. Undefined when the model may choose. */
export function forcedOpening(choice: ToolChoice): string | undefined {
  if (choice === 'auto' || choice === 'none') return undefined
  if (choice === 'required') return '\n{"name": "'
  return `\n{"name": ${JSON.stringify(choice.name)}, "arguments": {`
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
