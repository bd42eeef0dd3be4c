/**
 * Finds, loads and checks the native library: ggml, as published inside `@node-llama-cpp/<platform>` (MIT).
 *
 * The packages are optional dependencies: `npm ci` installs the platform's CPU package, users install GPU packages.
 * ggml's API changes between versions, and a wrong call ends the process. So a version that this project's tests did
 * not run with is refused.
 */

import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

import { TensorLibraryError } from './errors.ts'
import { bindNative, type Native } from './native.ts'
import { precisionEnvironment, type GpuPrecision } from './precision.ts'
import { tensorTypes } from './types.ts'

export type DeviceKind = 'cpu' | 'vulkan' | 'cuda' | 'metal'

export interface TestedBuild {
  readonly version: string
  readonly commit: string
  /** Version of the `@node-llama-cpp` packages that contain it. */
  readonly packages: string
}

const linuxBuild: TestedBuild = { version: '0.25.1', commit: '0ad4a86', packages: '3.22.1' }
/** Packages for macOS and Windows are published later than those for Linux. */
const otherBuild: TestedBuild = { version: '0.23.0', commit: '5b4ebc5', packages: '3.21.1' }

/** Builds of the library that the tests ran with, on Linux x64. */
export const testedBuilds: readonly TestedBuild[] = [linuxBuild, otherBuild]

/** The build that omniserve installs on a platform. */
export function buildFor(platform: string = process.platform): TestedBuild {
  return platform === 'linux' ? linuxBuild : otherBuild
}

/** The warning at start on an untested platform; undefined on the tested one. */
export function platformWarning(platform: string = process.platform, arch: string = process.arch): string | undefined {
  if (platform === 'linux' && arch === 'x64') return undefined
  return (
    `omniserve was not tested on ${platform} ${arch}: its tests ran on Linux x64, there also with ggml ${buildFor(platform).version}, ` +
    `which is used here. Please report what works and what does not`
  )
}

export interface Library {
  readonly native: Native
  readonly version: string
  readonly commit: string
  /** Folder of the shared libraries. */
  readonly directory: string
  /** The npm package that contains them. */
  readonly packageName: string
}

/** Packages to try for a device on this platform, best first. */
export function packagesFor(device: DeviceKind, platform = process.platform, arch = process.arch): string[] {
  const system = platform === 'darwin' ? 'mac' : platform === 'win32' ? 'win' : platform
  const base = `@node-llama-cpp/${system}-${arch === 'arm' ? 'armv7l' : arch}`
  switch (device) {
    case 'cpu':
      return platform === 'darwin' ? (arch === 'arm64' ? [`${base}-metal`] : [base]) : [base]
    case 'metal':
      return platform === 'darwin' && arch === 'arm64' ? [`${base}-metal`] : []
    case 'vulkan':
      return platform === 'darwin' ? [] : [`${base}-vulkan`]
    case 'cuda':
      return platform === 'darwin' ? [] : [`${base}-cuda`]
    default:
      return device satisfies never
  }
}

/** The folder with the shared libraries of an installed package, or undefined. */
export function findPackage(packageName: string): string | undefined {
  let entry: string
  try {
    entry = createRequire(import.meta.url).resolve(packageName)
  } catch {
    return undefined
  }
  const bins = join(dirname(entry), '..', 'bins')
  if (!existsSync(bins)) return undefined
  return readdirSync(bins)
    .map((name) => join(bins, name))
    .find((folder) => findLibraries(folder) !== undefined)
}

function findLibraries(folder: string): { base: string; loader: string } | undefined {
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch {
    return undefined
  }
  const base = names.find((name) => /^(lib)?ggml-base(\..*)?\.(so|dylib|dll)$/.test(name))
  const loader = names.find((name) => /^(lib)?ggml(\.[a-z]+)?(\.v?[\d.]+)?\.(so|dylib|dll)$/.test(name))
  return base && loader ? { base: join(folder, base), loader: join(folder, loader) } : undefined
}

/**
 * Throws {@link TensorLibraryError} unless the build is one that was tested. `allowUntested` (or the environment
 * variable `OMNISERVE_ALLOW_UNTESTED_GGML=1`) accepts it, at the user's risk; the numeric self-test still runs.
 */
export function checkVersion(version: string, commit: string, packageName: string, allowUntested = false): void {
  const known = testedBuilds.some((build) => build.version === version && commit.startsWith(build.commit))
  if (known || allowUntested || process.env['OMNISERVE_ALLOW_UNTESTED_GGML'] === '1') return
  const tested = testedBuilds.map((build) => `${build.version} (${build.commit})`).join(', ')
  throw new TensorLibraryError(
    `${packageName} contains ggml ${version} (${commit}), which omniserve was not tested with; tested: ${tested}. ` +
      `Install ${packageName}@${buildFor().packages}, or set OMNISERVE_ALLOW_UNTESTED_GGML=1 to try at your own risk.`,
  )
}

/** Throws {@link TensorLibraryError} when the library's block sizes differ from {@link tensorTypes}. */
export function verifyTypeTable(native: Native): void {
  for (const [name, info] of Object.entries(tensorTypes)) {
    const blockSize = Number(native.blck_size(info.id))
    const blockBytes = Number(native.type_size(info.id))
    if (blockSize !== info.blockSize || blockBytes !== info.blockBytes) {
      throw new TensorLibraryError(
        `type ${name}: the library stores ${blockSize} elements in ${blockBytes} bytes, expected ${info.blockSize} in ${info.blockBytes}`,
      )
    }
  }
}

const loaded = new Map<string, Library>()

/**
 * Loads the library for a device, once per process. Throws {@link TensorLibraryError} when its package is not
 * installed, untested or cannot be loaded, and when the process has loaded another package: two copies of ggml would
 * clash.
 */
export function loadLibrary(
  device: DeviceKind,
  options: { allowUntested?: boolean; precision?: GpuPrecision } = {},
): Library {
  const candidates = packagesFor(device)
  const environment = Object.entries(precisionEnvironment(device, options.precision ?? 'fast'))
  for (const packageName of candidates) {
    const existing = loaded.get(packageName)
    if (!existing) continue
    if (environment.some(([name]) => process.env[name] === undefined))
      throw new TensorLibraryError(
        'this process already computes in fast precision; exact precision requires another process',
      )
    return existing
  }
  if (device === 'cpu') {
    // Every package contains the CPU backend.
    const [first] = loaded.values()
    if (first) return first
  }
  for (const packageName of candidates) {
    const directory = findPackage(packageName)
    const files = directory === undefined ? undefined : findLibraries(directory)
    if (directory === undefined || !files) continue
    const [other] = loaded.keys()
    if (other !== undefined) {
      throw new TensorLibraryError(
        `${other} is already loaded; a process can use one build of ggml, not ${packageName} too`,
      )
    }
    let native: Native
    try {
      native = bindNative(files.base, files.loader)
    } catch (cause) {
      throw new TensorLibraryError(`${packageName} could not be loaded: ${String(cause)}`, { cause })
    }
    const version = native.version()
    const commit = native.commit()
    checkVersion(version, commit, packageName, options.allowUntested)
    verifyTypeTable(native)
    // A failed assertion would start a debugger to print a backtrace; only the message is useful.
    process.env['GGML_NO_BACKTRACE'] = '1'
    if (process.env['OMNISERVE_GGML_LOG'] !== '1') {
      // A native function without effect is the logger: a JavaScript callback on ggml's threads could deadlock.
      native.log_set(native.symbol('ggml_is_quantized'), null)
    }
    for (const [name, value] of environment) process.env[name] ??= value
    native.backend_load_all_from_path(directory)
    const library: Library = { native, version, commit, directory, packageName }
    loaded.set(packageName, library)
    return library
  }
  throw new TensorLibraryError(
    candidates.length === 0
      ? `device ${device} does not exist on ${process.platform} ${process.arch}`
      : `device ${device} needs the package ${candidates.join(' or ')}: npm install ${candidates[0]}@${buildFor().packages}`,
  )
}
