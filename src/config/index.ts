/** Settings of the server: flags, environment, file. */
export * from './cluster-file.ts'
export * from './cluster-schema.ts'
export * from './config-error.ts'
export * from './config-json-schema.ts'
export * from './load.ts'
export * from './settings.ts'
export * from './paths.ts'
