/** An engine process's log lines about the device it loaded on. */

import { platformWarning, type Backend } from '../../tensor/index.ts'

/** Why `auto` took no GPU, and that this platform is not tested. Empty where there is nothing to report. */
export function deviceNotes(backend: Pick<Backend, 'kind' | 'passed'>, platform = platformWarning()): string[] {
  const passed = backend.passed.map(({ device, reason }) => `${device}: ${reason}`).join('; ')
  return [
    ...(platform === undefined ? [] : [platform]),
    ...(passed === '' ? [] : [`--device auto takes ${backend.kind}. Not taken: ${passed}`]),
  ]
}
