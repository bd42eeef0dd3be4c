/**
 * Converts mel to samples in pieces: runs the vocoder on frames with all neighbours that their samples depend on.
 *
 * The concatenated pieces equal the result for the whole sequence. Graphs are cached by the shape of a piece.
 */

import { GraphCache, type Backend, type RunOptions } from '../../../tensor/index.ts'
import type { BigVganModel, VocoderShape } from './bigvgan.ts'
import { snakeFilterInputs } from './anti-aliased-snake.ts'

export interface MelPiece extends VocoderShape {
  /** [before + frames + after, mels] */
  readonly mel: Float32Array
}

export class Vocoder implements Disposable {
  readonly model: BigVganModel
  readonly #graphs: GraphCache

  constructor(backend: Backend, model: BigVganModel) {
    this.model = model
    this.#graphs = new GraphCache(backend, { capacity: 16, maxNodes: model.nodes })
  }

  /** Samples [frames * hop] in [-1, 1]. */
  async decode({ mel, ...shape }: MelPiece, options: RunOptions = {}): Promise<Float32Array> {
    const { frames, before, after } = shape
    const { wave } = await this.#graphs.run(
      `${before} ${frames} ${after}`,
      (g) => ({ wave: this.model.forward(g, shape) }),
      { mel, ...snakeFilterInputs },
      options,
    )
    return wave
  }

  [Symbol.dispose](): void {
    this.#graphs[Symbol.dispose]()
  }
}
