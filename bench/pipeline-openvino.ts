/**
 * A whole reply, text and speech, here and in OpenVINO GenAI's OmniPipeline on the CPU (see whole-reply.ts).
 *
 * `OMNISERVE_BENCH_OPENVINO` names the Python of an environment with `optimum-intel openvino openvino-genai
 * openvino-tokenizers nncf`; its folder has `optimum-cli` too, which converts the checkpoint once for each row. The
 * peer's rows are its default precision on fp32 files with and without streaming, fp16 files, and 8-bit weights.
 */

import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'

import type { WeightType } from '../src/weights/index.ts'
import type { Benchmark } from './harness.ts'
import * as reply from './whole-reply.ts'

const needs =
  'Python with optimum-intel, openvino, openvino-genai, openvino-tokenizers and nncf (OMNISERVE_BENCH_OPENVINO names it)'

interface PeerRow {
  readonly name: string
  readonly format: 'fp32' | 'fp16' | 'int8'
  readonly options: readonly string[]
}

const peerRows: readonly PeerRow[] = [
  { name: 'fp32 files, streamed', format: 'fp32', options: [] },
  { name: 'fp32 files, whole', format: 'fp32', options: ['--no-stream'] },
  { name: 'fp16 files, streamed', format: 'fp16', options: [] },
  { name: 'int8, streamed', format: 'int8', options: [] },
  { name: 'int8, whole', format: 'int8', options: ['--no-stream'] },
]

export const benchmark: Benchmark = {
  name: 'pipeline-openvino',
  title: "a whole reply, text and speech, against OpenVINO GenAI's OmniPipeline on the CPU",
  long: true,
  run: async (context) => {
    const { directory, quick, signal } = context
    const interpreter = process.env['OMNISERVE_BENCH_OPENVINO']
    if (interpreter === undefined) throw new Error(`this benchmark needs ${needs}`)
    const folder = await reply.middleCheckpoint(context)
    const threads = availableParallelism()
    const rows = quick ? peerRows.filter(({ options }) => options.length === 0) : peerRows
    const converted = (format: string): string => join(directory, `mid-openvino-${format}`)
    for (const format of new Set(rows.map((row) => row.format))) {
      if (existsSync(join(converted(format), 'config.json'))) continue
      context.log(`  converting to ${format} for the peer`)
      const task = ['--task', 'image-text-to-text', '--weight-format', format, converted(format)]
      await reply.python(
        signal,
        [join(dirname(interpreter), 'optimum-cli'), 'export', 'openvino', '--model', folder, ...task],
        {
          interpreter,
          needs,
        },
      )
    }
    const here: reply.Runs = new Map()
    const there: reply.Runs = new Map()
    const kinds: readonly (WeightType | undefined)[] = [undefined, 'q8_0']
    const counts = ['--text-tokens', reply.textTokens, '--frames', reply.frames, '--threads', threads].map(String)
    for (let turn = 0; turn < (quick ? 1 : 3); turn++) {
      for (const kind of kinds)
        reply.record(
          here,
          `omniserve, ${kind ?? 'as stored (bf16)'}`,
          await reply.timeOurs(folder, kind, threads, signal),
        )
      for (const { name, format, options } of rows) {
        const script = ['-m', 'omniserve_reference.time_openvino', converted(format), '--prompt', reply.prompt]
        const output = await reply.python(signal, [...script, ...counts, ...options], { interpreter, needs })
        reply.record(there, `OmniPipeline, ${name}`, reply.timingIn(output))
      }
      context.log(`  turn ${turn + 1} done`)
    }
    return reply.compare(here, there)
  },
}
