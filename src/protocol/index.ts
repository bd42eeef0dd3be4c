/** The wire: schemas and types of requests, chunks, usage, listings and errors. Imports zod only; runs in browsers. */
export * from './api-error.ts'
export * from './chunk.ts'
export * from './error-catalogue.ts'
export * from './listing.ts'
export * from './parse-request.ts'
export * from './request.ts'
export * from './sse.ts'
export * from './usage.ts'
