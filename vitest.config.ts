import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// A software driver compiles each kernel before its first use, for seconds, and on all cores.
const onDevice = process.env['OMNISERVE_TEST_DEVICE'] !== undefined

// The programs that tests start (the command line, servers, engines) find their sources compiled; coverage would be
// less precise.
if (!process.argv.includes('--coverage'))
  process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url))

/** Files with a process of their own: they mock modules, measure memory, or need a fresh process. */
const alone = ['src/tensor/**/*.test.ts', 'tests/{faults,hostile-media}.test.ts', 'tests/realtime/odd-orders.test.ts']

/** Files that wait for other programs and take long. */
const long = [
  'tests/{engine-crash,examples,nano}.test.ts',
  'tests/{browser,cli}/**/*.test.ts',
  'tests/remote/{behind-a-third,real-*}.test.ts',
  'tests/wire/{qwen-omni-turbo,samples,serve-command}.test.ts',
]

export default defineConfig({
  test: {
    // Projects run in the order of their names: the long tests begin first.
    projects: [
      { extends: true, test: { name: 'alone', include: alone } },
      // Modules are loaded once per worker.
      { extends: true, test: { name: 'long', isolate: false, include: long } },
      {
        extends: true,
        test: {
          name: 'shared',
          isolate: false,
          include: ['src/**/*.test.ts', 'tests/**/*.test.ts', 'testing/**/*.test.ts', 'web/src/**/*.test.{ts,tsx}'],
          exclude: [...alone, ...long],
        },
      },
    ],
    pool: 'forks',
    setupFiles: ['testing/equal-bytes.ts'],
    unstubEnvs: true,
    // One more than two cores: some wait for a browser or a process.
    maxWorkers: onDevice ? 1 : 3,
    // A race with a child process or a browser gets one more try; the reporter names what was tried again.
    retry: 1,
    // A busy machine is slow, not wrong: the limits only end what never ends.
    testTimeout: onDevice ? 1_800_000 : 180_000,
    hookTimeout: onDevice ? 1_800_000 : 180_000,
    expect: { poll: { timeout: 90_000, interval: 25 } },
    // Child processes (the engine's, the decoders', the command line's) are not counted.
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts', 'web/src/**/*.{ts,tsx}'],
      reporter: ['text', 'text-summary'],
      // One failed test does not take away the results of all others.
      reportOnFailure: true,
    },
  },
})
