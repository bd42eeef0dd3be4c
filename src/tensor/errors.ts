/**
 * The errors of the numeric library.
 *
 * The native library ends the process when an assertion fails. So its conditions are checked in TypeScript first, and a
 * violation is a {@link TensorError} that names the operation and the shapes.
 */

/** A wrong shape, type, device or file, found before native code is called. */
export class TensorError extends Error {
  override readonly name = 'TensorError'
}

/** The native library is missing, of an untested version, or computes wrong numbers. */
export class TensorLibraryError extends Error {
  override readonly name = 'TensorLibraryError'
}
