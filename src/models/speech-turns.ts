/** Isolates one reply's failure from the others in a family's pipeline. */

import type { SpeechTurn } from './speech.ts'

/** Runs work for some replies; when it fails, they fail, unless they have been cancelled meanwhile. */
export async function guarded(turns: readonly SpeechTurn[], work: () => Promise<void>): Promise<void> {
  const wanted = turns.filter((turn) => !turn.gone)
  if (wanted.length === 0) return
  try {
    await work()
  } catch (error) {
    for (const turn of wanted) turn.fail(error)
  }
}
