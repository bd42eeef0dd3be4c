import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// A software driver compiles each kernel before its first use, for seconds, and on all cores.
const onDevice = process.env['OMNISERVE_TEST_DEVICE'] !== undefined

// The programs that tests start (the command line, servers, engines) find their sources compiled; coverage would be less precise.
if (!process.argv.includes('--coverage'))
  process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url))

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts', 'testing/**/*.test.ts', 'web/src/**/*.test.{ts,tsx}'],
    pool: 'forks',
    maxWorkers: onDevice ? 1 : 2,
    // A race with a child process or a browser gets one more try; the reporter names what was tried again.
    retry: 1,
    // A busy machine is slow, not wrong: the limits only end what never ends.
    testTimeout: onDevice ? 1_800_000 : 180_000,
    hookTimeout: onDevice ? 1_800_000 : 180_000,
    expect: { poll: { timeout: 90_000, interval: 25 } },
    // Child processes (the engine's, the decoders', the command line's) are not counted.
    coverage: { provider: 'v8', include: ['src/**/*.ts', 'web/src/**/*.{ts,tsx}'], reporter: ['text', 'text-summary'] },
  },
})
