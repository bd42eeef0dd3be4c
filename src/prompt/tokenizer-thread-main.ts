/** The code that runs in the tokenizer thread; see `tokenizer-thread.ts`. */

import { parentPort, workerData } from 'node:worker_threads'
import type { ThreadDefinition, ThreadReply, ThreadRequest } from './tokenizer-thread.ts'
import { createTokenizer } from './tokenizer.ts'

const { definition, config } = workerData as ThreadDefinition
const tokenizer = createTokenizer(JSON.parse(definition) as object, JSON.parse(config) as object)

parentPort?.on('message', ({ text, marker }: ThreadRequest) => {
  try {
    const ids = Int32Array.from(tokenizer.encodeMarkup(text, marker))
    parentPort?.postMessage({ ids } satisfies ThreadReply, [ids.buffer])
  } catch (error) {
    parentPort?.postMessage({ error: String(error) } satisfies ThreadReply)
  }
})
