/**
 * Reads values of a config.json with their types checked; errors name the key's full path and what it should be.
 *
 * In: a parsed JSON object. Out: values, or `EngineError('bad_checkpoint')`.
 */

import { EngineError } from '../contract/index.ts'

export class ConfigReader {
  /** Dotted path of this object, empty at the root. */
  readonly path: string
  readonly #object: Readonly<Record<string, unknown>>

  constructor(value: unknown, path = '') {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new EngineError('bad_checkpoint', `config.json: ${path || 'the file'} should be an object`)
    }
    this.path = path
    this.#object = value as Readonly<Record<string, unknown>>
  }

  has(key: string): boolean {
    return this.#object[key] !== undefined && this.#object[key] !== null
  }

  object(key: string): ConfigReader {
    if (!this.has(key)) this.fail(key, 'is missing')
    return new ConfigReader(this.#object[key], this.#join(key))
  }

  /** A finite number. */
  number(key: string, fallback?: number): number {
    const value = this.#object[key]
    if (typeof value === 'number' && Number.isFinite(value)) return value
    if (!this.has(key) && fallback !== undefined) return fallback
    return this.fail(key, `should be a number, is ${JSON.stringify(value)}`)
  }

  /** A whole number of at least `least` (default 1). */
  integer(key: string, options: { least?: number; fallback?: number } = {}): number {
    const least = options.least ?? 1
    const value = this.#object[key]
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value
    if (!this.has(key) && options.fallback !== undefined) return options.fallback
    return this.fail(key, `should be a whole number of at least ${least}, is ${JSON.stringify(value)}`)
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

  /** Throws naming the key. */
  fail(key: string, what: string): never {
    throw new EngineError('bad_checkpoint', `config.json: ${this.#join(key)} ${what}`)
  }

  #join(key: string): string {
    return this.path === '' ? key : `${this.path}.${key}`
  }
}
