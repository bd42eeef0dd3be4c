/**
 * One name for each tensor, whichever program wrote the checkpoint.
 *
 * The hub's spelling is canonical. transformers 5 nests the thinker's parts one level deeper in memory, and
 * `save_pretrained` may write those names.
 */

const renames: readonly (readonly [prefix: string, canonical: string])[] = [
  ['thinker.model.language_model.', 'thinker.model.'],
  ['thinker.model.audio_tower.', 'thinker.audio_tower.'],
  ['thinker.model.visual.', 'thinker.visual.'],
]

/** The hub's name of a stored tensor. */
export function canonicalName(name: string): string {
  for (const [prefix, canonical] of renames) {
    if (name.startsWith(prefix)) return canonical + name.slice(prefix.length)
  }
  return name
}
