/** A voice of the talker and of token2wav, with the content of its entry in `spk_dict.pt`. */
export interface Voice {
  readonly name: string
  /** Talker token that stands for the voice. */
  readonly bosToken: number
  /** `cond`: the diffusion transformer's condition for each frame. */
  readonly condition: Float32Array
  /** `ref_mel`: [frames, mels], natural logarithm of amplitude. */
  readonly referenceMel: Float32Array
  readonly referenceFrames: number
}
