/**
 * Media: fetches files and decodes them to pixels and PCM, within limits, cancellable. See `docs/media.md`.
 */
export { createMediaLoader, type MediaLoader, type MediaLoaderOptions } from './loader.ts'
export { MediaError, type MediaErrorCode, mediaErrorCodes, type MediaKind, type SourceKind } from './errors.ts'
export { ffmpegBuild } from './ffmpeg-build.ts'
export {
  type AudioLimits,
  defaultAudioLimits,
  defaultImageLimits,
  defaultVideoLimits,
  type ImageLimits,
  type LoaderLimits,
  type VideoLimits,
} from './limits.ts'
export type { Opened } from './opened-medium.ts'
export type { ResolvedAddress, Resolver } from './fetch/resolve.ts'
export { sampledFrameIndices } from './video/sample-frames.ts'
export { decodeWav, encodeWav, type WavFile, wavHeader } from './wav.ts'
export { EncoderError, encodeSpeech, mimeTypeOf, SPEECH_RATE, type SpeechFormat } from './encode/encode-speech.ts'
