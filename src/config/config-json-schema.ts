/**
 * The JSON schema of the whole configuration file, for editors: settings by their meaning, the cluster part in full.
 */
import { z } from 'zod'
import { clusterSchema } from './cluster-schema.ts'
import { SETTINGS } from './settings.ts'

export function configJsonSchema(): Record<string, unknown> {
  const { $schema, properties, ...cluster } = z.toJSONSchema(clusterSchema, { io: 'input', unrepresentable: 'any' })
  const settings = Object.entries(SETTINGS).map(([name, row]) => {
    return [name, { description: `${row.description}. It must be ${row.expects}.` }] as const
  })
  // Without pools the file has settings only.
  const { required: _, ...rest } = cluster
  return {
    $schema,
    title: 'Configuration file of omniserve',
    ...rest,
    properties: { $schema: { type: 'string' }, ...Object.fromEntries(settings), ...properties },
  }
}
