/**
 * The FFmpeg inside `node-av`: its version and licence, and the error when the media library is not installed.
 *
 * Reference: FFmpeg's own `configure` and LICENSE.md (the licence that each option requires).
 */
import { MediaError, type MediaKind } from './errors.ts'

export interface FfmpegBuild {
  /** FFmpeg's own version string, such as `8.1-Jellyfin`. */
  readonly version: string
  /** SPDX expression. */
  readonly licence: string
  /** Parts whose licences are not compatible with the GPL, according to FFmpeg. */
  readonly incompatible: readonly string[]
}

/** Libraries that FFmpeg links together with GPL parts only if `--enable-nonfree` is set. */
const incompatibleWithGpl = ['libfdk_aac', 'libfdk-aac', 'decklink', 'libnpp', 'cuda_nvcc', 'cuda-nvcc']

/** @param configuration the options FFmpeg was configured with */
export function ffmpegLicence(configuration: string): Pick<FfmpegBuild, 'licence' | 'incompatible'> {
  const options = new Set(configuration.split(/\s+/))
  const has = (name: string): boolean => options.has(`--enable-${name}`)
  const version3 = has('version3')
  const licence = has('gpl')
    ? version3
      ? 'GPL-3.0-or-later'
      : 'GPL-2.0-or-later'
    : version3
      ? 'LGPL-3.0-or-later'
      : 'LGPL-2.1-or-later'
  return { licence, incompatible: has('gpl') ? incompatibleWithGpl.filter(has) : [] }
}

/** @throws the import's error when `node-av` or its binary for this platform is not installed */
export async function ffmpegBuild(): Promise<FfmpegBuild> {
  const { getFFmpegInfo } = await import('node-av/lib')
  const { version, configuration } = getFFmpegInfo()
  return { version, ...ffmpegLicence(configuration) }
}

/** A `no_decoder` error if `error` means that `node-av` is not installed; else undefined. */
export function missingFfmpeg(error: unknown, kind: MediaKind): MediaError | undefined {
  const text = error instanceof Error ? error.message : ''
  if (!/(package|module) \S*node-av|node-av native binding/.test(text)) return undefined
  const message = `This server cannot read ${kind} of this format: the optional package node-av (FFmpeg) is not installed with it.`
  return new MediaError('no_decoder', message, { kind, cause: error })
}
