/** Small generation requests for tests; they ship with the engine contract's suite. */
export * from '../src/contract/testing/requests.ts'
