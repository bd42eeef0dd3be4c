/** All adapters, by name. */
import type { Adapter, AdapterName } from './adapter.ts'
import { dashscope } from './dashscope/adapter.ts'
import { omniserve } from './omniserve/adapter.ts'
import { sglangOmni } from './sglang-omni/adapter.ts'
import { vllm } from './vllm/adapter.ts'
import { vllmOmni } from './vllm-omni/adapter.ts'

export const ADAPTERS: Readonly<Record<AdapterName, Adapter>> = {
  dashscope,
  omniserve,
  'sglang-omni': sglangOmni,
  vllm,
  'vllm-omni': vllmOmni,
}
