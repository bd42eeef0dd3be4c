/**
 * A shortage of this machine, as opposed to a fault of a request: a full disk, no file descriptors, no memory.
 *
 * In: any error. Out: an `overloaded` error that names the shortage and the fix, or undefined for an error of another
 * kind.
 */
import { MediaError } from '../errors.ts'

const lacks: Readonly<Record<string, string>> = {
  EMFILE: 'it has no file descriptors left; raise its limit (`ulimit -n`)',
  ENFILE: 'the system has no file descriptors left',
  ENOSPC: 'the disk of its temporary folder is full',
  EDQUOT: 'the disk quota of its temporary folder is used up',
  EROFS: 'its temporary folder cannot be written to',
  EACCES: 'its temporary folder cannot be written to',
  EPERM: 'its temporary folder cannot be written to',
  ENOENT: 'its temporary folder is missing',
  ENOTDIR: 'its temporary folder is no folder',
  EIO: 'the disk of its temporary folder fails',
  ENOMEM: 'it has no memory left',
  ENOBUFS: 'it has no memory left for connections',
  EAGAIN: 'it may start no more processes',
}

/** @param error of this machine's own files, sockets or processes */
export function resourceError(error: unknown): MediaError | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? ''
  const lack = Object.hasOwn(lacks, code) ? lacks[code] : undefined
  if (lack === undefined) return undefined
  return new MediaError('overloaded', `The server cannot process the media now: ${lack} (${code}). Try again later.`, {
    cause: error,
  })
}
