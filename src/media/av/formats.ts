/**
 * Which containers and codecs FFmpeg may open here. Everything else is refused before it is parsed.
 *
 * Formats that name other files (playlists, concat, DASH, image sequences, device and network inputs) are left out on
 * purpose, and no protocol is open to a container that tries: bytes come through callbacks only.
 *
 * Reference: the formats the guide lists (MP4 AVI MKV MOV FLV WMV; AMR WAV 3GP AAC MP3) and their common relatives.
 */
import { avGetCodecName, type CodecParameters } from 'node-av/lib'

/** FFmpeg demuxer names. */
export const demuxers: readonly string[] = list(`
  mov mp4 m4a 3gp 3g2 matroska webm avi flv asf mpegts mpeg wav w64 aiff caf au mp3 aac flac ogg amr
  ac3 eac3
`)

/** FFmpeg decoder names, pictures. */
export const videoDecoders: readonly string[] = list(`
  h264 hevc vp8 vp9 libdav1d av1 mpeg4 mpeg1video mpeg2video mjpeg h263 h263p h263i flv vp6 vp6f vp6a
  flashsv flashsv2 wmv1 wmv2 wmv3 vc1 msmpeg4v1 msmpeg4v2 msmpeg4 msmpeg4v3 theora prores dvvideo svq1
  svq3 cinepak msvideo1 rawvideo ffv1 huffyuv qtrle png
`)

/** FFmpeg decoder names, sound. */
export const audioDecoders: readonly string[] = list(`
  aac aac_fixed mp3float mp3 mp2float mp2 mp1float flac opus libopus vorbis amrnb amrwb wmav1 wmav2
  wmapro wmavoice wmalossless ac3 eac3 alac dca nellymoser speex libspeex gsm gsm_ms pcm_s8 pcm_u8
  pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_f32le pcm_f32be pcm_f64le pcm_f64be
  pcm_alaw pcm_mulaw pcm_s64le pcm_s64be pcm_u16le pcm_u16be pcm_s8_planar pcm_s16le_planar
  pcm_s16be_planar adpcm_ima_wav adpcm_ms adpcm_ima_qt adpcm_swf adpcm_g722 adpcm_g726 adpcm_yamaha
  g723_1
`)

/** For messages: FFmpeg's name, or the container's own tag where FFmpeg knows no such codec. */
export function codecName(parameters: CodecParameters): string {
  const name = avGetCodecName(parameters.codecId)
  if (name !== null && name !== 'none' && !name.startsWith('unknown')) return name
  return `unknown (${parameters.codecTagString ?? parameters.codecTag})`
}

function list(names: string): string[] {
  return names.trim().split(/\s+/)
}
