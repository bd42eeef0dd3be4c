/** Log lines of an engine process about its device. */

import { platformWarning, type Backend } from '../../tensor/index.ts'

/** Warns of an untested platform, and gives the reasons why `auto` selected no GPU. May be empty. */
export function deviceNotes(backend: Pick<Backend, 'kind' | 'skipped'>, platform = platformWarning()): string[] {
  const skipped = backend.skipped.map(({ device, reason }) => `${device}: ${reason}`).join('; ')
  return [
    ...(platform === undefined ? [] : [platform]),
    ...(skipped === '' ? [] : [`--device auto selected ${backend.kind}. Not selected: ${skipped}`]),
  ]
}
