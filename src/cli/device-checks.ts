/**
 * The checks of `omniserve doctor` for the numeric library and the devices.
 *
 * Each device is tried in a separate process, because the numeric library can end its process.
 */
import type { Settings } from '../config/index.ts'
import { buildFor, type DeviceKind, findPackage, loadBackend, packagesFor, platformWarning } from '../tensor/index.ts'
import type { Check } from './check.ts'
import { failureText } from './exit.ts'
import { type Probe, runProbe } from './probe.ts'

/** Loads a device and runs its self-test. Must run in a separate process. */
export async function probeDevice(device: DeviceKind): Promise<Probe> {
  try {
    using backend = await loadBackend({ device })
    const { version, packageName } = backend.library
    return { ok: true, text: `${backend.deviceName}, ggml ${version} of ${packageName}, self-test passed` }
  } catch (error) {
    return { ok: false, text: failureText(error, {}).split('\n')[0] ?? '' }
  }
}

function probeInProcess(device: DeviceKind, signal: AbortSignal): Promise<Probe> {
  return runProbe(['--probe', device], signal)
}

/** Checks the numeric library with the device that it always has. */
export async function checkNumericLibrary(signal: AbortSignal): Promise<Check> {
  const { ok, text } = await probeInProcess('cpu', signal)
  const untested = platformWarning()
  if (ok && untested !== undefined) return { name: 'numeric library', status: 'warn', found: text, fix: `${untested}.` }
  if (ok) return { name: 'numeric library', status: 'ok', found: text }
  const fix = `Install again with optional packages: npm ci (the library is ${packagesFor('cpu').join(' or ')}; on Linux it requires glibc 2.34 or later)`
  return { name: 'numeric library', status: 'fail', found: text, fix }
}

/** The device that `--device` selects. @param working the first GPU that works, or the CPU */
export function checkSelectedDevice({ device, gpuPrecision }: Settings, working: DeviceKind): Check {
  const selected = device === 'auto' ? working : device
  const precision = selected === 'cpu' ? '' : `, ${gpuPrecision} precision`
  const reason = device === 'auto' ? (working === 'cpu' ? 'no GPU above works' : 'the first that works') : '--device'
  return { name: 'device', status: 'ok', found: `${selected} (${reason})${precision}` }
}

/** @param required whether `--device` names it */
export async function checkGpu(
  device: DeviceKind,
  required: boolean,
  signal: AbortSignal,
): Promise<Check & { readonly works: boolean }> {
  const [packageName = ''] = packagesFor(device)
  if (!packagesFor(device).some((candidate) => findPackage(candidate) !== undefined)) {
    const found = `${packageName} is not installed`
    return required
      ? {
          name: device,
          status: 'fail',
          found,
          fix: `npm install ${packageName}@${buildFor().packages}, or --device cpu`,
          works: false,
        }
      : { name: device, status: 'absent', found: `${found} (only needed for this kind of GPU)`, works: false }
  }
  const { ok, text } = await probeInProcess(device, signal)
  if (ok) return { name: device, status: 'ok', found: text, works: true }
  return {
    works: false,
    name: device,
    status: required ? 'fail' : 'warn',
    found: text,
    fix: 'Check the driver, or run with --device cpu.',
  }
}
