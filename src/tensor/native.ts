/**
 * The native functions this project calls, as one typed table over koffi.
 *
 * Only functions are used, never struct layouts; the one struct passed by value is `ggml_init_params`. Addresses are
 * bigints. Nothing outside `src/tensor` imports this file. Signatures follow ggml 0.25's `ggml.h`, `ggml-backend.h`,
 * `ggml-alloc.h`; other versions are refused by `library.ts` until they are tested.
 */

import koffi, { type LibraryHandle } from 'koffi'

export type Address = bigint

/** Data that native code reads or writes: a typed array, or an address. */
export type NativeData = NodeJS.ArrayBufferView | Address

interface KindMap {
  /** An address, null allowed. */
  p: Address | null
  /** Data to read or fill. */
  d: NativeData | null
  i: number
  /** int64_t */
  l: number
  /** size_t */
  z: number
  f: number
  b: boolean
  s: string
}
interface ResultMap {
  p: Address | null
  i: number
  l: number | bigint
  z: number | bigint
  b: boolean
  s: string
  v: undefined
}
type Kind = keyof KindMap
type ResultKind = keyof ResultMap
const cTypes: Record<Kind | ResultKind, string> = {
  p: 'void *',
  d: 'void *',
  i: 'int',
  l: 'int64_t',
  z: 'size_t',
  f: 'float',
  b: 'bool',
  s: 'const char *',
  v: 'void',
}

type Arguments<S extends string, A extends unknown[] = []> = S extends `${infer K extends Kind}${infer Rest}`
  ? Arguments<Rest, [...A, KindMap[K]]>
  : A
type Signature = `${ResultKind}:${string}`
export interface NativeFunction<A extends unknown[], R> {
  (...args: A): R
  async: (...args: [...A, (error: Error | null, result: R) => void]) => void
}
type FunctionOf<S extends Signature> = S extends `${infer R extends ResultKind}:${infer A}`
  ? NativeFunction<Arguments<A>, ResultMap[R]>
  : never

/** `result:arguments`, one letter each; see {@link KindMap}. Names lack their `ggml_` prefix. */
const signatures = {
  // library
  version: 's:',
  commit: 's:',
  type_name: 's:i',
  type_size: 'z:i',
  blck_size: 'l:i',
  set_abort_callback: 'p:p',
  log_set: 'v:pp',
  // contexts, tensors, graphs
  free: 'v:p',
  tensor_overhead: 'z:',
  graph_overhead_custom: 'z:zb',
  used_mem: 'z:p',
  new_graph_custom: 'p:pzb',
  build_forward_expand: 'v:pp',
  graph_n_nodes: 'i:p',
  set_no_alloc: 'v:pb',
  set_input: 'v:p',
  set_output: 'v:p',
  set_name: 'p:ps',
  nbytes: 'z:p',
  nelements: 'l:p',
  get_data: 'p:p',
  op_desc: 's:p',
  new_tensor_4d: 'p:pillll',
  // quantisation and conversion
  quantize_chunk: 'z:iddllld',
  quantize_init: 'v:i',
  bf16_to_fp32_row: 'v:ddl',
  fp16_to_fp32_row: 'v:ddl',
  fp32_to_fp16_row: 'v:ddl',
  fp32_to_bf16_row: 'v:ddl',
  validate_row_data: 'b:idz',
  // allocation
  gallocr_new: 'p:p',
  gallocr_alloc_graph: 'b:pp',
  gallocr_get_buffer_size: 'z:pi',
  gallocr_free: 'v:p',
  // backends
  backend_cpu_buffer_from_ptr: 'p:pz',
  backend_cpu_buffer_type: 'p:',
  backend_alloc_ctx_tensors_from_buft: 'p:pp',
  backend_buffer_get_size: 'z:p',
  backend_buffer_get_base: 'p:p',
  backend_buffer_free: 'v:p',
  backend_buffer_clear: 'v:pi',
  backend_buffer_set_usage: 'v:pi',
  backend_buft_name: 's:p',
  backend_buft_alloc_buffer: 'p:pz',
  backend_buft_get_alignment: 'z:p',
  backend_buft_get_alloc_size: 'z:pp',
  backend_buft_get_max_size: 'z:p',
  backend_buft_is_host: 'b:p',
  backend_tensor_set: 'v:pdzz',
  backend_tensor_get: 'v:pdzz',
  backend_tensor_alloc: 'i:ppp',
  backend_graph_compute: 'i:pp',
  backend_get_default_buffer_type: 'p:p',
  backend_name: 's:p',
  backend_free: 'v:p',
  backend_supports_op: 'b:pp',
  backend_synchronize: 'v:p',
  backend_dev_supports_op: 'b:pp',
  backend_dev_name: 's:p',
  backend_dev_description: 's:p',
  backend_dev_memory: 'v:pdd',
  backend_dev_type: 'i:p',
  backend_dev_init: 'p:pp',
  backend_dev_backend_reg: 'p:p',
  backend_reg_get_proc_address: 'p:ps',
  backend_reg_name: 's:p',
  backend_sched_new: 'p:ddizbb',
  backend_sched_alloc_graph: 'b:pp',
  backend_sched_graph_compute: 'i:pp',
  backend_sched_get_tensor_backend: 'p:pp',
  backend_sched_set_tensor_backend: 'v:ppp',
  backend_sched_reset: 'v:p',
  backend_sched_get_n_splits: 'i:p',
  backend_sched_get_buffer_size: 'z:pp',
  backend_sched_free: 'v:p',
  threadpool_params_init: 'v:di',
  // operations: context first
  arange: 'p:pfff',
  cont: 'p:pp',
  transpose: 'p:pp',
  permute: 'p:ppiiii',
  reshape_4d: 'p:ppllll',
  view_4d: 'p:ppllllzzzz',
  cpy: 'p:ppp',
  cast: 'p:ppi',
  concat: 'p:pppi',
  repeat_4d: 'p:ppllll',
  pad_ext: 'p:ppiiiiiiii',
  add: 'p:ppp',
  sub: 'p:ppp',
  mul: 'p:ppp',
  div: 'p:ppp',
  add_id: 'p:pppp',
  scale_bias: 'p:ppff',
  clamp: 'p:ppff',
  sqr: 'p:pp',
  sqrt: 'p:pp',
  log: 'p:pp',
  sin: 'p:pp',
  cos: 'p:pp',
  exp: 'p:pp',
  abs: 'p:pp',
  neg: 'p:pp',
  relu: 'p:pp',
  elu: 'p:pp',
  tanh: 'p:pp',
  sigmoid: 'p:pp',
  silu: 'p:pp',
  gelu: 'p:pp',
  gelu_erf: 'p:pp',
  swiglu: 'p:pp',
  swiglu_split: 'p:ppp',
  sum_rows: 'p:pp',
  out_prod: 'p:ppp',
  mean: 'p:pp',
  cumsum: 'p:pp',
  argmax: 'p:pp',
  argsort: 'p:ppi',
  top_k: 'p:ppi',
  step: 'p:pp',
  norm: 'p:ppf',
  rms_norm: 'p:ppf',
  l2_norm: 'p:ppf',
  soft_max_ext: 'p:pppff',
  mul_mat: 'p:ppp',
  mul_mat_set_prec: 'v:pi',
  mul_mat_id: 'p:pppp',
  get_rows: 'p:ppp',
  set_rows: 'p:pppp',
  rope_ext: 'p:ppppiiiffffff',
  rope_multi: 'p:ppppidiiffffff',
  flash_attn_ext: 'p:pppppfff',
  flash_attn_ext_set_prec: 'v:pi',
  im2col: 'p:pppiiiiiibi',
  col2im_1d: 'p:ppiii',
  conv_transpose_1d: 'p:pppiii',
  conv_2d_dw_direct: 'p:pppiiiiii',
  ssm_conv: 'p:ppp',
} as const satisfies Record<string, Signature>

/** Functions of the loader library (`libggml`); all others are in `libggml-base`. */
const loaderSignatures = {
  backend_load_all_from_path: 'v:s',
  backend_dev_count: 'z:',
  backend_dev_get: 'p:z',
  backend_dev_by_type: 'p:i',
} as const satisfies Record<string, Signature>

type Table<T extends Record<string, Signature>> = { readonly [K in keyof T]: FunctionOf<T[K]> }

export type Native = Table<typeof signatures> &
  Table<typeof loaderSignatures> & {
    /** A context for tensor and graph records, without tensor data (`noAlloc`). Null when out of memory. */
    readonly init: (bytes: number, noAlloc: boolean) => Address | null
    /** Address of an exported function of the base library. */
    readonly symbol: (name: string) => Address
  }

function bind<T extends Record<string, Signature>>(library: LibraryHandle, table: T): Table<T> {
  const bound: Record<string, unknown> = {}
  for (const [name, signature] of Object.entries(table)) {
    const [result, args] = signature.split(':') as [ResultKind, string]
    const kinds = Array.from(args, (kind) => cTypes[kind as Kind])
    bound[name] = library.func(`ggml_${name}`, cTypes[result], kinds)
  }
  return bound as Table<T>
}

/** Binds the table to the two libraries. Throws koffi's error when a file or function is missing. */
export function bindNative(basePath: string, loaderPath: string): Native {
  const base = koffi.load(basePath, { global: true })
  const loader = koffi.load(loaderPath, { global: true })
  const params = koffi.struct({ mem_size: 'size_t', mem_buffer: 'void *', no_alloc: 'bool' })
  const init = base.func('ggml_init', 'void *', [params])
  return {
    ...bind(base, signatures),
    ...bind(loader, loaderSignatures),
    init: (bytes, noAlloc) => init({ mem_size: bytes, mem_buffer: null, no_alloc: noAlloc }) as Address | null,
    symbol: (name) => BigInt(base.symbol(name)),
  }
}

/** Calls a function by its address, as `ggml_backend_reg_get_proc_address` returns it. */
export function callAddress<S extends Signature>(
  address: Address,
  signature: S,
  ...args: FunctionOf<S> extends NativeFunction<infer A, unknown> ? A : never
): FunctionOf<S> extends NativeFunction<never[], infer R> ? R : never {
  let prototype = prototypes.get(signature)
  if (!prototype) {
    const [result, kinds] = signature.split(':') as [ResultKind, string]
    prototype = koffi.proto(
      cTypes[result],
      Array.from(kinds, (kind) => cTypes[kind as Kind]),
    )
    prototypes.set(signature, prototype)
  }
  return koffi.call(address, prototype, ...args)
}
const prototypes = new Map<Signature, ReturnType<typeof koffi.proto>>()

/** Runs a native function on a worker thread; the event loop stays free. */
export function callAsync<A extends unknown[], R>(fn: NativeFunction<A, R>, ...args: A): Promise<R> {
  return new Promise((resolve, reject) => {
    fn.async(...args, (error, result) => (error ? reject(error) : resolve(result)))
  })
}

/** An array that shares the memory at an address. Valid while the caller keeps the memory allocated. */
export function bytesAt(address: Address, length: number): Uint8Array {
  return new Uint8Array(koffi.view(address, length))
}

/** The pointer at `address + index * 8`, for null-terminated lists. */
export function pointerAt(address: Address, index: number): Address | null {
  return koffi.decode(address, index * 8, 'void *') as Address | null
}
