/**
 * The cluster part of the configuration file: pools of replicas, and which API model goes to which pools.
 *
 * The published JSON schema (`docs/omniserve.schema.json`) is made from it. Times are in seconds.
 */
import { z } from 'zod'

const seconds = z.number().positive()
const count = z.int().min(1)
const name = z
  .string()
  .regex(/^[\w][\w.-]*$/, 'must be letters, digits, dots, dashes and underscores')
  .describe('Letters, digits, dots, dashes and underscores.')
const url = z.url({ protocol: /^https?$/, error: 'must be a URL such as http://10.0.0.5:8091' })

const replicaSchema = z.union([
  url,
  z.strictObject({
    url: url.describe('Address of the server, without /v1; for dashscope, with /compatible-mode/v1.'),
    name: name.optional().describe('Shown in metrics and to callers. Default: POOL-1, POOL-2, ...'),
    weight: z.number().positive().optional().describe('Its share of the requests. Default 1.'),
    maxPending: count.optional().describe("Maximum number of requests at this replica. Default: the pool's."),
    drain: z.boolean().optional().describe('True: it gets no new requests.'),
  }),
])

const pricesSchema = z
  .strictObject({
    currency: z.enum(['USD', 'CNY']),
    inputText: z.number().min(0),
    inputAudio: z.number().min(0),
    inputImageVideo: z.number().min(0),
    outputText: z.number().min(0),
    outputTextMultimodal: z.number().min(0),
    outputAudio: z.number().min(0),
  })
  .describe('Prices per million tokens, for the cost in the log and in metrics.')

export const poolSchema = z
  .strictObject({
    engine: z
      .enum(['local', 'vllm-omni', 'vllm', 'sglang-omni', 'dashscope', 'omniserve'])
      .describe('Kind of server; `local` is a checkpoint on this machine.'),
    checkpoint: z.string().min(1).optional().describe('For a local pool: a name, a folder or a hub id.'),
    model: z.string().min(1).optional().describe('Model name at the servers.'),
    replicas: z.array(replicaSchema).min(1).optional(),
    key: z.string().min(1).optional().describe('API key of the servers. Prefer keyVariable or keyFile.'),
    keyVariable: z.string().min(1).optional().describe('Environment variable with the key.'),
    keyFile: z.string().min(1).optional().describe('File with the key.'),
    architecture: z.string().min(1).optional(),
    contextLength: count.optional().describe('Tokens. Default: what the servers report, else 32768.'),
    maxOutputTokens: count.optional().describe('Default: half of the context.'),
    input: z.array(z.enum(['text', 'image', 'audio', 'video'])).optional(),
    output: z.array(z.enum(['text', 'audio'])).optional(),
    thinking: z.boolean().optional().describe('The servers support thinking and separate reasoning from the answer.'),
    tools: z.boolean().optional().describe('The servers support tools.'),
    speakers: z.array(z.string().min(1)).optional().describe('In lower case; for servers that do not list them.'),
    anyVoice: z.boolean().optional().describe("Accept every voice and use the server's only speaker (sglang-omni)."),
    talker: z
      .record(z.string(), z.unknown())
      .optional()
      .describe('vllm-omni: sampling parameters of the talker, stop_token_ids included.'),
    maxPending: count
      .optional()
      .describe('Maximum number of requests at one replica; requests with audio output count more. Default 16.'),
    requestsPerMinute: count.optional().describe('For all replicas together.'),
    timeouts: z
      .strictObject({
        connect: seconds.optional().describe('Default 2.'),
        firstByte: seconds.optional().describe("Including time in the server's queue. Default 300."),
        idle: seconds.optional().describe('Longest pause within a reply. Default 10.'),
        ask: seconds.optional().describe('For health checks. Default 2.'),
      })
      .optional(),
    prices: pricesSchema.optional(),
  })
  .superRefine((pool, context) => {
    const say = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    if (pool.engine === 'local') {
      if (pool.checkpoint === undefined) say('checkpoint', 'is required for a local pool')
      if (pool.replicas !== undefined)
        say('replicas', 'not allowed in a local pool, which is one checkpoint on this machine')
      return
    }
    if (pool.checkpoint !== undefined) say('checkpoint', 'only a local pool has a checkpoint')
    if (pool.model === undefined) say('model', 'is required: the model name at the servers')
    if (pool.replicas === undefined) say('replicas', 'is required: a list of URLs')
    const keys = [pool.key, pool.keyVariable, pool.keyFile].filter((key) => key !== undefined)
    if (keys.length > 1) say('key', 'is set more than once: use one of key, keyVariable and keyFile')
  })

const balancingSchema = z.strictObject({
  strategy: z.enum(['least-pending', 'two-choices', 'round-robin', 'random']).optional(),
  affinity: z
    .enum(['none', 'caller', 'conversation'])
    .optional()
    .describe('Sends related requests to one replica, for its prefix cache. Default none.'),
  probeEvery: seconds.optional().describe('Between health checks. Default 5.'),
  ejectAfter: count.optional().describe('Failed checks in a row that eject a replica. Default 2.'),
  returnAfter: count.optional().describe('Passed checks in a row before the trial request. Default 2.'),
  ejectFor: seconds.optional().describe('Doubles with each ejection. Default 30.'),
  ejectForAtMost: seconds.optional().describe('Default 300.'),
  speechCost: z
    .number()
    .min(1)
    .optional()
    .describe('Weight of a request with audio output; others count 1. Default 2.'),
  retries: z
    .int()
    .min(0)
    .max(5)
    .optional()
    .describe('Further replicas that are tried before a reply begins. Default 2.'),
  moveWithin: seconds
    .optional()
    .describe('How long a request whose replica failed waits for another that may return. Default 60.'),
})

export const clusterSchema = z
  .strictObject({
    pools: z.record(name, poolSchema),
    models: z
      .record(z.string(), z.union([name.transform((only) => [only]), z.array(name).min(1)]))
      .describe('API_MODEL, API_MODEL:thinking or "*" (all others), each with its pools in order of preference.'),
    balancing: balancingSchema.optional(),
  })
  .superRefine(({ pools, models }, context) => {
    for (const [model, names] of Object.entries(models)) {
      for (const [index, pool] of names.entries()) {
        if (Object.hasOwn(pools, pool)) continue
        const message = `names the pool ${pool}; there are ${Object.keys(pools).join(', ') || 'none'}`
        context.addIssue({ code: 'custom', path: ['models', model, index], message })
      }
    }
    const seen = new Set<string>()
    for (const [pool, { replicas = [] }] of Object.entries(pools)) {
      for (const [index, replica] of replicas.entries()) {
        const own = typeof replica === 'string' ? undefined : replica.name
        const full = own ?? `${pool}-${index + 1}`
        if (seen.has(full))
          context.addIssue({
            code: 'custom',
            path: ['pools', pool, 'replicas', index],
            message: `a second replica is called ${full}`,
          })
        seen.add(full)
      }
    }
  })

export type ClusterFile = z.output<typeof clusterSchema>
export type PoolFile = z.output<typeof poolSchema>

/** Keys of the configuration file that belong to this part. */
export const CLUSTER_KEYS = ['pools', 'models', 'balancing'] as const
