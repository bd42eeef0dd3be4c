/** The engine contract. Imports nothing of ours; every folder may import it. */
export * from './engine.ts'
export * from './errors.ts'
export * from './events.ts'
export * from './media.ts'
export * from './request.ts'
