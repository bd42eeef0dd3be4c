/** Whether a model supports a request, and the combined capabilities of a route with several pools. Pure. */

import { EngineError, type EngineModel, type GenerationRequest } from '../../../contract/index.ts'

/**
 * The reason why a model does not support a request, or undefined if it does.
 * @param voiceChoice whether another model of the route has a choice of voices. Then a model without a choice serves
 * only its own voice.
 */
export function unsupportedReason(
  model: EngineModel,
  request: GenerationRequest,
  voiceChoice = false,
): EngineError | undefined {
  const refuse = (message: string, param: string): EngineError => new EngineError('unsupported', message, { param })
  if (request.speech) {
    if (!model.output.includes('audio')) return refuse('It has no speech output.', 'modalities')
    const voice = request.speech.voice.toLowerCase()
    const own = voiceChoice && !model.capabilities.voiceChoice
    if (!model.voices.some(({ name, native }) => name.toLowerCase() === voice && (native || !own)))
      return refuse(`It has no voice '${request.speech.voice}'.`, 'audio.voice')
  }
  if (request.thinking && !model.thinking) return refuse('It does not support thinking.', 'enable_thinking')
  if (request.tools && request.tools.length > 0 && !model.capabilities.tools)
    return refuse('It does not support tools.', 'tools')
  for (const message of request.messages) {
    for (const part of message.content) {
      if (!model.input.includes(part.type)) return refuse(`It does not support ${part.type} input.`, 'messages')
    }
  }
  return undefined
}

/** One model with the combined capabilities of `models`: those of at least one of them. @param models at least one */
export function combineModels(id: string, models: readonly EngineModel[]): EngineModel {
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
    // With several models, the API model's defaults apply instead.
    ...(models.length === 1 && sampling && { sampling }),
    ...(models.length === 1 && historyTurns !== undefined && { historyTurns }),
    ...(models.length === 1 && spokenHistoryTurns !== undefined && { spokenHistoryTurns }),
    ...(models.length === 1 && historyAudio !== undefined && { historyAudio }),
  }
}
