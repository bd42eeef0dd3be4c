/**
 * The canonical name of each tensor, independent of the program that wrote the checkpoint.
 *
 * The names on the hub are canonical. transformers 5 nests the thinker's modules one level deeper, and its
 * `save_pretrained` may write those names.
 */

const renames: readonly (readonly [prefix: string, canonical: string])[] = [
  ['thinker.model.language_model.', 'thinker.model.'],
  ['thinker.model.audio_tower.', 'thinker.audio_tower.'],
  ['thinker.model.visual.', 'thinker.visual.'],
]

/** The name on the hub of a stored tensor. */
export function canonicalName(name: string): string {
  for (const [prefix, canonical] of renames) {
    if (name.startsWith(prefix)) return canonical + name.slice(prefix.length)
  }
  return name
}
