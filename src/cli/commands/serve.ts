/** `omniserve serve`: listens, loads checkpoints, prints `ready on URL`, and stops after running replies have ended. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Command } from 'commander'
import type { ClusterPort } from '../../api/cluster-port.ts'
import { packageFolder } from '../../config/paths.ts'
import { EXIT, EXIT_HELP } from '../exit.ts'
import { clearStatus, status } from '../output.ts'
import { packageInfo } from '../package-info.ts'
import type { RequestMetrics } from '../../engines/local/local-engine.ts'
import type { OpenEnginesOptions } from '../open-engines.ts'
import { addSettingsOptions, configFileOf, settingsFromOptions } from '../settings-options.ts'

export function addServeCommand(program: Command): void {
  const command = program
    .command('serve')
    .description('Serve the Qwen-Omni API and the playground')
    .addHelpText(
      'after',
      `
Each option is also an environment variable (in brackets) and a key of the configuration file.
An option overrides the variable, the variable overrides the file.

Examples:
  omniserve serve
  omniserve serve --model ./Qwen3-Omni-30B-A3B-Instruct --port 9000
  omniserve serve --model qwen3-omni.gguf --host 0.0.0.0 --api-key "$KEY"
  omniserve serve --config cluster.yaml
  omniserve serve --bind qwen3-omni-flash:thinking=./Qwen3-Omni-30B-A3B-Thinking
${EXIT_HELP}`,
    )
    .action(async (options: Record<string, unknown>) => serve(options))
  addSettingsOptions(command)
}

async function serve(options: Readonly<Record<string, unknown>>): Promise<void> {
  const settings = await settingsFromOptions(options)
  const { checkExposure } = await import('../../config/index.ts')
  checkExposure(settings)
  // Imported late, so that help and argument errors are fast.
  const [{ createLog }, { createLazyTextCounter }, { startServer }, { openEngines }] = await Promise.all([
    import('../log.ts'),
    import('../../accounting/index.ts'),
    import('../../api/index.ts'),
    import('../open-engines.ts'),
  ])
  // Standard output contains only `ready on URL`.
  const log = createLog(settings)
  const stopping = new AbortController()
  const ended = new Promise<void>((resolve) => {
    let signals = 0
    const onSignal = (signal: NodeJS.Signals): void => {
      signals += 1
      if (signals > 1) process.exit(EXIT.interrupted)
      log.info({ signal }, 'stopping: running replies finish first; repeat the signal to stop at once')
      stopping.abort(new Error(`stopped by ${signal}`))
      resolve()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
  const opening = {
    settings,
    log: (text: string, facts: object) => log.info(facts, text),
    warn: (text: string, facts: object) => log.warn(facts, text),
    onMetrics: ({ id, ...metrics }: RequestMetrics, checkpoint: string) =>
      log.debug({ requestId: id, checkpoint, ...metrics }, 'request profile'),
    signal: stopping.signal,
  }
  const cluster = await clusterOf(options, opening)
  const counter = createLazyTextCounter()
  const server = await startServer({
    counter,
    settings,
    engines: () => openEngines(opening),
    cluster,
    log,
    version: packageInfo.version,
    playgroundFolder: path.join(packageFolder, 'web', 'dist'),
  }).catch(async (error: unknown) => {
    // What is being loaded would keep the process alive.
    stopping.abort(error)
    await cluster?.close()
    throw error
  })
  const { names } = server.services.host
  log.debug({ checkpoints: names, url: server.url }, 'listening; loading checkpoints')
  if (settings.logLevel !== 'silent') status(`listening on ${server.url}; loading ${names.join(', ')} ...`)
  try {
    await server.ready
    // Loads the vocabulary now, so that no request waits for it.
    await counter.count('')
    clearStatus()
    process.stdout.write(`ready on ${server.url}\n`)
  } catch (error) {
    await server.stop(0)
    if (stopping.signal.aborted) return
    throw error
  }
  await ended
  await server.stop()
  process.exitCode = EXIT.ok
}

/** The cluster of the configuration file; undefined if the file has none. @throws ConfigError */
async function clusterOf(
  options: Readonly<Record<string, unknown>>,
  opening: OpenEnginesOptions,
): Promise<ClusterPort | undefined> {
  const file = configFileOf(options)
  const { loadClusterFile } = await import('../../config/index.ts')
  const cluster = file === undefined || !existsSync(file) ? undefined : await loadClusterFile(file)
  if (file === undefined || cluster === undefined) return undefined
  const [{ ClusterHost }, { findCheckpoint }, { openCheckpoint }] = await Promise.all([
    import('../open-cluster.ts'),
    import('../find-checkpoint.ts'),
    import('../open-engines.ts'),
  ])
  return new ClusterHost({
    ...opening,
    file,
    cluster,
    openLocal: (checkpoint) => openCheckpoint(checkpoint, findCheckpoint(checkpoint), opening),
  })
}
