/** The search path of a user's shell. */
import path from 'node:path'

/** Without the folders that npm adds for scripts of this repository, so that the user's Node runs the package. */
export const userPath = (process.env['PATH'] ?? '')
  .split(path.delimiter)
  .filter((folder) => !folder.includes('node_modules') && !folder.includes('node-gyp-bin'))
  .join(path.delimiter)
