/** The package's public surface: the engine contract. */
export * from './contract/index.ts'
