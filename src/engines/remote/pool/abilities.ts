/** Whether a model supports a request, and what a route of several pools supports together. Pure. */

import { EngineError, type EngineModel, type GenerationRequest } from '../../../contract/index.ts'

/**
 * Why it does not; undefined when it does.
 * @param choosy whether another model of the route supports the choice of a voice; then one without a choice is never
 * given another name.
 */
export function whyNot(model: EngineModel, request: GenerationRequest, choosy = false): EngineError | undefined {
  const refuse = (message: string, param: string): EngineError => new EngineError('unsupported', message, { param })
  if (request.speech) {
    if (!model.output.includes('audio')) return refuse('It has no speech output.', 'modalities')
    const voice = request.speech.voice.toLowerCase()
    const own = choosy && !model.capabilities.voiceChoice
    if (!model.voices.some(({ name, native }) => name.toLowerCase() === voice && (native || !own)))
      return refuse(`It has no voice '${request.speech.voice}'.`, 'audio.voice')
  }
  if (request.thinking && !model.thinking) return refuse('It does not think.', 'enable_thinking')
  if (request.tools && request.tools.length > 0 && !model.capabilities.tools)
    return refuse('It calls no tools.', 'tools')
  for (const message of request.messages) {
    for (const part of message.content) {
      if (!model.input.includes(part.type)) return refuse(`It takes no ${part.type} input.`, 'messages')
    }
  }
  return undefined
}

/** What at least one of them supports, under one name. @param models at least one */
export function together(id: string, models: readonly EngineModel[]): EngineModel {
  const [first] = models
  if (first === undefined) throw new Error('a route has at least one pool')
  const all = <T>(read: (model: EngineModel) => readonly T[]): readonly T[] => [...new Set(models.flatMap(read))]
  const some = (read: (model: EngineModel) => boolean): boolean => models.some(read)
  const voices = new Map(
    models.toReversed().flatMap((model) => model.voices.map((voice) => [voice.name, voice] as const)),
  )
  const { sampling, historyTurns, spokenHistoryTurns, historyAudio } = first
  return {
    id,
    architecture: first.architecture,
    input: all((model) => model.input),
    output: all((model) => model.output),
    thinking: some((model) => model.thinking),
    capabilities: {
      tools: some((model) => model.capabilities.tools),
      seed: models.every((model) => model.capabilities.seed),
      voiceChoice: some((model) => model.capabilities.voiceChoice),
      promptByModality: models.every((model) => model.capabilities.promptByModality),
      countsPrompt: models.every((model) => model.capabilities.countsPrompt),
    },
    contextLength: Math.max(...models.map((model) => model.contextLength)),
    maxOutputTokens: Math.max(...models.map((model) => model.maxOutputTokens)),
    voices: [...voices.values()],
    weights: [...new Set(models.map((model) => model.weights))].join(', '),
    device: [...new Set(models.map((model) => model.device))].join(', '),
    // Of a route with a single pool: with several, the API model's defaults fit all.
    ...(models.length === 1 && sampling && { sampling }),
    ...(models.length === 1 && historyTurns !== undefined && { historyTurns }),
    ...(models.length === 1 && spokenHistoryTurns !== undefined && { spokenHistoryTurns }),
    ...(models.length === 1 && historyAudio !== undefined && { historyAudio }),
  }
}
