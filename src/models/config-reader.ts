/**
 * Reads and validates values of a JSON file. Errors name the file, the full path of the key and the expected value.
 *
 * In: a parsed JSON object. Out: values, or `EngineError('bad_checkpoint')`.
 */

import { EngineError } from '../contract/index.ts'

const MOST_LAYERS = 1000

export class ConfigReader {
  /** Dotted path of this object, empty at the root. */
  readonly path: string
  readonly file: string
  readonly #object: Readonly<Record<string, unknown>>

  constructor(value: unknown, path = '', file = 'config.json') {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new EngineError('bad_checkpoint', `${file}: ${path || 'the file'} should be an object`)
    }
    this.path = path
    this.file = file
    this.#object = value as Readonly<Record<string, unknown>>
  }

  has(key: string): boolean {
    return this.#object[key] !== undefined && this.#object[key] !== null
  }

  object(key: string): ConfigReader {
    if (!this.has(key)) this.fail(key, 'is missing')
    return new ConfigReader(this.#object[key], this.#join(key), this.file)
  }

  /** The object at `key`, or an empty one if absent. */
  part(key: string): ConfigReader {
    return this.has(key) ? this.object(key) : new ConfigReader({}, this.#join(key), this.file)
  }

  /** A finite number: above `above`, at least `least`, at most `most`. */
  number(key: string, fallback?: number, range: { above?: number; least?: number; most?: number } = {}): number {
    const value = this.#object[key]
    const { above = -Infinity, least = -Infinity, most = Number.MAX_VALUE } = range
    if (typeof value === 'number' && value > above && value >= least && value <= most) return value
    if (!this.has(key) && fallback !== undefined) return fallback
    const wanted = Object.entries({ above: range.above, 'at least': range.least, 'at most': range.most })
      .flatMap(([words, limit]) => (limit === undefined ? [] : [`${words} ${limit}`]))
      .join(' and ')
    return this.fail(key, `should be a number${wanted && ` ${wanted}`}, is ${JSON.stringify(value)}`)
  }

  /** A number above 0 that is added to a variance. */
  epsilon(key: string, fallback: number): number {
    return this.number(key, fallback, { above: 0, most: 1 })
  }

  /** The base of rotary frequencies. */
  rotaryBase(key: string, fallback?: number): number {
    return this.number(key, fallback, { above: 0, most: 1e12 })
  }

  /** A whole number of at least `least` (default 1), and at most `most`. */
  integer(key: string, options: { least?: number; most?: number; fallback?: number } = {}): number {
    const least = options.least ?? 1
    const value = this.#object[key]
    const { most = Infinity } = options
    if (typeof value === 'number' && value > most) this.fail(key, `should be at most ${most}, is ${value}`)
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value
    if (!this.has(key) && options.fallback !== undefined) return options.fallback
    return this.fail(key, `should be a whole number of at least ${least}, is ${JSON.stringify(value)}`)
  }

  /** As {@link integer}, or a list of equal values, one per side. */
  side(key: string): number {
    const value = this.#object[key]
    if (Array.isArray(value) && value.length > 0 && value.every((item) => item === value[0]))
      return new ConfigReader({ [key]: value[0] }, this.path, this.file).integer(key)
    return this.integer(key)
  }

  /**
   * A number of layers. The upper limit rejects wrong numbers before an object is created for each layer.
   */
  layers(key: string, fallback?: number): number {
    return this.integer(key, { most: MOST_LAYERS, ...(fallback !== undefined && { fallback }) })
  }

  boolean(key: string, fallback?: boolean): boolean {
    const value = this.#object[key]
    if (typeof value === 'boolean') return value
    if (!this.has(key) && fallback !== undefined) return fallback
    return this.fail(key, `should be true or false, is ${JSON.stringify(value)}`)
  }

  string(key: string, fallback?: string): string {
    const value = this.#object[key]
    if (typeof value === 'string') return value
    if (!this.has(key) && fallback !== undefined) return fallback
    return this.fail(key, `should be a text, is ${JSON.stringify(value)}`)
  }

  /** Whole numbers, not negative. */
  integers(key: string, fallback?: readonly number[]): readonly number[] {
    const value = this.#object[key]
    if (Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0)) {
      return value as number[]
    }
    if (!this.has(key) && fallback !== undefined) return fallback
    return this.fail(key, `should be a list of whole numbers, is ${JSON.stringify(value)}`)
  }

  /** A list of strings, or undefined if absent. */
  strings(key: string): readonly string[] | undefined {
    if (!this.has(key)) return undefined
    const value = this.#object[key]
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
    return this.fail(key, `should be a list of texts, is ${JSON.stringify(value)}`)
  }

  /** Three numbers, or undefined if absent. */
  triple(key: string): readonly [number, number, number] | undefined {
    if (!this.has(key)) return undefined
    const value = this.#object[key]
    if (Array.isArray(value) && value.length === 3) {
      const [a, b, c]: unknown[] = value
      if (typeof a === 'number' && typeof b === 'number' && typeof c === 'number') return [a, b, c]
    }
    return this.fail(key, `should be three numbers, is ${JSON.stringify(value)}`)
  }

  /** Lists of whole numbers, not negative. */
  integerLists(key: string, fallback?: readonly (readonly number[])[]): readonly (readonly number[])[] {
    const value = this.#object[key]
    const isList = (item: unknown): boolean =>
      Array.isArray(item) && item.every((entry) => Number.isSafeInteger(entry) && (entry as number) >= 0)
    if (Array.isArray(value) && value.every((item) => isList(item))) return value as number[][]
    if (!this.has(key) && fallback !== undefined) return fallback
    return this.fail(key, `should be a list of lists of whole numbers, is ${JSON.stringify(value)}`)
  }

  /** Names to whole numbers. */
  integerMap(key: string): ReadonlyMap<string, number> {
    if (!this.has(key)) return new Map()
    const inner = this.object(key)
    return new Map(Object.keys(inner.#object).map((name) => [name, inner.integer(name, { least: 0 })]))
  }

  /** Throws an error that names the key. */
  fail(key: string, what: string): never {
    throw new EngineError('bad_checkpoint', `${this.file}: ${this.#join(key)} ${what}`)
  }

  #join(key: string): string {
    return this.path === '' ? key : `${this.path}.${key}`
  }
}
