/**
 * The media room: bytes to pixels and PCM. See `docs/media.md`.
 *
 * One door, {@link createMediaLoader}; everything behind it is guarded, bounded and cancellable.
 */
export {
  createMediaLoader,
  type LoadedAudio,
  type LoadedImage,
  type LoadedVideo,
  type MediaLoader,
  type MediaLoaderOptions,
} from './loader.ts'
export { MediaError, type MediaErrorCode, mediaErrorCodes, type MediaKind, type SourceKind } from './errors.ts'
export {
  type AudioLimits,
  defaultAudioLimits,
  defaultImageLimits,
  defaultVideoLimits,
  type ImageLimits,
  type MediaLimits,
  type VideoLimits,
} from './limits.ts'
export type { ResolvedAddress, Resolver } from './fetch/resolve.ts'
export { sampledFrameCount, sampledFrameIndices } from './video/sample-frames.ts'
export { decodeWav, encodeWav, type WavFile, wavHeader } from './wav.ts'
