/**
 * Output of commands: results on standard output, everything else on standard error. Status lines and
 * colours appear only on a terminal, colours only without `NO_COLOR`.
 */
import { stripVTControlCharacters, styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Makes the process exit without an error when the reader of its output ends, as with `| head`. */
export function exitOnClosedPipe(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
}

export function print(text = ''): void {
  process.stdout.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`)
}

/** A message on standard error. */
export function note(text: string): void {
  clearStatus()
  process.stderr.write(`${text}\n`)
}

export function warn(text: string): void {
  note(styled('yellow', `warning: ${text}`, process.stderr))
}

export function styled(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  const colour = stream.isTTY && process.env['NO_COLOR'] === undefined && process.env['TERM'] !== 'dumb'
  return colour ? styleText(style, text, { validateStream: false }) : text
}

let statusShown = false

/** Prints a line that the next output replaces; only on a terminal. */
export function status(text: string): void {
  if (!process.stderr.isTTY) return
  process.stderr.write(`\r\u001B[2K${styled('dim', text, process.stderr)}`)
  statusShown = true
}

export function clearStatus(): void {
  if (!statusShown) return
  process.stderr.write('\r\u001B[2K')
  statusShown = false
}

/** Formats columns under headings, two spaces apart. Only the last column may contain wide characters. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => stripVTControlCharacters(row[column] ?? '').length)),
  )
  const line = (cells: readonly string[]): string =>
    cells
      .map(
        (cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - stripVTControlCharacters(cell).length)),
      )
      .join('  ')
      .trimEnd()
  return [styled('bold', line(headings)), ...rows.map(line)].join('\n')
}

/** `1.25 GB`, `3.4 MB`, `812 bytes`: powers of ten. */
export function bytesText(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`
  if (bytes >= 1e3) return `${(bytes / 1e3).toFixed(1)} kB`
  return `${bytes} bytes`
}

/** `65,536` */
export function countText(count: number): string {
  return count.toLocaleString('en-US')
}

/** `aiden, alek, andre, arthur and 45 more` */
export function listText(names: readonly string[], max = 4): string {
  const shown = names.slice(0, max).join(', ')
  return names.length > max ? `${shown} and ${names.length - max} more` : shown
}
