/**
 * H.264 whose frames are coded as two fields (PAFF), which no free encoder writes: uncompressed macroblocks of one
 * grey.
 *
 * Out: one access unit of two fields for each frame of 64 x 64 pixels, at 25 frames a second by its header.
 * Reference: ITU-T H.264, 7.3 (syntax), I_PCM macroblocks.
 */
const [columns, fieldRows] = [4, 2]

class Bits {
  readonly #bits: number[] = []

  u(value: number, width: number): this {
    for (let i = width - 1; i >= 0; i -= 1) this.#bits.push(Math.floor(value / 2 ** i) % 2)
    return this
  }

  ue(value: number): this {
    const width = Math.floor(Math.log2(value + 1))
    return this.u(0, width).u(value + 1, width + 1)
  }

  align(): this {
    while (this.#bits.length % 8 !== 0) this.#bits.push(0)
    return this
  }

  unit(header: number): Buffer {
    this.u(1, 1).align()
    const payload = Buffer.alloc(this.#bits.length / 8)
    for (const [i, bit] of this.#bits.entries()) payload[i >> 3]! |= bit << (7 - (i & 7))
    const escaped: number[] = []
    for (const byte of payload) {
      if (byte <= 3 && escaped.at(-1) === 0 && escaped.at(-2) === 0) escaped.push(3)
      escaped.push(byte)
    }
    return Buffer.concat([Buffer.from([0, 0, 0, 1, header]), Buffer.from(escaped)])
  }
}

export function fieldParameterSets(): Buffer {
  const sequence = new Bits().u(77, 8).u(0, 8).u(30, 8).ue(0).ue(0).ue(2).ue(1).u(0, 1)
  sequence
    .ue(columns - 1)
    .ue(fieldRows - 1)
    .u(0, 1)
    .u(0, 1)
    .u(1, 1)
    .u(0, 1)
  sequence.u(1, 1).u(0, 4).u(1, 1).u(1, 32).u(50, 32).u(1, 1).u(0, 4)
  const parameters = new Bits().ue(0).ue(0).u(0, 2).ue(0).ue(0).ue(0).u(0, 3).ue(0).ue(0).ue(0).u(1, 1).u(0, 2)
  return Buffer.concat([sequence.unit(0x67), parameters.unit(0x68)])
}

function field(grey: number, bottom: boolean, frame: number): Buffer {
  const slice = new Bits()
    .ue(0)
    .ue(7)
    .ue(0)
    .u(0, 4)
    .u(1, 1)
    .u(bottom ? 1 : 0, 1)
  if (bottom) slice.u(0, 1)
  else slice.ue(frame % 2).u(0, 2)
  slice.ue(0).ue(1)
  for (let i = 0; i < columns * fieldRows; i += 1) {
    slice.ue(25).align()
    for (let j = 0; j < 384; j += 1) slice.u(j < 256 ? grey : 128, 8)
  }
  const delimiter = new Bits().u(0, 3).unit(0x09)
  return Buffer.concat([delimiter, ...(bottom ? [] : [fieldParameterSets()]), slice.unit(bottom ? 0x61 : 0x65)])
}

/** @param greys luma of each frame, 16 to 235 */
export function fieldCodedVideo(greys: readonly number[]): Buffer[] {
  return greys.map((grey, frame) => Buffer.concat([field(grey, false, frame), field(grey, true, frame)]))
}
