import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** Reads the parent's environment from a child process, before and after the parent hides it. */
const script = `
  import { spawnSync } from 'node:child_process'
  import { concealEnvironment } from './src/media/decoder/conceal.ts'
  const readFromChild = () => {
    const code = "try { process.stdout.write(require('fs').readFileSync('/proc/' + process.ppid + '/environ', 'utf8').includes('hunter2') ? 'readable' : 'empty') } catch (e) { process.stdout.write(e.code) }"
    return spawnSync(process.execPath, ['-e', code], { env: {}, encoding: 'utf8' }).stdout
  }
  const before = readFromChild()
  concealEnvironment()
  process.stdout.write(before + ' ' + readFromChild())`

describe.skipIf(process.platform !== 'linux')('the environment of the server', () => {
  it('can be read by a child process until it is hidden', () => {
    // Root may trace any process, so the test uses an ordinary user.
    const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const { stdout, stderr } = spawnSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], {
      cwd: root,
      env: { SECRET: 'hunter2' },
      encoding: 'utf8',
      ...user,
    })
    expect(stderr).toBe('')
    expect(stdout).toBe('readable EACCES')
  })
})
