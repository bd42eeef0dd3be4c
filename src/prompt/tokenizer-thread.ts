/**
 * A thread that tokenizes long texts, so that a megabyte without spaces delays only its own request.
 *
 * In: the main thread's tokenizer definition, then texts. Out: their ids. The thread starts with the first text, and
 * processes one text at a time. It ends when its text is no longer needed, or after an idle time.
 */

import { Worker } from 'node:worker_threads'

interface Job {
  readonly text: string
  readonly marker: string | undefined
  readonly signal: AbortSignal | undefined
  readonly resolve: (ids: Int32Array) => void
  readonly reject: (error: unknown) => void
}

/** Start data and messages of the thread. JSON is passed as text, so that the thread parses it. */
export interface ThreadDefinition {
  readonly definition: string
  readonly config: string
}
export interface ThreadRequest {
  readonly text: string
  readonly marker: string | undefined
}
export type ThreadReply = { readonly ids: Int32Array<ArrayBuffer> } | { readonly error: string }

const idleMilliseconds = 60_000

export class TokenizerThread {
  readonly #definition: () => ThreadDefinition
  readonly #jobs: Job[] = []
  #worker: Worker | undefined
  #current: Job | undefined
  #idle: NodeJS.Timeout | undefined

  constructor(definition: () => ThreadDefinition) {
    this.#definition = definition
  }

  /** Ids of trusted text; see `PromptTokenizer.encodeMarkup`. Rejects with the signal's reason once aborted. */
  encodeMarkup(text: string, marker: string | undefined, signal: AbortSignal | undefined): Promise<Int32Array> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const leave = (): void => this.#drop(job, signal?.reason)
      const job: Job = {
        text,
        marker,
        signal,
        resolve: (ids) => {
          signal?.removeEventListener('abort', leave)
          resolve(ids)
        },
        reject: (error) => {
          signal?.removeEventListener('abort', leave)
          reject(error as Error)
        },
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#jobs.push(job)
      this.#next()
    })
  }

  #next(): void {
    if (this.#current) return
    const job = this.#jobs.shift()
    if (!job) {
      this.#worker?.unref()
      this.#idle = setTimeout(() => this.#stop(), idleMilliseconds)
      this.#idle.unref()
      return
    }
    clearTimeout(this.#idle)
    this.#current = job
    const { text, marker } = job
    this.#worker ??= this.#start()
    // Only while it works does it keep the process alive; a listener does so too.
    this.#worker.ref()
    this.#worker.postMessage({ text, marker } satisfies ThreadRequest)
  }

  #start(): Worker {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
    const worker = new Worker(new URL(`./tokenizer-thread-main.${extension}`, import.meta.url), {
      workerData: this.#definition(),
    })
    worker.on('message', (reply: ThreadReply) => {
      const job = this.#current
      this.#current = undefined
      if ('ids' in reply) job?.resolve(reply.ids)
      else job?.reject(new Error(reply.error))
      this.#next()
    })
    worker.on('error', (error) => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      const job = this.#current
      this.#current = undefined
      job?.reject(error)
      this.#next()
    })
    return worker
  }

  #drop(job: Job, reason: unknown): void {
    job.reject(reason)
    if (this.#current === job) {
      this.#stop()
      this.#current = undefined
      this.#next()
      return
    }
    const at = this.#jobs.indexOf(job)
    if (at >= 0) this.#jobs.splice(at, 1)
  }

  #stop(): void {
    const worker = this.#worker
    this.#worker = undefined
    void worker?.terminate()
  }
}
