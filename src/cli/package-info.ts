/** Facts from the package's package.json. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { packageFolder } from '../config/paths.ts'

interface PackageInfo {
  readonly version: string
}

/** Read once at start. */
export const packageInfo: PackageInfo = JSON.parse(readFileSync(path.join(packageFolder, 'package.json'), 'utf8'))
