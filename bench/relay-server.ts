/**
 * A minimal relay to one peer, in its own process, for `cluster-overhead.ts`: it forwards bytes unread. Node's sockets
 * joined by `pipe`; or nginx with one worker as an HTTP proxy without buffers.
 *
 * Usage: node bench/relay-server.ts PEER_PORT [NGINX_BINARY]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../testing/free-port.ts'
import { answerMeasurements } from './child-answers.ts'

const [peerPort = '', nginx] = process.argv.slice(2)

async function pipes(): Promise<number> {
  const server = createServer({ noDelay: true }, (caller) => {
    const peer = connect({ host: '127.0.0.1', port: Number(peerPort), noDelay: true })
    caller.pipe(peer).on('error', () => caller.destroy())
    peer.pipe(caller).on('error', () => peer.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Microseconds of CPU time of nginx's worker. Linux counts hundredths of a second. */
function processorOf(pid: number): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ').slice(11, 13)
  return (Number(user) + Number(system)) * 10_000
}

async function proxy(binary: string): Promise<{ readonly port: number; readonly worked: () => number }> {
  const folder = mkdtempSync(join(tmpdir(), 'omniserve-nginx-'))
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    `daemon off; worker_processes 1; master_process off; pid ${folder}/pid; error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  upstream peer { server 127.0.0.1:${peerPort}; keepalive 1000; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://peer; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}
`,
  )
  const child = spawn(binary, ['-p', folder, '-c', file], { stdio: ['ignore', 'ignore', 'inherit'] })
  process.on('exit', () => {
    child.kill()
    rmSync(folder, { recursive: true, force: true })
  })
  for (let connected = false; !connected;) {
    await sleep(20)
    const socket = connect(port, '127.0.0.1')
    connected = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
  }
  return { port, worked: () => processorOf(child.pid!) }
}

if (nginx === undefined) answerMeasurements(await pipes())
else {
  const { port, worked } = await proxy(nginx)
  answerMeasurements(port, worked)
}
