/**
 * `omniserve cluster status|drain|resume|schema`: manages the replicas of a running server through its admin routes.
 */
import { Option, type Command } from 'commander'
import { SETTINGS } from '../../config/settings.ts'
import type { ClusterState } from '../../protocol/index.ts'
import { CommandError, EXIT, EXIT_HELP } from '../exit.ts'
import { interruptSignal } from '../interrupt.ts'
import { exitOnClosedPipe, print, printJson, table } from '../output.ts'

interface ClusterFlags {
  readonly url?: string
  readonly adminKey?: string
  readonly json?: boolean
  readonly wait?: boolean
}

export function addClusterCommand(program: Command): void {
  const command = program
    .command('cluster')
    .description('Show, drain and resume the replicas behind a running server')
    .addHelpText(
      'after',
      `
The server must run with --admin-key (OMNISERVE_ADMIN_KEY). A drained replica gets no new requests;
its running ones finish.

Examples:
  omniserve cluster status
  omniserve cluster drain gpu-2 --wait && ssh gpu-2 sudo systemctl stop vllm
  omniserve cluster resume gpu-2
  omniserve cluster schema > omniserve.schema.json
${EXIT_HELP}`,
    )
  const addSubcommand = (name: string, description: string): Command =>
    command
      .command(name)
      .description(description)
      .option(
        '--url <url>',
        `address of the server (default: http://${SETTINGS.host.fallback}:${SETTINGS.port.fallback} or as in the settings)`,
      )
      .addOption(new Option('--admin-key <key>', 'admin key').env('OMNISERVE_ADMIN_KEY'))
      .option('--json', 'print JSON')
  addSubcommand('status', 'Show the replicas, their health and their load').action(async (flags: ClusterFlags) => {
    show(await callServer(flags, '', undefined), flags)
  })
  addSubcommand('drain', 'Stop sending requests to a replica; its running ones finish')
    .argument('<replica>')
    .option('--wait', 'wait until its last request has finished')
    .action(async (name: string, flags: ClusterFlags) => drain(name, flags))
  addSubcommand('resume', 'Send requests to a replica again, and lift a suspension')
    .argument('<replica>')
    .action(async (name: string, flags: ClusterFlags) => {
      show(await callServer(flags, `/replicas/${encodeURIComponent(name)}`, { draining: false }), flags)
    })
  command
    .command('schema')
    .description('Print the JSON schema of the configuration file')
    .action(async () => {
      const { configJsonSchema } = await import('../../config/index.ts')
      printJson(configJsonSchema())
    })
}

/** Milliseconds between two requests for the state. */
const POLL_INTERVAL = 500

async function drain(name: string, flags: ClusterFlags): Promise<void> {
  let state = await callServer(flags, `/replicas/${encodeURIComponent(name)}`, { draining: true })
  while (flags.wait === true && state.replicas.find((replica) => replica.name === name)?.state === 'draining') {
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL))
    state = await callServer(flags, '', undefined)
  }
  show(state, flags)
}

/** @throws CommandError with exit code 4 if the server cannot be reached, 5 if it refuses */
async function callServer(flags: ClusterFlags, path: string, body: object | undefined): Promise<ClusterState> {
  const [{ loadSettings }, { apiErrorBodySchema, clusterStateSchema }] = await Promise.all([
    import('../../config/index.ts'),
    import('../../protocol/index.ts'),
  ])
  const settings = await loadSettings({ environment: process.env, folder: process.cwd() })
  const base = flags.url ?? `http://${settings.host}:${settings.port}`
  const key = flags.adminKey ?? settings.adminKey
  if (key === '') throw new CommandError('an admin key is required: --admin-key or OMNISERVE_ADMIN_KEY.', EXIT.usage)
  const url = `${base.replace(/\/+$/, '')}/admin/cluster${path}`
  const signal = interruptSignal()
  let response: Response
  try {
    response = await fetch(url, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      signal,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  } catch {
    signal.throwIfAborted()
    throw new CommandError(`cannot reach ${base}: is omniserve serve running there?`, EXIT.unreachable)
  }
  const reply: unknown = await response.json().catch(() => undefined)
  const parsed = clusterStateSchema.safeParse(reply)
  if (response.ok && parsed.success) return parsed.data
  const refusal = apiErrorBodySchema.safeParse(reply).data?.error.message ?? `HTTP ${response.status}`
  const hint =
    response.status === 404 ? ' Check the name of the replica, and that the server runs with --admin-key.' : ''
  throw new CommandError(`${refusal}${hint}`, EXIT.refused)
}

function show(state: ClusterState, { json }: ClusterFlags): void {
  exitOnClosedPipe()
  if (json === true) {
    printJson(state)
    return
  }
  const rows = state.replicas.map((replica) => [
    replica.name,
    replica.pool,
    replica.engine,
    replica.state,
    `${replica.live} (${replica.pending}/${replica.max_pending})`,
    String(replica.requests),
    String(replica.errors),
    String(replica.ejections),
    replica.reason ?? '',
  ])
  print(table(['REPLICA', 'POOL', 'ENGINE', 'STATE', 'LIVE', 'REQUESTS', 'ERRORS', 'EJECTED', 'REASON'], rows))
}
