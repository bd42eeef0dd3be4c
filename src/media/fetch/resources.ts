/**
 * Recognises a shortage of this machine, such as a full disk, no file descriptors or no memory.
 *
 * In: any error. Out: an `overloaded` error that names the shortage and the fix, or undefined for an error of another
 * kind.
 */
import { MediaError } from '../errors.ts'

const shortages: Readonly<Record<string, string>> = {
  EMFILE: 'it has no file descriptors left; raise its limit (`ulimit -n`)',
  ENFILE: 'the system has no file descriptors left',
  ENOSPC: 'the disk of its temporary folder is full',
  EDQUOT: 'the disk quota of its temporary folder is used up',
  EROFS: 'its temporary folder cannot be written to',
  EACCES: 'its temporary folder cannot be written to',
  EPERM: 'its temporary folder cannot be written to',
  ENOENT: 'its temporary folder is missing',
  ENOTDIR: 'its temporary folder is not a folder',
  EIO: 'the disk of its temporary folder has errors',
  ENOMEM: 'it has no memory left',
  ENOBUFS: 'it has no memory left for connections',
  EAGAIN: 'it reached its limit of processes',
}

/** @param error from the server's own files, sockets or processes */
export function resourceError(error: unknown): MediaError | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? ''
  const shortage = Object.hasOwn(shortages, code) ? shortages[code] : undefined
  if (shortage === undefined) return undefined
  return new MediaError(
    'overloaded',
    `The server cannot process the media now: ${shortage} (${code}). Try again later.`,
    {
      cause: error,
    },
  )
}
