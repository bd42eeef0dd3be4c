/**
 * `THIRD-PARTY-NOTICES` and `sbom.cdx.json` (CycloneDX), from the lock file and the licence files of installed
 * packages.
 *
 *   node release/licences.ts            writes both
 *   node release/licences.ts --check    ends with 1 when either is not current
 *
 * Only the content of the lock file and the packages goes in, so that the same lock file gives the same files on every
 * machine.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ffmpegLicence } from '../src/media/ffmpeg-build.ts'

const root = path.join(import.meta.dirname, '..')

interface LockedPackage {
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly link?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}
type Lock = Readonly<Record<string, LockedPackage>>

interface Component {
  readonly name: string
  readonly version: string
  readonly licence: string
}

/** Packages without a licence in their manifest, with the place where it is stated. */
const stated: Readonly<Record<string, string>> = {
  // The text of its LICENSE file.
  '@shinyoshiaki/jspack': 'BSD-3-Clause',
}

/** The content of a package's binary, which its own licence field does not state. */
const NODE_AV_BINARY = `MIT AND ${ffmpegLicence('--enable-gpl --enable-version3').licence} AND LicenseRef-FDK-AAC`

const lock = (JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as { packages: Lock }).packages

/** Development packages whose code the build copies into the playground. */
const copied = ['swagger-ui-dist']

function nameOf(place: string): string {
  return place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length)
}

function component(place: string): Component {
  const { version = '', license } = lock[place]!
  const name = nameOf(place)
  const licence = name.startsWith('@seydx/node-av-') ? NODE_AV_BINARY : (license ?? stated[name])
  if (licence === undefined)
    throw new Error(`${name} ${version} states no licence: add where it is stated to ${import.meta.filename}`)
  return { name, version, licence }
}

/** The location of `name` as Node resolves it from `place`. */
function resolve(place: string, name: string): string | undefined {
  for (let from = place; ; from = from.slice(0, Math.max(0, from.lastIndexOf('/node_modules/')))) {
    const candidate = from === '' ? `node_modules/${name}` : `${from}/node_modules/${name}`
    if (lock[candidate] !== undefined) return candidate
    if (from === '') return undefined
    if (!from.includes('/node_modules/')) from = ''
    if (from === '' && lock[`node_modules/${name}`] !== undefined) return `node_modules/${name}`
  }
}

/** Locations of `start` and all dependencies. */
function closure(start: readonly string[]): Set<string> {
  const found = new Set<string>()
  const open = [...start]
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    if (found.has(place)) continue
    found.add(place)
    for (const name of Object.keys({ ...lock[place]?.dependencies, ...lock[place]?.optionalDependencies })) {
      const next = resolve(place, name)
      if (next !== undefined) open.push(next)
    }
  }
  return found
}

function sorted(places: Iterable<string>): Component[] {
  const unique = new Map<string, Component>()
  for (const place of places) {
    const found = component(place)
    unique.set(`${found.name} ${found.version}`, found)
  }
  return [...unique.values()].toSorted((a, b) => (a.name + a.version < b.name + b.version ? -1 : 1))
}

function licenceText(name: string): string {
  const folder = path.join(root, 'node_modules', name)
  const file = existsSync(folder)
    ? readdirSync(folder).find((entry) => /^(licen[cs]e|copying)(\.(md|txt|mit))?$/i.test(entry))
    : undefined
  return file === undefined ? '' : readFileSync(path.join(folder, file), 'utf8').replaceAll('\r\n', '\n').trim()
}

const rule = '-'.repeat(80)

function notices(): string {
  const web = lock['web']
  const wanted = [...Object.keys(web?.dependencies ?? {}), ...copied]
  const places = closure(wanted.map((name) => resolve('web', name) ?? `node_modules/${name}`))
  const bundled = sorted([...places].filter((place) => !nameOf(place).startsWith('@types/')))
  const own = Object.keys({ ...lock['']?.dependencies, ...lock['']?.optionalDependencies })
  const needed = sorted(closure(own.map((name) => `node_modules/${name}`)))
  // Each text appears once, after the names of all packages that have it.
  const byText = new Map<string, Component[]>()
  for (const one of bundled) {
    const text = licenceText(one.name) || `(The package has no licence file. Its licence: ${one.licence}.)`
    byText.set(text, [...(byText.get(text) ?? []), one])
  }
  return [
    'THIRD-PARTY NOTICES',
    '',
    'Made by release/licences.ts from package-lock.json. See NOTICE for FFmpeg, libvips and the model weights.',
    '',
    rule,
    'Packages that npm installs with omniserve, each with its own licence file',
    rule,
    '',
    ...needed.map(({ name, version, licence }) => `${name} ${version}: ${licence}`),
    '',
    rule,
    'Packages whose code is inside the built playground (web/dist)',
    rule,
    '',
    ...bundled.map(({ name, version, licence }) => `${name} ${version}: ${licence}`),
    '',
    ...[...byText].flatMap(([text, components]) => [
      rule,
      ...components.map(({ name, version }) => `${name} ${version}`),
      rule,
      '',
      text,
      '',
    ]),
  ].join('\n')
}

interface CycloneDx {
  readonly components: readonly Record<string, unknown>[]
  readonly dependencies: readonly Record<string, unknown>[]
  readonly [key: string]: unknown
}

/** npm's own bill of materials, without what differs between machines and runs, plus what licence fields leave out. */
function billOfMaterials(): string {
  const text = execFileSync(
    'npm',
    ['sbom', '--package-lock-only', '--omit=dev', '--sbom-format=cyclonedx', '--sbom-type=application'],
    { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28, shell: process.platform === 'win32' },
  )
  const { $schema, bomFormat, specVersion, components, dependencies } = JSON.parse(text) as CycloneDx
  const { version, description } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Record<
    string,
    string
  >
  const known = new Map(
    sorted(
      Object.keys(lock).filter(
        (place) => place.includes('node_modules/') && lock[place]?.link !== true && lock[place]?.dev !== true,
      ),
    ).map((one) => [`${one.name} ${one.version}`, one]),
  )
  const kept = components
    .filter(({ purl }) => String(purl).startsWith('pkg:npm/') && !String(purl).startsWith('pkg:npm/omniserve'))
    .map(({ 'bom-ref': reference, name, version: released, purl, hashes }) => {
      const licence = known.get(`${String(name)} ${String(released)}`)?.licence ?? 'NOASSERTION'
      const licences =
        /\s/.test(licence) || licence.startsWith('LicenseRef')
          ? [{ expression: licence }]
          : [{ license: { id: licence } }]
      return { type: 'library', 'bom-ref': reference, name, version: released, licenses: licences, purl, hashes }
    })
    .toSorted((a, b) => (String(a['bom-ref']) < String(b['bom-ref']) ? -1 : 1))
  const references = new Set([...kept.map((one) => one['bom-ref']), `omniserve@${version}`])
  const edges = dependencies
    .filter(({ ref }) => references.has(ref as string))
    .map(({ ref, dependsOn }) => ({
      ref,
      dependsOn: (dependsOn as string[]).filter((one) => references.has(one)).toSorted(),
    }))
    .toSorted((a, b) => (String(a.ref) < String(b.ref) ? -1 : 1))
  const application = {
    type: 'application',
    'bom-ref': `omniserve@${version}`,
    name: 'omniserve',
    version,
    description,
    licenses: [{ license: { id: 'Apache-2.0' } }],
    purl: `pkg:npm/omniserve@${version}`,
  }
  const document = {
    $schema,
    bomFormat,
    specVersion,
    version: 1,
    metadata: { component: application },
    components: kept,
    dependencies: edges,
  }
  return `${JSON.stringify(document, null, 1)}\n`
}

const files: Readonly<Record<string, string>> = { 'THIRD-PARTY-NOTICES': notices(), 'sbom.cdx.json': billOfMaterials() }
const stale = Object.entries(files).filter(([name, text]) => {
  const file = path.join(root, name)
  return !existsSync(file) || readFileSync(file, 'utf8') !== text
})
if (!process.argv.includes('--check')) {
  for (const [name, text] of stale) writeFileSync(path.join(root, name), text)
} else if (stale.length > 0) {
  console.error(`Not current: ${stale.map(([name]) => name).join(' and ')}. Run: npm run licences`)
  process.exitCode = 1
}
