/**
 * README's commands and tour, read from README.md, for the scripts that take them as a newcomer does.
 *
 * Out: the two commands, the questions of the tour with the output they show, and the program that uses the official
 * SDK.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'

export interface TourStep {
  readonly command: string
  /** Lines that README shows for it. */
  readonly output: readonly string[]
}

export interface Readme {
  /** `npm ci && npm start` and `npm ci && npm test`. */
  readonly commands: readonly [start: string, test: string]
  readonly tour: readonly TourStep[]
  readonly program: string
}

const root = path.join(import.meta.dirname, '..')

export function readReadme(file: string = path.join(root, 'README.md')): Readme {
  const text = readFileSync(file, 'utf8')
  const block = (language: string): string => {
    const found = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'm').exec(text)?.[1]
    if (found === undefined) throw new Error(`${file} has no block of ${language}`)
    return found
  }
  const [start = '', test = ''] = block('sh')
    .split('\n')
    .map((line) => line.replace(/\s+#.*/, ''))
  const tour = block('console')
    .split(/^\$ /m)
    .slice(1)
    .map((step): TourStep => {
      const [command = '', ...output] = step.trim().split('\n')
      return { command, output }
    })
  return { commands: [start, test], tour, program: block('js') }
}

/**
 * Takes the tour with `run`, which gives what a command prints. @throws where the output is not README's, times aside
 */
export async function takeTour(
  { tour }: Readme,
  run: (command: string) => Promise<string>,
  check: (name: string, right: boolean, seen: unknown) => void,
): Promise<void> {
  for (const { command, output } of tour) {
    const printed = (await run(command)).trim().split('\n')
    check(`$ ${command}`, printed.map(comparable).join('\n') === output.map(comparable).join('\n'), printed)
  }
}

/**
 * Speech is sampled and times differ: numbers in lines that tell of either are left out, as is the width of columns.
 */
function comparable(line: string): string {
  const bare = line.trim().replaceAll(/\s+/g, ' ')
  return /\d m?s\b/.test(bare) ? bare.replaceAll(/\d[\d.,]*/g, '#') : bare
}
