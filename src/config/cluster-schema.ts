/**
 * The part of the configuration file that says which engines answer: pools of replicas, and which API model goes to which pools.
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
    url: url.describe('Where the peer listens, without /v1. For dashscope with /compatible-mode/v1.'),
    name: name.optional().describe('Shown in metrics and to callers. Default: POOL-1, POOL-2, ...'),
    weight: z.number().positive().optional().describe('Its share of the requests, from its seats. Default 1.'),
    maxPending: count.optional().describe("Default: the pool's."),
    drain: z.boolean().optional().describe('Takes no new requests.'),
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
  .describe('What this pool costs, per million tokens; counted in the log and in metrics.')

export const poolSchema = z
  .strictObject({
    engine: z
      .enum(['local', 'vllm-omni', 'vllm', 'sglang-omni', 'dashscope', 'omniserve'])
      .describe('What the replicas are; `local` is a checkpoint in this process.'),
    checkpoint: z.string().min(1).optional().describe('Of a local pool: a name, a folder or a hub id.'),
    model: z.string().min(1).optional().describe('Name under which the peers serve it.'),
    replicas: z.array(replicaSchema).min(1).optional(),
    key: z.string().min(1).optional().describe("The peers' API key. Better: keyVariable or keyFile."),
    keyVariable: z.string().min(1).optional().describe('Environment variable with the key.'),
    keyFile: z.string().min(1).optional().describe('File with the key.'),
    architecture: z.string().min(1).optional(),
    contextLength: count.optional().describe('Tokens. Default: what the peers tell, else 32768.'),
    maxOutputTokens: count.optional().describe('Default: half of the context.'),
    input: z.array(z.enum(['text', 'image', 'audio', 'video'])).optional(),
    output: z.array(z.enum(['text', 'audio'])).optional(),
    thinking: z.boolean().optional().describe('The peers think, and tell reasoning apart.'),
    tools: z.boolean().optional().describe('The peers call tools.'),
    speakers: z.array(z.string().min(1)).optional().describe('Lower case; where the peers do not tell them.'),
    anyVoice: z
      .boolean()
      .optional()
      .describe("Every voice is spoken by the peer's one speaker, in place of a refusal (sglang-omni)."),
    talker: z
      .record(z.string(), z.unknown())
      .optional()
      .describe("vllm-omni: the talker's sampling in the peer's words, its stop_token_ids included."),
    maxPending: count.optional().describe('Most requests at one replica; spoken ones count more. Default 16.'),
    requestsPerMinute: count.optional().describe('Of all its replicas together.'),
    timeouts: z
      .strictObject({
        connect: seconds.optional().describe('Default 2.'),
        firstByte: seconds.optional().describe("Waiting in the peer's queue included. Default 300."),
        idle: seconds.optional().describe('Silence in the middle of a reply that counts as death. Default 10.'),
        ask: seconds.optional().describe('Of health checks. Default 2.'),
      })
      .optional(),
    prices: pricesSchema.optional(),
  })
  .superRefine((pool, context) => {
    const say = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    if (pool.engine === 'local') {
      if (pool.checkpoint === undefined) say('checkpoint', 'is required for a local pool')
      if (pool.replicas !== undefined) say('replicas', 'a local pool has none: it is one checkpoint in this process')
      return
    }
    if (pool.checkpoint !== undefined) say('checkpoint', 'only a local pool has a checkpoint')
    if (pool.model === undefined) say('model', 'is required: the name under which the peers serve it')
    if (pool.replicas === undefined) say('replicas', 'is required: a list of URLs')
    const keys = [pool.key, pool.keyVariable, pool.keyFile].filter((key) => key !== undefined)
    if (keys.length > 1) say('key', 'is given twice: set one of key, keyVariable and keyFile')
  })

const balancingSchema = z.strictObject({
  strategy: z.enum(['least-pending', 'two-choices', 'round-robin', 'random']).optional(),
  affinity: z
    .enum(['none', 'caller', 'conversation'])
    .optional()
    .describe('Keeps requests together for prefix caches. Default none.'),
  probeEvery: seconds.optional().describe('Between health checks. Default 5.'),
  ejectAfter: count.optional().describe('Failed checks in a row. Default 2.'),
  returnAfter: count.optional().describe('Good checks in a row before the trial request. Default 2.'),
  ejectFor: seconds.optional().describe('The first time; it doubles. Default 30.'),
  ejectForAtMost: seconds.optional().describe('Default 300.'),
  speechCost: z.number().min(1).optional().describe('What a spoken request counts; a written one counts 1. Default 2.'),
  retries: z
    .int()
    .min(0)
    .max(5)
    .optional()
    .describe('Replicas tried after the first, before a reply begins. Default 2.'),
})

export const clusterSchema = z
  .strictObject({
    pools: z.record(name, poolSchema),
    models: z
      .record(z.string(), z.union([name.transform((only) => [only]), z.array(name).min(1)]))
      .describe('API_MODEL, API_MODEL:thinking or "*" for the rest, to pools in the order in which they are asked.'),
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

/** Keys of the configuration file that are this part's. */
export const CLUSTER_KEYS = ['pools', 'models', 'balancing'] as const
