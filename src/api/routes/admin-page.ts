/**
 * `/admin`: a page for operators over `/admin/cluster`: replicas, health, load, and a button to drain each. Off without
 * an admin key.
 */
import { createHash } from 'node:crypto'
import type { Context } from 'hono'
import { errors } from '../../protocol/index.ts'
import { ADMIN_OFF } from '../middleware/require-admin.ts'
import type { AppEnv, Services } from '../services.ts'

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
h1 { font-size: 1.3rem }
main > .wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #8884 }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.state { font-weight: 600 }
.up { color: light-dark(#176b2c, #7ee294) }
.ejected, .suspended, .trial { color: light-dark(#a4161a, #ff9a9a) }
.draining, .drained, .resting { color: light-dark(#7a5200, #ffd166) }
input, button { font: inherit; padding: .3rem .6rem }
#problem { color: light-dark(#a4161a, #ff9a9a); min-height: 1.5em }
`

const SCRIPT = `
'use strict'
const byId = (id) => document.getElementById(id)
const key = byId('key')
key.value = sessionStorage.getItem('omniserve-admin-key') ?? ''
const ask = async (path, body) => {
  const response = await fetch('/admin/cluster' + path, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: 'Bearer ' + key.value, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  const json = await response.json()
  if (!response.ok) throw new Error(json.error?.message ?? 'HTTP ' + response.status)
  sessionStorage.setItem('omniserve-admin-key', key.value)
  show(json.replicas)
}
const cell = (row, text, name) => {
  const made = row.insertCell()
  made.textContent = text
  if (name) made.className = name
  return made
}
const show = (replicas) => {
  const focused = document.activeElement?.dataset?.replica
  const rows = byId('replicas')
  rows.replaceChildren()
  for (const replica of replicas) {
    const row = rows.insertRow()
    const name = document.createElement('th')
    name.scope = 'row'
    name.textContent = replica.name
    row.append(name)
    cell(row, replica.pool)
    cell(row, replica.engine)
    cell(row, replica.state, 'state ' + replica.state)
    cell(row, replica.live, 'number')
    cell(row, replica.pending + ' / ' + replica.max_pending, 'number')
    cell(row, replica.requests, 'number')
    cell(row, replica.errors, 'number')
    cell(row, replica.ejections, 'number')
    cell(row, replica.reason ?? '')
    const out = /drain|suspended/.test(replica.state)
    const button = document.createElement('button')
    button.textContent = out ? 'Resume' : 'Drain'
    button.dataset.replica = replica.name
    button.setAttribute('aria-label', button.textContent + ' ' + replica.name)
    button.onclick = () => run('/replicas/' + encodeURIComponent(replica.name), { draining: !out })
    cell(row, '').append(button)
    if (focused === replica.name) button.focus()
  }
  byId('empty').hidden = replicas.length > 0
}
const run = async (path, body) => {
  try {
    await ask(path, body)
    byId('problem').textContent = ''
  } catch (error) {
    byId('problem').textContent = error.message
  }
}
byId('form').onsubmit = (event) => {
  event.preventDefault()
  void run('')
}
setInterval(() => {
  if (key.value !== '' && !document.hidden) void run('')
}, 2000)
if (key.value !== '') void run('')
`

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Replicas - omniserve</title>
<style>${STYLE}</style>
<main>
<h1>Replicas</h1>
<form id="form"><label>Admin key <input id="key" type="password" autocomplete="current-password" required></label> <button>Show</button></form>
<p id="problem" role="status"></p>
<div class="wide" tabindex="0" role="region" aria-label="Replicas"><table>
<thead><tr><th scope="col">Replica</th><th scope="col">Pool</th><th scope="col">Engine</th><th scope="col">State</th><th scope="col" class="number">Live</th><th scope="col" class="number">Pending</th><th scope="col" class="number">Requests</th><th scope="col" class="number">Errors</th><th scope="col" class="number">Ejected</th><th scope="col">Reason</th><th scope="col">Action</th></tr></thead>
<tbody id="replicas"></tbody>
</table></div>
<p id="empty" hidden>This server has no pools: start it with --config FILE.</p>
</main>
<script>${SCRIPT}</script>
</html>
`

const digest = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

const POLICY = [
  "default-src 'none'",
  "connect-src 'self'",
  `style-src ${digest(STYLE)}`,
  `script-src ${digest(SCRIPT)}`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export function adminPage({ settings }: Services) {
  return (c: Context<AppEnv>): Response => {
    if (settings.adminKey === '') throw errors.notFound('/admin', ADMIN_OFF)
    c.header('content-security-policy', POLICY)
    c.header('cache-control', 'no-store')
    return c.html(PAGE)
  }
}
