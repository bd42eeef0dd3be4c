/**
 * The rules of tools in a chat request. Pure. Reference: OpenAI's chat completions; Model Studio's function calling.
 */
import { z } from 'zod'
import type { ToolCall, ToolChoice, ToolDefinition } from '../../contract/index.ts'
import { type ChatCompletionRequest, errors } from '../../protocol/index.ts'

export interface PlanTools {
  readonly definitions: readonly ToolDefinition[]
  readonly choice: ToolChoice
  readonly parallel: boolean
}

export interface ToolRules {
  /** Whether model and checkpoint support tools. */
  readonly supported: boolean
  /** Why not, for the error text. */
  readonly hint: string | undefined
  /** `required` is accepted too. */
  readonly lenient: boolean
}

const toolSchema = z.object({
  type: z.literal('function'),
  function: z.object({
    name: z.string().regex(/^[\w-]{1,64}$/),
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
  }),
})

const callSchema = z.object({
  id: z.string(),
  type: z.literal('function').nullish(),
  function: z.object({ name: z.string(), arguments: z.string() }),
})

/** Undefined when there are none. @throws ApiError */
export function checkTools(request: ChatCompletionRequest, rules: ToolRules): PlanTools | undefined {
  const given = request.tools ?? []
  if (given.length > 0 && !rules.supported) throw errors.toolsUnsupported('tools', rules.hint)
  const choice = choiceOf(request.tool_choice, rules.lenient)
  if (given.length === 0) {
    if (choice !== 'auto' && choice !== 'none') throw errors.toolChoiceWithoutTools()
    return undefined
  }
  const definitions = given.map((entry, index): ToolDefinition => {
    const parsed = toolSchema.safeParse(entry)
    if (!parsed.success) {
      const path = parsed.error.issues[0]?.path.map(String).join('.') ?? ''
      throw errors.toolInvalid(`tools.${index}${path === '' ? '' : `.${path}`}`)
    }
    const { name, description, parameters } = parsed.data.function
    return { name, ...(description && { description }), ...(parameters && { parameters }) }
  })
  if (typeof choice !== 'string' && !definitions.some(({ name }) => name === choice.name))
    throw errors.toolInvalid('tool_choice.function.name')
  if (choice !== 'auto' && choice !== 'none' && request.enable_thinking === true) throw errors.toolChoiceWithThinking()
  return { definitions, choice, parallel: request.parallel_tool_calls !== false }
}

function choiceOf(given: unknown, lenient: boolean): ToolChoice {
  if (given === undefined || given === null || given === 'auto') return 'auto'
  if (given === 'none') return 'none'
  if (given === 'required' && lenient) return 'required'
  const named = z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }).safeParse(given)
  if (named.success) return { name: named.data.function.name }
  throw errors.toolChoiceUnknown()
}

/** Calls of an assistant's turn. @throws ApiError naming the first that is malformed */
export function checkCalls(given: readonly unknown[], param: string): readonly ToolCall[] {
  return given.map((entry, index) => {
    const parsed = callSchema.safeParse(entry)
    if (!parsed.success) throw errors.toolInvalid(`${param}.${index}`)
    const { id, function: called } = parsed.data
    return { id, name: called.name, arguments: called.arguments }
  })
}
