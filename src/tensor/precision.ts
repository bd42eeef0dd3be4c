/**
 * The precision of a GPU's computations: `fast` uses half precision where that is faster, `exact` f32 throughout.
 *
 * In: a device and a precision. Out: environment variables that the library reads when it opens the device
 * (ggml-vulkan.cpp), once per process. The CPU always computes in f32.
 */

import { TensorLibraryError } from './errors.ts'
import type { DeviceKind } from './library.ts'

export type GpuPrecision = 'exact' | 'fast'

/** Disables products that accumulate in f16 or 8-bit integers, and matrix instructions without an f32 form. */
const exactVulkan: Readonly<Record<string, string>> = {
  GGML_VK_DISABLE_F16: '1',
  GGML_VK_DISABLE_BFLOAT16: '1',
  GGML_VK_DISABLE_COOPMAT: '1',
  GGML_VK_DISABLE_COOPMAT2: '1',
  GGML_VK_DISABLE_DOT2: '1',
  GGML_VK_DISABLE_INTEGER_DOT_PRODUCT: '1',
}

/** Environment variables for a precision. Throws {@link TensorLibraryError} for a device without an exact mode. */
export function precisionEnvironment(device: DeviceKind, precision: GpuPrecision): Readonly<Record<string, string>> {
  if (precision === 'fast' || device === 'cpu') return {}
  if (device === 'vulkan') return exactVulkan
  throw new TensorLibraryError(
    `device ${device} has no exact precision: use --gpu-precision fast, or the device vulkan or cpu`,
  )
}
