/** What an engine process says once about the device it loaded on: in the server's log, a line each. */

import { platformWarning, type Backend } from '../../tensor/index.ts'

/** Why `auto` took no GPU, and that nobody ran this platform. Empty where there is nothing to say. */
export function deviceNotes(backend: Pick<Backend, 'kind' | 'passed'>, platform = platformWarning()): string[] {
  const passed = backend.passed.map(({ device, reason }) => `${device}: ${reason}`).join('; ')
  return [
    ...(platform === undefined ? [] : [platform]),
    ...(passed === '' ? [] : [`--device auto takes ${backend.kind}. Not taken: ${passed}`]),
  ]
}
