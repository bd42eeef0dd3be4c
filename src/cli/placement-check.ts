/**
 * The row of `omniserve doctor` about the placement of the checkpoint's weights in memory, and a faster placement.
 *
 * In: settings and the device that `serve` takes. Out: a check. What is decided is what loading decides, by the same
 * function.
 */
import type { Settings } from '../config/index.ts'
import { choosePlacement, loadedTypes } from '../engines/local/choose-placement.ts'
import { openModel } from '../engines/open-model.ts'
import { type DeviceKind, loadBackend } from '../tensor/index.ts'
import type { Check } from './checks.ts'
import { explainFailure } from './exit.ts'
import { findCheckpoint, weightsFolder } from './open-engines.ts'
import { type Probe, runProbe } from './probe.ts'

/** Milliseconds. A GPU's driver may compile the self-test's shaders first. */
const PROBE_TIMEOUT = 240_000

export async function checkPlacement(settings: Settings, device: DeviceKind, signal: AbortSignal): Promise<Check> {
  const args = ['--probe-placement', device, '--model', settings.model]
  return placementRow(await runProbe(args, PROBE_TIMEOUT, signal))
}

export function placementRow({ ok, text, better }: Probe): Check {
  const name = 'weights'
  if (!ok) return { name, status: 'warn', found: text }
  if (better === undefined) return { name, status: 'ok', found: text }
  return { name, status: 'warn', found: text, fix: `Faster: ${better}.` }
}

/** To be called in a process of its own. */
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
    const [line = ''] = explainFailure(error, {})
      .text.replace(/^omniserve: /, '')
      .split('\n')
    return { ok: false, text: line }
  }
}
