/**
 * Checks that the token ids in config.json match the tokenizer and the chat template. Called when a checkpoint is
 * opened, so that errors appear before the first image.
 *
 * In: ids of the rendered template with one medium. Out: nothing, or `EngineError('bad_checkpoint')` naming the key.
 */

import type { GenerationMessage, GenerationPart } from '../../contract/index.ts'
import type { CheckpointFiles } from '../../prompt/checkpoint-files.ts'
import type { PromptTokenizer } from '../../prompt/tokenizer.ts'
import { ConfigReader } from '../config-reader.ts'
import type { ProcessorConfig, ProcessorDefaults } from './processor-config.ts'

export function checkMediaTokens(
  files: CheckpointFiles,
  { tokens }: ProcessorConfig,
  { placeholders }: ProcessorDefaults,
  templateIds: (messages: readonly GenerationMessage[]) => readonly number[],
  { addedTokens }: PromptTokenizer,
): void {
  const config = new ConfigReader(files.requireJson('config.json'))
  const thinker = config.has('thinker_config') ? config.object('thinker_config') : config
  const added = new Map(addedTokens.map(({ id, content }) => [id, content]))
  const marker = (key: string, value: number, written: number | undefined, where: string): void => {
    const content = written === undefined ? undefined : added.get(written)
    if (content === undefined || value === written || value < 0) return
    thinker.fail(key, `is ${value}, but the chat template writes ${content} (${written}) ${where}`)
  }
  const idsOf = (type: GenerationPart['type']): readonly number[] => {
    try {
      // The template uses only the type of a medium.
      return templateIds([{ role: 'user', content: [{ type, text: '' } as GenerationPart] }])
    } catch {
      return []
    }
  }
  const plain = idsOf('text').filter((id) => added.has(id)).length
  for (const kind of ['image', 'audio', 'video'] as const) {
    const ids = idsOf(kind)
    const special = ids.filter((id) => added.has(id))
    // Without a placeholder in the template, requests with such a medium are refused.
    if (special.length <= plain) continue
    const at = ids.indexOf(tokens[kind])
    const key = placeholders[kind].find((name) => thinker.has(name)) ?? placeholders[kind][0]
    if (at < 0 || !added.has(tokens[kind]) || ids.lastIndexOf(tokens[kind]) !== at)
      thinker.fail(key, `is ${tokens[kind]}, which the chat template does not write once for each ${kind}`)
    const [start, end] = kind === 'audio' ? (['audio_start', 'audio_end'] as const) : (['vision_start', 'vision_end'] as const)
    const own = kind === 'audio' ? [tokens.audioStart, tokens.audioEnd] : [tokens.visionStart, tokens.visionEnd]
    marker(`${start}_token_id`, own[0]!, ids[at - 1], `before each ${kind}`)
    marker(`${end}_token_id`, own[1]!, ids[at + 1], `after each ${kind}`)
  }
}
