/**
 * A CPU backend that runs its graphs as one with a GPU does: through the library's scheduler, with a second CPU behind
 * the first.
 *
 * In: a CPU backend. Out: the same backend with a scheduler. For tests of the scheduler's limits, on machines without a
 * GPU.
 */

import type { Backend } from '../src/tensor/index.ts'

export function withScheduler(backend: Backend): { readonly backend: Backend } & Disposable {
  const { native } = backend
  const device = native.backend_dev_by_type(0)
  const second = device === null ? null : native.backend_dev_init(device, null)
  if (second === null) throw new Error('no second CPU backend')
  const seen = new Proxy(backend, {
    get(target, name) {
      if (name === 'backends') return [...target.backends, second]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  return {
    backend: seen,
    [Symbol.dispose]() {
      native.backend_free(second)
    },
  }
}
