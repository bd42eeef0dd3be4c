/**
 * A whole reply, text and speech, here and in OpenVINO GenAI's OmniPipeline on the CPU (see whole-reply.ts).
 *
 * `OMNISERVE_BENCH_OPENVINO` names the Python of an environment with `optimum-intel openvino openvino-genai
 * openvino-tokenizers nncf`; its folder has `optimum-cli` too, which converts the checkpoint once for each row. The
 * peer's rows are its default precision on fp32 files with and without streaming, fp16 files, and 8-bit weights.
 */

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

import type { Benchmark } from './harness.ts'
import { compare, middleCheckpoint, python, timePeer, type Way } from './whole-reply.ts'

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
    const folder = await middleCheckpoint(context)
    const rows = quick ? peerRows.filter(({ options }) => options.length === 0) : peerRows
    const converted = (format: string): string => join(directory, `mid-openvino-${format}`)
    for (const format of new Set(rows.map((row) => row.format))) {
      if (existsSync(join(converted(format), 'config.json'))) continue
      context.log(`  converting to ${format} for the peer`)
      const task = ['--task', 'image-text-to-text', '--weight-format', format, converted(format)]
      const tool = join(dirname(interpreter), 'optimum-cli')
      await python(signal, [tool, 'export', 'openvino', '--model', folder, ...task], { interpreter, needs })
    }
    const peers = rows.map(({ name, format, options }): Way => ({
      name: `OmniPipeline, ${name}`,
      time: () => timePeer('time_openvino', converted(format), options, signal, { interpreter, needs }),
    }))
    return compare(context, folder, [undefined, 'q8_0'], peers)
  },
}
