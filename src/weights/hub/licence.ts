/**
 * The licence of a checkpoint on a hub, and whether the user must agree to it before the download.
 *
 * In: the id and the model card (`README.md`, whose front matter names the licence). Out: a {@link Licence}. Some known
 * checkpoints are listed here, because model cards of derived checkpoints are often missing or wrong.
 */

export interface Licence {
  /** As in the card, such as `apache-2.0` or `qwen-research`; `unknown` when there is none. */
  readonly name: string
  /** A summary of the terms, for known checkpoints. */
  readonly terms?: string
  /** Path in the repository, or URL, of the licence text. */
  readonly link?: string
  /** False for licences that allow any use. */
  readonly restricts: boolean
}

/** Licences that allow any use: SPDX names as the hubs spell them. */
const UNRESTRICTED = new Set([
  'apache-2.0',
  'mit',
  'bsd',
  'bsd-2-clause',
  'bsd-3-clause',
  'isc',
  'cc0-1.0',
  'unlicense',
  'cc-by-4.0',
])

const KNOWN: readonly { readonly id: RegExp; readonly licence: Licence }[] = [
  {
    id: /qwen2\.5-omni-3b/i,
    licence: {
      name: 'qwen-research',
      terms: 'Qwen Research License: non-commercial use only, such as research and evaluation',
      link: 'LICENSE',
      restricts: true,
    },
  },
]

/**
 * The licence of a checkpoint.
 *
 * @param card the text of README.md
 */
export function readLicence(id: string, card: string | undefined): Licence {
  const known = KNOWN.find((entry) => entry.id.test(id))?.licence
  if (known !== undefined) return known
  const front = /^\uFEFF?---\r?\n(.*?)\r?\n---\s*(?:\r?\n|$)/s.exec(card ?? '')?.[1] ?? ''
  const field = (key: string): string | undefined =>
    new RegExp(`^${key}:[ \\t]*(?:-[ \\t]*)?["']?([^"'#\\r\\n]+?)["']?[ \\t]*(?:#.*)?$`, 'm').exec(front)?.[1]
  const spdx = field('license')?.toLowerCase()
  const named = field('license_name')
  // For licences without an SPDX name, cards have `license: other` and the name in `license_name`.
  const name = spdx === 'other' || spdx === undefined ? named : spdx
  if (name === undefined) return { name: spdx ?? 'unknown', restricts: spdx !== undefined }
  const link = field('license_link')
  return { name, ...(link !== undefined && { link }), restricts: !UNRESTRICTED.has(name.toLowerCase()) }
}
