/** Two models as the server lists them, for tests. Reference: `GET /models` of this server. */
import type { ModelListing } from './types.ts'

const flash: ModelListing = {
  id: 'qwen3-omni-flash',
  object: 'model',
  created: 1_757_894_400,
  owned_by: 'qwen',
  region: 'intl',
  family: 'flash',
  kind: 'stable',
  also_known_as: [],
  input_modalities: ['text', 'image', 'audio', 'video'],
  output_modalities: ['text', 'audio'],
  voices: ['Cherry', 'Ethan'],
  limits: {
    normal: { context_length: 65_536, max_input: 49_152, max_output: 16_384 },
    thinking: { context_length: 65_536, max_input: 16_384, max_reasoning: 32_768, max_output: 16_384 },
  },
  defaults: { temperature: 0.9, top_p: 1, top_k: 50, presence_penalty: 0, repetition_penalty: 1.05, seed: 1234 },
  media: {
    image: { max_bytes: 10_485_760, min_side_over: 10, max_aspect_ratio: 200 },
    audio: { max_bytes: 104_857_600, max_seconds: 1200 },
    video: { max_bytes: 268_435_456, max_seconds: 150, min_frames: 2, max_frames: 128 },
    max_data_uri_bytes: 10_485_760,
  },
  rate_limit: { requests_per_minute: 60, tokens_per_minute: 100_000 },
  prices: {
    currency: 'USD',
    per_tokens: 1_000_000,
    input_text: 0.43,
    input_audio: 3.81,
    input_image_video: 0.78,
    output_text: 1.66,
    output_text_multimodal: 3.06,
    output_audio: 15.11,
  },
  served_by: {
    checkpoint: 'nano',
    architecture: 'Qwen3OmniMoeForConditionalGeneration',
    weights: 'q8_0',
    device: 'cpu',
    context_length: 32_768,
    max_output: 2048,
    input_modalities: ['text', 'image', 'audio', 'video'],
    output_modalities: ['text', 'audio'],
    thinking: true,
    tools: false,
  },
}

const turbo: ModelListing = {
  ...flash,
  id: 'qwen-omni-turbo',
  family: 'turbo',
  limits: { normal: { context_length: 32_768, max_input: 30_720, max_output: 2048 } },
  media: {
    ...flash.media,
    audio: { max_bytes: 10_485_760, max_seconds: 180 },
    video: { max_bytes: 157_286_400, max_seconds: 40, min_frames: 4, max_frames: 80 },
  },
}

export function listing(id: 'qwen3-omni-flash' | 'qwen-omni-turbo'): ModelListing {
  return id === 'qwen3-omni-flash' ? flash : turbo
}
