/**
 * Runs in the audio thread: posts the microphone's mono samples, mixed from its channels.
 */
declare const registerProcessor: (name: string, processor: unknown) => void
declare class AudioWorkletProcessor {
  readonly port: MessagePort
}

class RecorderProcessor extends AudioWorkletProcessor {
  process(inputs: Float32Array[][]): boolean {
    const channels = inputs[0]
    const first = channels?.[0]
    if (channels !== undefined && first !== undefined) {
      const mono = new Float32Array(first.length)
      for (const channel of channels) for (let i = 0; i < mono.length; i++) mono[i]! += channel[i]! / channels.length
      this.port.postMessage(mono, [mono.buffer])
    }
    return true
  }
}

registerProcessor('recorder', RecorderProcessor)
