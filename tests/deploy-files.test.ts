/**
 * The files of `deploy/` fit the server: configuration files load, manifests parse, dashboards and alerts use existing
 * metrics.
 */
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { RequestQueue } from '../src/api/request-queue.ts'
import { EngineHost } from '../src/api/engine-host.ts'
import { Metrics } from '../src/api/metrics.ts'
import { BodyMemory } from '../src/api/read-body.ts'
import { checkModelNames } from '../src/cli/open-cluster.ts'
import { loadClusterFile, loadSettings } from '../src/config/index.ts'

const folder = path.join(import.meta.dirname, '..', 'deploy', 'cluster')
const read = (name: string): string => readFileSync(path.join(folder, name), 'utf8')

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly data?: Readonly<Record<string, string>>
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: object }
    readonly template?: {
      readonly metadata: { readonly labels: object }
      readonly spec: {
        readonly terminationGracePeriodSeconds: number
        readonly containers: readonly {
          readonly env: readonly { readonly name: string; readonly value?: string }[]
          readonly lifecycle: { readonly preStop: { readonly sleep?: { readonly seconds: number } } }
        }[]
      }
    }
  }
}

const manifests = (name: string): Manifest[] =>
  parseAllDocuments(read(name)).map((document): Manifest => {
    expect(document.errors).toEqual([])
    return document.toJS()
  })

async function checkConfig(text: string): Promise<void> {
  const own = await mkdtemp(path.join(tmpdir(), 'omniserve-deploy-'))
  try {
    const file = path.join(own, 'cluster.yaml')
    await writeFile(file, text)
    const settings = await loadSettings({ file })
    const cluster = await loadClusterFile(file)
    expect(Object.keys(cluster!.pools).length).toBeGreaterThan(0)
    checkModelNames(cluster!, settings, file)
  } finally {
    await rm(own, { recursive: true })
  }
}

describe('deploy/cluster', () => {
  it('has valid configuration files, including examples in comments', async () => {
    const text = read('cluster.yaml')
    await checkConfig(text)
    const examples = text.replaceAll(/^ {2}# (?=( {2})|gpu:|cloud:)/gm, '  ')
    expect(examples).toContain('\n  cloud:\n    engine: dashscope')
    await checkConfig(examples)
    const map = manifests('kubernetes/omniserve.yaml').find(({ kind }) => kind === 'ConfigMap')
    await checkConfig(map!.data!['cluster.yaml']!)
  })

  it('has manifests with matching selectors and time to finish replies', () => {
    const all = [...manifests('kubernetes/omniserve.yaml'), ...manifests('kubernetes/vllm-omni.yaml')]
    expect(all.map(({ kind }) => kind)).toEqual([
      'ConfigMap',
      'Deployment',
      'Service',
      'PodDisruptionBudget',
      'HorizontalPodAutoscaler',
      'Service',
      'StatefulSet',
    ])
    for (const { spec } of all)
      if (spec?.template) expect(spec.template.metadata.labels).toMatchObject(spec.selector!.matchLabels!)
    const { spec } = all[1]!.spec!.template!
    const [container] = spec.containers
    const grace = Number(container!.env.find(({ name }) => name === 'OMNISERVE_SHUTDOWN_GRACE')?.value)
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(grace + container!.lifecycle.preStop.sleep!.seconds)
  })

  it('names only existing metrics', async () => {
    const metrics = new Metrics()
    const host = new EngineHost({ names: [], load: async () => ({ engines: new Map(), model: undefined, bind: {} }) })
    metrics.watch(new RequestQueue({ maxActive: 1, maxWaiting: 1 }), host, new BodyMemory(1))
    metrics.watchCluster({
      names: [],
      load: () => Promise.reject(new Error('not loaded')),
      status: () => [],
      setDraining: () => false,
      pricesOf: () => undefined,
      close: async () => undefined,
    })
    const known = new Set((await metrics.registry.getMetricsAsJSON()).map(({ name }) => name))
    const files = globSync('**/*.{json,yaml}', { cwd: folder }).filter((name) => !name.endsWith('compose.yaml'))
    const named = files.flatMap((name) => [...read(name).matchAll(/\bomniserve_[a-z_]+/g)].map(([metric]) => metric))
    expect(named.length).toBeGreaterThan(15)
    for (const metric of named) expect(known, metric).toContain(metric.replace(/_bucket$/, ''))
  })

  it('has valid YAML and JSON, and a dashboard with unique ids', () => {
    for (const name of globSync('**/*.yaml', { cwd: folder }))
      for (const document of parseAllDocuments(read(name), { merge: true })) expect(document.errors, name).toEqual([])
    const dashboard: { panels: { id: number; targets: { expr: string }[] }[] } = JSON.parse(
      read('grafana/dashboard.json'),
    )
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
    for (const { targets } of dashboard.panels) expect(targets.length).toBeGreaterThan(0)
  })
})
