/** Settings of the server: flags, environment, file. */
export * from './load.ts'
export * from './settings.ts'
export * from './paths.ts'
