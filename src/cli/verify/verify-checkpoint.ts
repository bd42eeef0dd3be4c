/**
 * Runs the checks of `omniserve verify`, shows each finding when it is there, and writes the report.
 *
 * In: a checkpoint's name and the command's options. Out: lines on standard output, the report, the exit code.
 */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Settings } from '../../config/index.ts'
import { inspectModel, type InspectedModel, type InspectedReply } from '../../engines/local/inspected-model.ts'
import { createMediaLoader, type MediaLoader } from '../../media/index.ts'
import { CommandError, EXIT } from '../exit.ts'
import { findCheckpoint, weightsFolder } from '../find-checkpoint.ts'
import { interruptSignal } from '../interrupt.ts'
import { clearStatus, exitOnClosedPipe, note, print, status, styled } from '../output.ts'
import { packageInfo } from '../package-info.ts'
import { settingsFromOptions } from '../settings-options.ts'
import { checkAgreement, runChecks } from './checks.ts'
import { Examiner } from './examiner.ts'
import { amountText, type CheckedModel, type Finding, machineFacts, markText, type Report } from './report.ts'
import { type Level, makeTasks, type Tasks } from './tasks.ts'

export interface VerifyFlags extends Record<string, unknown> {
  readonly against?: string
  readonly level: Level
  readonly seed: number
  readonly json?: string
}

/** @throws CommandError, ConfigError; EngineError `bad_checkpoint` */
export async function verify(checkpoint: string | undefined, flags: VerifyFlags): Promise<void> {
  exitOnClosedPipe()
  const settings = await settingsFromOptions(flags)
  const signal = interruptSignal()
  const name = checkpoint ?? settings.model
  const { against } = flags
  // Both are located now, although the second one is loaded only after the checks.
  findCheckpoint(name)
  if (against !== undefined) findCheckpoint(against)
  const tasks = makeTasks(flags.level, flags.seed)
  await using media = createMediaLoader({ workers: 1 })
  const findings: Finding[] = []
  let report: Report
  const add = async (found: Finding): Promise<void> => {
    findings.push(found)
    show(found)
    await save(report, flags.json)
  }
  const replies: (readonly [string, InspectedReply])[] = []
  {
    const startedAt = performance.now()
    await using model = await load(name, settings)
    signal.throwIfAborted()
    report = {
      report: 'omniserve verify 1',
      date: new Date().toISOString(),
      complete: false,
      passed: false,
      checkpoint: describe(model),
      against: null,
      level: flags.level,
      seed: flags.seed,
      device: model.model.device,
      speech: {
        solver: settings.speechSolver,
        steps: settings.speechSteps,
        guidance: settings.speechGuidance,
      },
      load_seconds: (performance.now() - startedAt) / 1000,
      versions: {
        omniserve: packageInfo.version,
        node: process.versions.node,
        library: `${model.library.packageName}, ggml ${model.library.version}`,
      },
      machine: machineFacts(),
      findings,
    }
    const { architecture, weights, device } = model.model
    print(
      `${report.checkpoint.name}: ${architecture}, ${weights}, on ${device}; level ${flags.level}, seed ${flags.seed}`,
    )
    const examiner = new Examiner(model, media, signal)
    await save(report, flags.json)
    status('sums ...')
    for await (const found of runChecks(examiner, tasks)) {
      await add(found)
      status('next check ...')
    }
    if (against !== undefined) replies.push(...(await answersTo(examiner, tasks)))
  }
  if (against !== undefined) {
    const agreement = await agreementOf(against, settings, media, report.checkpoint, replies, signal)
    report = { ...report, against: agreement.against }
    await add(agreement.found)
  }
  clearStatus()
  report = { ...report, complete: true, passed: findings.every(({ state }) => state !== 'failed') }
  await save(report, flags.json)
  const failed = findings.filter(({ state }) => state === 'failed')
  print(failed.length === 0 ? '\nAll checks passed.' : `\n${failed.length} of ${findings.length} checks failed.`)
  if (flags.json !== undefined) note(`report: ${flags.json}`)
  else if (failed.length > 0) note('--json FILE writes a report with every question and answer')
  if (failed.length > 0 && flags.level === 'full') note('--level demo has the checks for a small model such as nano')
  if (failed.length > 0) process.exitCode = EXIT.failed
}

async function load(name: string, settings: Settings): Promise<InspectedModel> {
  const { location, id } = findCheckpoint(name)
  status(`loading ${name} ...`)
  try {
    return await inspectModel({
      checkpoint: location,
      id: path.basename(id),
      device: settings.device,
      precision: settings.gpuPrecision,
      cacheDirectory: weightsFolder(),
      diffusion: { solver: settings.speechSolver, steps: settings.speechSteps, guidance: settings.speechGuidance },
      ...(settings.threads > 0 && { threads: settings.threads }),
      ...(settings.contextLength > 0 && { contextLength: settings.contextLength }),
    })
  } finally {
    clearStatus()
  }
}

function describe({ model, speakers }: InspectedModel): CheckedModel {
  const { id, architecture, weights, contextLength } = model
  return { name: id, architecture, weights, context_length: contextLength, speakers: speakers.length }
}

async function answersTo(examiner: Examiner, { prompts }: Tasks): Promise<(readonly [string, InspectedReply])[]> {
  const replies: (readonly [string, InspectedReply])[] = []
  for (const prompt of prompts) replies.push([prompt, await examiner.ask(prompt)])
  return replies
}

async function agreementOf(
  name: string,
  settings: Settings,
  media: MediaLoader,
  checked: CheckedModel,
  replies: readonly (readonly [string, InspectedReply])[],
  signal: AbortSignal,
): Promise<{ readonly found: Finding; readonly against: CheckedModel }> {
  await using model = await load(name, settings)
  signal.throwIfAborted()
  const against = describe(model)
  if (against.architecture !== checked.architecture) {
    throw new CommandError(
      `--against ${name}: it is ${against.architecture}, but ${checked.name} is ${checked.architecture}; give the same model with other weight types`,
      EXIT.usage,
    )
  }
  return { against, found: await checkAgreement(new Examiner(model, media, signal), replies) }
}

async function save(report: Report, file: string | undefined): Promise<void> {
  if (file !== undefined) await writeFile(file, `${JSON.stringify(report, undefined, 2)}\n`)
}

const marks = { passed: ['green', 'ok  '], failed: ['red', 'FAIL'], 'not checked': ['dim', 'none'] } as const

function show(found: Finding): void {
  clearStatus()
  const { name, what, state, reason, measured, unit, seconds } = found
  const [colour, mark] = marks[state]
  const result =
    measured === null
      ? `not checked: ${reason ?? ''}`
      : `${amountText(measured, unit)} (${markText(found)}), ${seconds.toFixed(1)} s`
  print(`${styled(colour, mark)}  ${name.padEnd(16)}  ${what}: ${result}`)
}
