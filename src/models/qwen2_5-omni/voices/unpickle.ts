/**
 * Reads the pickle of a PyTorch file of dictionaries with tensors and numbers only.
 *
 * A pickle is a program. Only the few instructions that such data needs are supported; none of them looks up names,
 * imports modules or calls functions. Global names are compared with a list. Anything else is an error.
 *
 * Reference: CPython `pickletools` (opcodes), PyTorch `torch/serialization.py` (persistent ids),
 * `torch._utils._rebuild_tensor_v2`.
 */

/** A tensor's description: where its values are in the archive. */
export interface PickledTensor {
  readonly kind: 'tensor'
  readonly storage: PickledStorage
  /** In elements. */
  readonly offset: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

export type StorageType = 'f32' | 'f16' | 'bf16' | 'f64'

export interface PickledStorage {
  readonly kind: 'storage'
  readonly type: StorageType
  /** Name of the archive's entry below `data/`. */
  readonly key: string
  readonly count: number
}

interface Global {
  readonly kind: 'global'
  readonly name: string
}

interface Tuple {
  readonly kind: 'tuple'
  readonly items: readonly Pickled[]
}

export type Pickled = number | boolean | string | Map<string, Pickled> | PickledTensor | PickledStorage | Global | Tuple

const REBUILD = 'torch._utils._rebuild_tensor_v2'
const ORDERED = 'collections.OrderedDict'
const STORAGES: ReadonlyMap<string, StorageType> = new Map([
  ['torch.FloatStorage', 'f32'],
  ['torch.HalfStorage', 'f16'],
  ['torch.BFloat16Storage', 'bf16'],
  ['torch.DoubleStorage', 'f64'],
])

const LONGEST_TEXT = 1024
const DEEPEST_STACK = 4096
const MOST_STEPS = 100_000

/** Throws an Error that names the unsupported instruction and its position. */
export function unpickle(bytes: Uint8Array): Pickled {
  return new Machine(bytes).run()
}

class Machine {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #stack: Pickled[] = []
  /** Heights of the stack at open marks. */
  readonly #marks: number[] = []
  readonly #memo = new Map<number, Pickled>()
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  run(): Pickled {
    if (this.#byte() !== 0x80 || this.#byte() !== 2) this.#fail('is not a pickle of protocol 2')
    for (let step = 0; step < MOST_STEPS; step++) {
      const opcode = this.#byte()
      if (opcode === 0x2e) {
        const result = this.#pop()
        if (this.#stack.length > 0 || this.#marks.length > 0) this.#fail('ends with values left over')
        if (this.#at !== this.#bytes.length) this.#fail('continues after its end')
        return result
      }
      this.#step(opcode)
      if (this.#stack.length > DEEPEST_STACK) this.#fail('nests too deeply')
    }
    return this.#fail('has too many instructions')
  }

  #step(opcode: number): void {
    switch (opcode) {
      case 0x28: // MARK
        this.#marks.push(this.#stack.length)
        return
      case 0x7d: // EMPTY_DICT
        this.#push(new Map())
        return
      case 0x29: // EMPTY_TUPLE
        this.#push({ kind: 'tuple', items: [] })
        return
      case 0x58: // BINUNICODE
        this.#push(this.#text(this.#take(4, (at) => this.#view.getUint32(at, true))))
        return
      case 0x4a: // BININT
        this.#push(this.#take(4, (at) => this.#view.getInt32(at, true)))
        return
      case 0x4b: // BININT1
        this.#push(this.#byte())
        return
      case 0x4d: // BININT2
        this.#push(this.#take(2, (at) => this.#view.getUint16(at, true)))
        return
      case 0x88: // NEWTRUE
      case 0x89: // NEWFALSE
        this.#push(opcode === 0x88)
        return
      case 0x71: // BINPUT
        this.#memo.set(this.#byte(), this.#top())
        return
      case 0x72: // LONG_BINPUT
        this.#memo.set(
          this.#take(4, (at) => this.#view.getUint32(at, true)),
          this.#top(),
        )
        return
      case 0x68: // BINGET
        this.#push(this.#remembered(this.#byte()))
        return
      case 0x6a: // LONG_BINGET
        this.#push(this.#remembered(this.#take(4, (at) => this.#view.getUint32(at, true))))
        return
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        this.#tuple(opcode - 0x84)
        return
      case 0x74: // TUPLE
        this.#tuple(this.#sinceMark())
        return
      case 0x73: // SETITEM
        this.#setItems(2)
        return
      case 0x75: // SETITEMS
        this.#setItems(this.#sinceMark())
        return
      case 0x63: // GLOBAL
        this.#global()
        return
      case 0x51: // BINPERSID
        this.#push(this.#storage(this.#pop()))
        return
      case 0x52: // REDUCE
        this.#reduce()
        return
      default:
        this.#fail(`has the instruction 0x${opcode.toString(16).padStart(2, '0')}, which no voice needs`)
    }
  }

  #global(): void {
    const name = `${this.#line()}.${this.#line()}`
    if (name !== REBUILD && name !== ORDERED && !STORAGES.has(name))
      this.#fail(`asks for ${JSON.stringify(name)}, which no voice needs; nothing was run`)
    this.#push({ kind: 'global', name })
  }

  #storage(id: Pickled): PickledStorage {
    const items = isTuple(id) ? id.items : []
    const [label, type, key, , count] = items
    const stored = isGlobal(type) ? STORAGES.get(type.name) : undefined
    if (items.length !== 5 || label !== 'storage' || !stored || typeof key !== 'string' || !isCount(count))
      return this.#fail('refers to something other than a storage of numbers')
    return { kind: 'storage', type: stored, key, count }
  }

  #reduce(): void {
    const parameters = this.#pop()
    const callee = this.#pop()
    if (!isGlobal(callee) || !isTuple(parameters)) this.#fail('calls a name that is not allowed')
    const { items } = parameters
    if (callee.name === ORDERED && items.length === 0) this.#push(new Map())
    else if (callee.name === REBUILD) this.#push(this.#tensor(items))
    else this.#fail(`calls ${callee.name} with ${items.length} values`)
  }

  #tensor(items: readonly Pickled[]): PickledTensor {
    const [storage, offset, shape, strides, gradient, hooks] = items
    if (items.length !== 6 || !isStorage(storage) || !isCount(offset) || typeof gradient !== 'boolean')
      return this.#fail('describes a tensor in an unknown way')
    if (!(hooks instanceof Map) || hooks.size > 0) return this.#fail('has a tensor with hooks')
    const counts = (value: Pickled | undefined): number[] => {
      if (!isTuple(value) || value.items.length > 4 || !value.items.every((item) => isCount(item)))
        return this.#fail('describes a tensor with an odd shape')
      return value.items as number[]
    }
    const [extents, steps] = [counts(shape), counts(strides)]
    if (extents.length !== steps.length) this.#fail('describes a tensor with an odd shape')
    return { kind: 'tensor', storage, offset, shape: extents, strides: steps }
  }

  #setItems(count: number): void {
    const items = this.#popMany(count)
    const target = this.#top()
    if (!(target instanceof Map) || items.length % 2 !== 0) this.#fail('stores into a value that is not a dictionary')
    for (let i = 0; i < items.length; i += 2) {
      const [key, value] = [items[i], items[i + 1]]
      if (typeof key !== 'string' || value === undefined) this.#fail('has a dictionary with keys other than texts')
      if (target.has(key)) this.#fail(`has ${JSON.stringify(key)} twice`)
      target.set(key, value)
    }
  }

  #tuple(count: number): void {
    this.#push({ kind: 'tuple', items: this.#popMany(count) })
  }

  /** Removes and returns the values above the last mark, and the mark. */
  #sinceMark(): number {
    const mark = this.#marks.pop()
    if (mark === undefined || mark > this.#stack.length) return this.#fail('lacks a mark')
    return this.#stack.length - mark
  }

  #push(value: Pickled): void {
    this.#stack.push(value)
  }

  #pop(): Pickled {
    const [value] = this.#popMany(1)
    return value ?? this.#fail('uses a value that does not exist')
  }

  #popMany(count: number): Pickled[] {
    if (count > this.#stack.length - (this.#marks.at(-1) ?? 0)) this.#fail('uses values that do not exist')
    return this.#stack.splice(this.#stack.length - count, count)
  }

  #top(): Pickled {
    return this.#stack.at(-1) ?? this.#fail('memoizes a value that does not exist')
  }

  #remembered(key: number): Pickled {
    return this.#memo.get(key) ?? this.#fail('recalls a value that it did not remember')
  }

  #byte(): number {
    return this.#take(1, (at) => this.#view.getUint8(at))
  }

  #take(size: number, read: (at: number) => number): number {
    if (this.#at + size > this.#bytes.length) this.#fail('is cut off')
    this.#at += size
    return read(this.#at - size)
  }

  #text(length: number): string {
    if (length > LONGEST_TEXT) this.#fail(`has a text of ${length} bytes`)
    if (this.#at + length > this.#bytes.length) this.#fail('is cut off')
    this.#at += length
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.#bytes.subarray(this.#at - length, this.#at))
    } catch {
      return this.#fail('has a text that is not UTF-8')
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at)
    if (end < 0) this.#fail('is cut off')
    const text = this.#text(end - this.#at)
    this.#at = end + 1
    return text
  }

  #fail(what: string): never {
    throw new Error(`its pickle ${what} (byte ${this.#at})`)
  }
}

function isCount(value: Pickled | undefined): value is number {
  return typeof value === 'number' && value >= 0
}

function isTuple(value: Pickled | undefined): value is Tuple {
  return typeof value === 'object' && 'kind' in value && value.kind === 'tuple'
}

function isGlobal(value: Pickled | undefined): value is Global {
  return typeof value === 'object' && 'kind' in value && value.kind === 'global'
}

function isStorage(value: Pickled | undefined): value is PickledStorage {
  return typeof value === 'object' && 'kind' in value && value.kind === 'storage'
}
