import { expect, it } from 'vitest'

import { precisionEnvironment } from './precision.ts'

it('disables half precision for exact Vulkan, and changes nothing else', () => {
  expect(precisionEnvironment('vulkan', 'exact')).toMatchObject({
    GGML_VK_DISABLE_F16: '1',
    GGML_VK_DISABLE_COOPMAT: '1',
  })
  expect(precisionEnvironment('vulkan', 'fast')).toEqual({})
  expect(precisionEnvironment('cpu', 'exact')).toEqual({})
  expect(precisionEnvironment('cuda', 'fast')).toEqual({})
})

it('refuses exact precision on other GPUs', () => {
  expect(() => precisionEnvironment('cuda', 'exact')).toThrow(/cuda has no exact precision: use --gpu-precision fast/)
  expect(() => precisionEnvironment('metal', 'exact')).toThrow(/metal has no exact precision/)
})
