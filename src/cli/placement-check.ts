/**
 * The check of `omniserve doctor` for where the checkpoint's weights are placed in memory.
 *
 * In: settings and the device that `serve` uses. Out: a check with the placement that loading chooses, and a
 * faster one if there is one.
 */
import type { Settings } from '../config/index.ts'
import { choosePlacement, loadedTypes } from '../engines/local/choose-placement.ts'
import { openModel } from '../engines/open-model.ts'
import { type DeviceKind, loadBackend } from '../tensor/index.ts'
import type { Check } from './check.ts'
import { failureText } from './exit.ts'
import { findCheckpoint, weightsFolder } from './find-checkpoint.ts'
import { type Probe, runProbe } from './probe.ts'

export async function checkPlacement(settings: Settings, device: DeviceKind, signal: AbortSignal): Promise<Check> {
  const args = ['--probe-placement', device, '--model', settings.model]
  return placementRow(await runProbe(args, signal))
}

export function placementRow({ ok, text, better }: Probe): Check {
  const name = 'weights'
  if (!ok) return { name, status: 'warn', found: text }
  if (better === undefined) return { name, status: 'ok', found: text }
  return { name, status: 'warn', found: text, fix: `Faster: ${better}.` }
}

/** Must run in a separate process, because the numeric library can end its process. */
export async function probePlacement({ model }: Settings, device: DeviceKind): Promise<Probe> {
  try {
    using backend = await loadBackend({ device })
    using opened = await openModel(findCheckpoint(model).location)
    const { checkpoint, description } = opened
    const options = { cacheDirectory: weightsFolder() }
    const { types } = loadedTypes(checkpoint, description, options)
    const { chosen, faster } = await choosePlacement(backend, checkpoint, description, {
      ...options,
      ...(types && { types }),
    })
    return { ok: true, text: chosen, ...(faster !== undefined && { better: faster }) }
  } catch (error) {
    const [line = ''] = failureText(error, {}).split('\n')
    return { ok: false, text: line }
  }
}
