/** Token counts, usage and cost. */
export * from './media-tokens.ts'
export * from './prompt-tokens.ts'
export * from './speech-prompt.ts'
export * from './text-tokens.ts'
export * from './usage.ts'
