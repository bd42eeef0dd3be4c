/** The package's public surface: the engine contract. */
export * from './engines/engine.ts'
