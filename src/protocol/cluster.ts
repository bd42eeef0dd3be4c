/** Replies and bodies of the operator routes. */
import { z } from 'zod'

export const clusterStateSchema = z
  .object({
    object: z.literal('cluster'),
    replicas: z.array(
      z.object({
        name: z.string(),
        pool: z.string(),
        engine: z.string(),
        url: z.string().optional(),
        state: z
          .enum(['up', 'ejected', 'trial', 'suspended', 'resting', 'draining', 'drained'])
          .describe('`drained`: it may be stopped. `suspended`: out of service until an operator acts.'),
        reason: z.string().optional(),
        live: z.int().describe('Its running requests.'),
        pending: z.number().describe('Cost of its running requests.'),
        max_pending: z.number(),
        weight: z.number(),
        requests: z.int(),
        errors: z.int(),
        retries: z.int(),
        ejections: z.int(),
      }),
    ),
  })
  .meta({ id: 'ClusterState' })

export const adminDrainSchema = z
  .object({ draining: z.boolean().describe('false resumes it, and lifts a suspension.') })
  .meta({ id: 'DrainRequest' })

export type ClusterState = z.infer<typeof clusterStateSchema>
