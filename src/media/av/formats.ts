/**
 * The demuxers and decoders of FFmpeg that may be used. Other formats are refused before they are parsed.
 *
 * Formats that refer to other files (playlists, concat, DASH, image sequences, device and network inputs) are not
 * allowed, and no protocol is available to a demuxer: it reads through callbacks only. `formats.test.ts` checks
 * every name against the library.
 *
 * Reference: the formats the guide lists (MP4 AVI MKV MOV FLV WMV; AMR WAV 3GP AAC MP3) and similar ones.
 */
import type { FFDecoderCodec } from 'node-av/constants'
import { avGetCodecName, Codec, type CodecParameters } from 'node-av/lib'

/** FFmpeg demuxer names. */
export const demuxers: readonly string[] = list(`
  mov mp4 m4a 3gp 3g2 matroska webm avi flv asf mpegts mpeg dv wav w64 aiff caf au mp3 aac flac ogg amr
  ac3 eac3
`)

/** FFmpeg decoder names, video. A decoder's name may differ from its codec's. */
export const videoDecoders: readonly string[] = list(`
  h264 hevc vvc vp8 vp9 libdav1d av1 mpeg4 mpeg1video mpeg2video mjpeg mjpegb h261 h263 h263p h263i flv vp3 vp6
  vp6f vp6a vp7 flashsv flashsv2 wmv1 wmv2 wmv3 wmv3image vc1 vc1image msmpeg4v1 msmpeg4v2 msmpeg4 mss1 mss2
  theora dirac prores dnxhd cfhd dvvideo jpeg2000 svq1 svq3 rpza smc 8bps cinepak indeo3 indeo5 msvideo1 msrle
  rawvideo v210 v308 v408 v410 yuv4 ffv1 ffvhuff huffyuv utvideo magicyuv lagarith zmbv camtasia qtrle png
`)

/** FFmpeg decoder names, audio. */
export const audioDecoders: readonly string[] = list(`
  aac aac_latm mp3float mp3 mp2float mp2 mp1float flac opus libopus vorbis amrnb amrwb wmav1 wmav2 wmapro
  wmavoice wmalossless ac3 eac3 alac dca mlp truehd nellymoser speex gsm gsm_ms g723_1 g722 g726 g726le g729
  ilbc qcelp evrc qdm2 qdmc mace3 mace6 truespeech tta wavpack s302m dvaudio ac4 als
  pcm_s8 pcm_u8 pcm_s16le pcm_s16be pcm_u16le pcm_u16be pcm_s24le pcm_s24be pcm_u24le pcm_u24be pcm_s32le
  pcm_s32be pcm_u32le pcm_u32be pcm_s64le pcm_s64be pcm_f16le pcm_f24le pcm_f32le pcm_f32be pcm_f64le pcm_f64be
  pcm_alaw pcm_mulaw pcm_vidc pcm_s8_planar pcm_s16le_planar pcm_s16be_planar pcm_s24le_planar pcm_s32le_planar
  pcm_bluray pcm_dvd
  adpcm_ima_wav adpcm_ima_qt adpcm_ima_dk3 adpcm_ima_dk4 adpcm_ms adpcm_swf adpcm_yamaha adpcm_ct
  adpcm_sbpro_2 adpcm_sbpro_3 adpcm_sbpro_4
`)

/** The decoder for a codec: FFmpeg's default if it is allowed, else the first allowed one, else undefined. */
export function allowedDecoder(codecId: CodecParameters['codecId'], allowed: readonly string[]): Codec | undefined {
  const preferred = Codec.findDecoder(codecId)
  if (preferred !== null && allowed.includes(preferred.name ?? '')) return preferred
  for (const name of allowed) {
    const decoder = decoderNamed(name)
    if (decoder !== null && decoder.id === codecId) return decoder
  }
  return undefined
}

/** @returns null when the library has no decoder of this name */
export function decoderNamed(name: string): Codec | null {
  return Codec.findDecoderByName(name as FFDecoderCodec)
}

/** A codec's name for messages: FFmpeg's name, or the container's tag where FFmpeg does not know the codec. */
export function codecName(parameters: CodecParameters): string {
  const name = avGetCodecName(parameters.codecId)
  if (name !== null && name !== 'none' && !name.startsWith('unknown')) return name
  return parameters.codecTag === 0 ? 'unknown codec' : `unknown (${parameters.codecTagString ?? parameters.codecTag})`
}

function list(names: string): string[] {
  return names.trim().split(/\s+/)
}
