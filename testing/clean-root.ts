/**
 * A clean Debian root without a container engine: Node, npm, a user `node`, and nothing else. Needs root,
 * `debootstrap`, `unshare` and `chroot` (Debian: apt-get install debootstrap) and Debian's archive.
 *
 * In: nothing. Out: a folder to copy, kept in ~/.cache/omniserve/image, and command lines that run inside such a
 * folder.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'

const store = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'omniserve', 'image')

/** Where in a root a program runs, and as whom. */
export interface Place {
  readonly folder: string
  readonly environment: Readonly<Record<string, string>>
  readonly workingFolder: string
  readonly user: string
}

/** Runs a program to its end, its errors shown; its standard output. */
export function sh(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 28 })
}

/** A folder to work in, on the disk of the root. */
export function workFolder(): string {
  if (process.getuid?.() !== 0) throw new Error('needs root (chroot, mount)')
  mkdirSync(store, { recursive: true })
  return mkdtempSync(path.join(store, 'work-'))
}

/**
 * Debian with Node, npm and the user `node`, as node:24-bookworm-slim has them: the Node that runs this, the npm on the
 * PATH.
 */
export function cleanRoot(): string {
  const folder = path.join(store, 'bookworm')
  if (!existsSync(folder)) {
    mkdirSync(store, { recursive: true })
    rmSync(`${folder}.new`, { recursive: true, force: true })
    console.log('# debootstrap bookworm')
    sh('debootstrap', ['--variant=minbase', '--include=ca-certificates', 'bookworm', `${folder}.new`])
    sh('chroot', [`${folder}.new`, 'useradd', '--create-home', '--uid', '1000', 'node'])
    renameSync(`${folder}.new`, folder)
  }
  const local = path.join(folder, 'usr', 'local')
  const npm = path.join(sh('npm', ['root', '--global']).trim(), 'npm')
  rmSync(path.join(local, 'lib', 'node_modules'), { recursive: true, force: true })
  mkdirSync(path.join(local, 'lib', 'node_modules'), { recursive: true })
  sh('cp', ['-L', process.execPath, path.join(local, 'bin', 'node')])
  sh('cp', ['-aL', npm, path.join(local, 'lib', 'node_modules', 'npm')])
  for (const name of ['npm', 'npx'])
    sh('ln', ['-sf', `../lib/node_modules/npm/bin/${name}-cli.js`, path.join(local, 'bin', name)])
  // Names and certificates as this machine has them; a container engine sees to the names.
  sh('cp', ['-L', '/etc/resolv.conf', '/etc/hosts', path.join(folder, 'etc')])
  const authorities = process.env['NODE_EXTRA_CA_CERTS']
  if (authorities !== undefined) sh('cp', ['-L', authorities, path.join(folder, 'etc', 'extra-ca.crt')])
  return folder
}

/** The arguments of `unshare` that run a program inside a root, with its own /proc and the machine's devices. */
export function inside(place: Place, argv: readonly string[], extra: Readonly<Record<string, string>> = {}): string[] {
  const environment: Record<string, string> = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: place.user === 'root' ? '/root' : `/home/${place.user}`,
    ...(process.env['NODE_EXTRA_CA_CERTS'] !== undefined && { NODE_EXTRA_CA_CERTS: '/etc/extra-ca.crt' }),
    ...place.environment,
    ...extra,
  }
  const script =
    'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot --userspec="$1" "$0" env -i -C "$2" "${@:3}"'
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const args = ['--mount', 'bash', '-c', script, place.folder, `${place.user}:${place.user}`, place.workingFolder]
  return [...args, ...variables, ...argv]
}
