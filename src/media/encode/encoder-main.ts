/**
 * The encoder process of one reply.
 *
 * In: the format as first argument, and 16-bit 24 kHz mono PCM on standard input. Out: the encoded file on standard
 * output, streamed. Reference: FFmpeg's libmp3lame and libopus (in Ogg) through node-av.
 */
import { Encoder, Muxer } from 'node-av/api'
import { AV_CHANNEL_ORDER_NATIVE, AV_SAMPLE_FMT_S16, AV_SAMPLE_FMT_S16P } from 'node-av/constants'
import { Codec, Frame } from 'node-av/lib'

const SAMPLE_RATE = 24_000
/** 20 ms: an Opus frame. The encoder joins them where its own frames are longer. */
const FRAME_SAMPLES = 480

const ENCODINGS = {
  mp3: { codec: 'libmp3lame', format: 'mp3', sampleFormat: AV_SAMPLE_FMT_S16P, bitrate: '64k' },
  opus: { codec: 'libopus', format: 'ogg', sampleFormat: AV_SAMPLE_FMT_S16, bitrate: '32k' },
} as const

async function main(name: string | undefined): Promise<void> {
  const encoding = ENCODINGS[name as keyof typeof ENCODINGS]
  const codec = Codec.findEncoderByName(encoding.codec as never)
  if (codec === null) throw new Error(`this build of FFmpeg has no ${encoding.codec}`)
  await using muxer = await Muxer.open(
    {
      write: (bytes) => {
        process.stdout.write(Buffer.from(bytes))
        return bytes.length
      },
    },
    { format: encoding.format },
  )
  using encoder = await Encoder.create(codec, { bitrate: encoding.bitrate })
  const stream = muxer.addStream(encoder)
  let position = 0 // samples
  const encode = async (bytes: Buffer): Promise<void> => {
    using frame = Frame.fromAudioBuffer(bytes, {
      nbSamples: bytes.length / 2,
      format: encoding.sampleFormat,
      sampleRate: SAMPLE_RATE,
      channelLayout: { nbChannels: 1, order: AV_CHANNEL_ORDER_NATIVE, mask: 4n },
      timeBase: { num: 1, den: SAMPLE_RATE },
      pts: BigInt(position),
    })
    position += frame.nbSamples
    for await (const packet of encoder.packets(frame)) if (packet) await muxer.writePacket(packet, stream)
  }
  let rest: Buffer = Buffer.alloc(0)
  for await (const piece of process.stdin) {
    rest = Buffer.concat([rest, piece as Buffer])
    while (rest.length >= FRAME_SAMPLES * 2) {
      await encode(rest.subarray(0, FRAME_SAMPLES * 2))
      rest = rest.subarray(FRAME_SAMPLES * 2)
    }
  }
  if (rest.length >= 2) await encode(rest.subarray(0, rest.length - (rest.length % 2)))
  for await (const packet of encoder.packets(null)) if (packet) await muxer.writePacket(packet, stream)
}

await main(process.argv[2])
