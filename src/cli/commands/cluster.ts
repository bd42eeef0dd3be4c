/** `omniserve cluster status|drain|resume|schema`: replicas of a running server, through its operator routes. */
import { Option, type Command } from 'commander'
import { configJsonSchema, loadSettings, SETTINGS } from '../../config/index.ts'
import { apiErrorBodySchema, type ClusterState, clusterStateSchema } from '../../protocol/index.ts'
import { CommandError, EXIT, EXIT_HELP } from '../exit.ts'
import { interruptSignal } from '../interrupt.ts'
import { endWithReader, print, printJson, table } from '../output.ts'

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
The server must run with --admin-key (OMNISERVE_ADMIN_KEY). A drained replica gets no new requests; its running ones finish.

Examples:
  omniserve cluster status
  omniserve cluster drain gpu-2 --wait && ssh gpu-2 sudo systemctl stop vllm
  omniserve cluster resume gpu-2
  omniserve cluster schema > omniserve.schema.json
${EXIT_HELP}`,
    )
  const sub = (name: string, description: string): Command =>
    command
      .command(name)
      .description(description)
      .option(
        '--url <url>',
        `address of the server (default: http://${SETTINGS.host.fallback}:${SETTINGS.port.fallback} or as in the settings)`,
      )
      .addOption(new Option('--admin-key <key>', 'admin key').env('OMNISERVE_ADMIN_KEY'))
      .option('--json', 'print JSON')
  sub('status', 'Show the replicas, their health and their load').action(async (flags: ClusterFlags) => {
    show(await ask(flags, '', undefined), flags)
  })
  sub('drain', 'Stop sending requests to a replica; its running ones finish')
    .argument('<replica>')
    .option('--wait', 'wait until its last request has finished')
    .action(async (name: string, flags: ClusterFlags) => drain(name, flags))
  sub('resume', 'Send requests to a replica again, and lift a suspension')
    .argument('<replica>')
    .action(async (name: string, flags: ClusterFlags) => {
      show(await ask(flags, `/replicas/${encodeURIComponent(name)}`, { draining: false }), flags)
    })
  command
    .command('schema')
    .description('Print the JSON schema of the configuration file')
    .action(() => printJson(configJsonSchema()))
}

const WAIT_BETWEEN = 500

async function drain(name: string, flags: ClusterFlags): Promise<void> {
  let state = await ask(flags, `/replicas/${encodeURIComponent(name)}`, { draining: true })
  while (flags.wait === true && state.replicas.find((replica) => replica.name === name)?.state === 'draining') {
    await new Promise((resolve) => setTimeout(resolve, WAIT_BETWEEN))
    state = await ask(flags, '', undefined)
  }
  show(state, flags)
}

/** @throws CommandError with exit code 4 when nothing answers, 5 when the server refuses */
async function ask(flags: ClusterFlags, path: string, body: object | undefined): Promise<ClusterState> {
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
  const answer: unknown = await response.json().catch(() => undefined)
  const parsed = clusterStateSchema.safeParse(answer)
  if (response.ok && parsed.success) return parsed.data
  const refusal = apiErrorBodySchema.safeParse(answer).data?.error.message ?? `HTTP ${response.status}`
  const hint =
    response.status === 404 ? ' Is there a replica of that name, and does the server run with --admin-key?' : ''
  throw new CommandError(`${refusal}${hint}`, EXIT.refused)
}

function show(state: ClusterState, { json }: ClusterFlags): void {
  endWithReader()
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
