/**
 * The errors of the numeric library.
 *
 * The native library ends the process on an internal assertion, so all that it would assert is checked here first
 * and thrown as a {@link TensorError} that names the operation and the shapes.
 */

/** A wrong shape, type, device or file, found before native code saw it. */
export class TensorError extends Error {
  override readonly name = 'TensorError'
}

/** The native library is missing, of an untested version, or computes wrong numbers. */
export class TensorLibraryError extends Error {
  override readonly name = 'TensorLibraryError'
}
