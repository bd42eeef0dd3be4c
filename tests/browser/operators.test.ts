/**
 * The operators' page: replicas, a drain and its end, a wrong key; accessible, within its content security policy.
 */
import axe from 'axe-core'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { replayPeer } from '../../testing/replayed-peers.ts'
import type { ReplayServer } from '../../testing/replay-server.ts'
import { type ClusterServer, startClusterServer } from '../support/cluster-server.ts'
import { chromiumPath, launchBrowser } from './chromium.ts'

describe.skipIf(chromiumPath === undefined)('the operators’ page', () => {
  let browser: Browser
  let peer: ReplayServer
  let cluster: ClusterServer
  beforeAll(async () => {
    peer = await replayPeer('vllm')
    cluster = await startClusterServer({
      adminKey: 'sk-admin',
      pools: { gpu: { engine: 'vllm', model: 'nano', replicas: [{ name: 'gpu-a', url: peer.url }] } },
      models: { '*': 'gpu' },
    })
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await cluster?.[Symbol.asyncDispose]()
    await peer?.kill()
  })

  it('shows replicas, drains one and resumes it', async () => {
    const page = await browser.newPage()
    page.setDefaultTimeout(90_000)
    const problems: string[] = []
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('401')) problems.push(message.text())
    })
    page.on('pageerror', (error) => problems.push(error.message))
    await page.goto(`${cluster.server.url}/admin`)
    await page.getByLabel('Admin key').fill('sk-wrong')
    await page.getByRole('button', { name: 'Show' }).click()
    await page.getByText('Incorrect API key provided').waitFor()
    await page.getByLabel('Admin key').fill('sk-admin')
    await page.getByRole('button', { name: 'Show' }).click()
    await page.getByRole('cell', { name: 'up' }).waitFor()
    await page.evaluate(axe.source)
    const found = await page.evaluate<{ id: string }[]>(`axe.run(document).then((result) => result.violations)`)
    expect(found.map(({ id }) => id)).toEqual([])
    await page.getByRole('button', { name: 'Drain gpu-a' }).click()
    await page.getByRole('cell', { name: 'drained' }).waitFor()
    expect((await cluster.chat()).status).toBe(503)
    await page.getByRole('button', { name: 'Resume gpu-a' }).click()
    await page.getByRole('cell', { name: 'up' }).waitFor()
    expect((await cluster.chat()).status).toBe(200)
    expect(problems).toEqual([])
    await page.close()
  })
})
