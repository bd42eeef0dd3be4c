import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// A software driver compiles each kernel before its first use, for seconds, and on all cores.
const onDevice = process.env['OMNISERVE_TEST_DEVICE'] !== undefined

// The programs that tests start (the command line, servers, engines) find their sources compiled; coverage would be
// less precise.
if (!process.argv.includes('--coverage'))
  process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url))

/** Tests of plain functions: what they load once serves the next file, too. */
const plain = [
  'src/{accounting,arithmetic,catalogue,config,prompt,protocol,sampling}/**/*.test.ts',
  'src/api/**/*.test.ts',
  'src/media/{av,fetch}/**/*.test.ts',
  'src/realtime/**/*.test.ts',
  'web/src/**/*.test.{ts,tsx}',
]

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'plain', include: plain, isolate: false } },
      {
        extends: true,
        test: {
          name: 'whole',
          include: ['src/**/*.test.ts', 'tests/**/*.test.ts', 'testing/**/*.test.ts'],
          exclude: plain,
        },
      },
    ],
    pool: 'forks',
    // One more than two cores: some wait for a browser or a process.
    maxWorkers: onDevice ? 1 : 3,
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
