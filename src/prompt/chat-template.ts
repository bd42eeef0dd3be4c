/**
 * Renders messages with the checkpoint's Jinja chat template.
 *
 * In: roles, texts and media placeholders. Out: text whose special tokens all come from the template. Special tokens
 * inside a message are split by a marker character, which the tokenizer removes, so that messages cannot inject special
 * tokens. All other text is tokenized exactly as in transformers.
 *
 * Reference: transformers `apply_chat_template`; chat_template.jinja, chat_template.json, tokenizer_config.json.
 */

import { Template } from '@huggingface/jinja'
import { EngineError, type GenerationMessage, type ToolDefinition } from '../contract/index.ts'
import { type CheckpointFiles, isObject } from './checkpoint-files.ts'
import type { AddedToken, PromptTokenizer } from './tokenizer.ts'

interface RenderedChat {
  readonly text: string
  /** Character to remove before tokenizing the text between special tokens. */
  readonly marker: string
  /** The reply starts inside an open `<think>` block. */
  readonly insideReasoning: boolean
}

export interface ChatTemplate {
  /**
   * Whether `enable_thinking` changes the prompt (`switch`) or not (`fixed`).
   */
  readonly thinking: 'fixed' | 'switch'
  /** Whether it supports tools, and the vocabulary has `<tool_call>`. */
  readonly tools: boolean
  /** `thinking` is passed to the template as `enable_thinking`; undefined leaves the variable unset. */
  render(
    messages: readonly GenerationMessage[],
    thinking: boolean | undefined,
    tools?: readonly ToolDefinition[],
  ): RenderedChat
}

/**
 * Finds the template in a checkpoint's files, in the order transformers looks.
 * @param fallback the family's default, for a checkpoint without a template.
 */
export function loadChatTemplate(files: CheckpointFiles, tokenizer: PromptTokenizer, fallback: string): ChatTemplate {
  const sources = [
    files.text('chat_template.jinja'),
    templateOf(files.json('chat_template.json')),
    templateOf(files.json('processor_config.json')),
    templateOf(files.json('tokenizer_config.json')),
  ]
  return createChatTemplate(sources.find((source) => source !== undefined) ?? fallback, tokenizer)
}

/** Compiles a template. Throws `bad_checkpoint` for invalid syntax. */
function createChatTemplate(source: string, tokenizer: PromptTokenizer): ChatTemplate {
  let template: Template
  try {
    template = new Template(source)
  } catch (error) {
    throw new EngineError('bad_checkpoint', `the chat template cannot be read: ${(error as Error).message}`, {
      cause: error,
    })
  }
  function run(messages: readonly unknown[], thinking: boolean | undefined, tools?: readonly unknown[]): string {
    const variables: Record<string, unknown> = { messages, add_generation_prompt: true }
    if (tools !== undefined) variables.tools = tools
    if (thinking !== undefined) variables.enable_thinking = thinking
    try {
      return template.render(variables)
    } catch (error) {
      // Templates reject unsupported orders of roles with raise_exception.
      throw new EngineError('unsupported', `the chat template refused the messages: ${(error as Error).message}`, {
        param: 'messages',
        cause: error,
      })
    }
  }
  const probe = [{ role: 'user', content: 'x' }]
  const called = [...probe, { role: 'assistant', content: '', tool_calls: [toolCall('f', '{"probe": 1}')] }]
  const tools =
    tokenizer.idOf('<tool_call>') !== undefined &&
    tokenizer.idOf('</tool_call>') !== undefined &&
    shows(() => run(probe, undefined, [{ type: 'function', function: { name: 'probe_function' } }]), 'probe_function')
  // Older templates convert the arguments to JSON themselves; newer ones expect text.
  const takesText = tools && shows(() => run(called, undefined), '"arguments": {"probe": 1}')
  return {
    thinking: run(probe, true) === run(probe, false) ? 'fixed' : 'switch',
    tools,
    render(messages, thinking, functions) {
      const marker = unusedCharacter(messages, functions)
      const text = run(
        messages.map((message) => templateMessage(message, tokenizer.addedTokens, marker, takesText)),
        thinking,
        functions?.map((tool) => ({ type: 'function', function: guardedValue(tool, tokenizer.addedTokens, marker) })),
      )
      const opening = text.slice(text.lastIndexOf('<|im_start|>'))
      return { text, marker, insideReasoning: opening.lastIndexOf('<think>') > opening.lastIndexOf('</think>') }
    },
  }
}

function templateOf(file: { readonly [key: string]: unknown } | undefined): string | undefined {
  const value = file?.chat_template
  if (typeof value === 'string') return value
  if (isObject(value) && typeof value.default === 'string') return value.default
  if (Array.isArray(value)) {
    const entry: unknown = value.find((item: unknown) => isObject(item) && item.name === 'default')
    if (isObject(entry) && typeof entry.template === 'string') return entry.template
  }
  return undefined
}

/**
 * A message in the form that templates expect: a string for text only, otherwise a list of parts. Joins adjacent texts.
 */
function templateMessage(
  message: GenerationMessage,
  tokens: readonly AddedToken[],
  marker: string,
  takesText: boolean,
): object {
  // Reasoning tags in a reply are not special tokens, and templates search for them, so they stay.
  const guarded =
    message.role === 'assistant' ? tokens.filter((token) => token.special || token.content.includes('tool_')) : tokens
  const parts: { type: string; text?: string }[] = []
  let run = ''
  const flush = (): void => {
    if (run !== '') parts.push({ type: 'text', text: neutralise(run, guarded, marker) })
    run = ''
  }
  for (const part of message.content) {
    switch (part.type) {
      case 'text':
        run += part.text
        break
      case 'image':
      case 'audio':
      case 'video':
        flush()
        parts.push({ type: part.type })
        break
      default:
        part satisfies never
    }
  }
  flush()
  const textOnly = parts.every((part) => part.type === 'text')
  const content = textOnly ? parts.map((part) => part.text).join('') : parts
  if (message.role === 'tool') return { role: 'tool', tool_call_id: message.toolCallId, content }
  if (message.role !== 'assistant' || message.toolCalls === undefined) return { role: message.role, content }
  const calls = message.toolCalls.map(({ name, arguments: json }) => {
    const guard = (text: string): string => neutralise(text, tokens, marker)
    return toolCall(guard(name), takesText ? guard(json) : guardedValue(parsedOr(json), tokens, marker))
  })
  return { role: message.role, content, tool_calls: calls }
}

function toolCall(name: string, json: unknown): object {
  return { type: 'function', function: { name, arguments: json } }
}

/** Whether a rendering contains a text. False if the template rejects its input. */
function shows(render: () => string, text: string): boolean {
  try {
    return render().includes(text)
  } catch {
    return false
  }
}

/** A copy with markers in all strings, including keys. */
function guardedValue(value: unknown, tokens: readonly AddedToken[], marker: string): unknown {
  if (typeof value === 'string') return neutralise(value, tokens, marker)
  if (Array.isArray(value)) return value.map((item: unknown) => guardedValue(item, tokens, marker))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [neutralise(key, tokens, marker), guardedValue(item, tokens, marker)]),
  )
}

function parsedOr(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return json
  }
}

/**
 * Inserts the marker into every special token in a text, and at an end of the text that could complete a special token
 * together with characters of the template.
 */
function neutralise(text: string, tokens: readonly AddedToken[], marker: string): string {
  let out = text
  for (const { content } of tokens) {
    // A token of one character cannot be split; the family has none.
    if (content.length < 2) continue
    // Repeated, because occurrences may overlap.
    while (out.includes(content)) out = out.replaceAll(content, content[0]! + marker + content.slice(1))
  }
  const opens = tokens.some(({ content }) => endsInPrefix(out, content))
  const closes = tokens.some(({ content }) => startsInSuffix(out, content))
  return (closes ? marker : '') + out + (opens ? marker : '')
}

/** At least two characters: a text that ends with `<` is common, and templates do not write `|im_start|>` after it. */
function endsInPrefix(text: string, token: string): boolean {
  for (let length = Math.min(text.length, token.length - 1); length >= 2; length--) {
    if (text.endsWith(token.slice(0, length))) return true
  }
  return false
}

function startsInSuffix(text: string, token: string): boolean {
  for (let length = Math.min(text.length, token.length - 1); length >= 2; length--) {
    if (text.startsWith(token.slice(-length))) return true
  }
  return false
}

/** A private-use character that no message contains. */
function unusedCharacter(messages: readonly GenerationMessage[], tools: readonly ToolDefinition[] = []): string {
  const texts = messages.flatMap((message) => [
    ...message.content.map((part) => (part.type === 'text' ? part.text : '')),
    ...(message.role === 'assistant' ? (message.toolCalls ?? []).map((call) => call.name + call.arguments) : []),
  ])
  texts.push(JSON.stringify(tools))
  for (let code = 0xe000; code <= 0xf8ff; code++) {
    const character = String.fromCharCode(code)
    if (!texts.some((text) => text.includes(character))) return character
  }
  throw new EngineError('unsupported', 'the messages use every private-use character; remove some of them', {
    param: 'messages',
  })
}
