import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** What a child of a process with a secret can read of it, before and after the parent hides it. */
const script = `
  import { spawnSync } from 'node:child_process'
  import { concealEnvironment } from './src/media/decoder/conceal.ts'
  const look = () => {
    const code = "try { process.stdout.write(require('fs').readFileSync('/proc/' + process.ppid + '/environ', 'utf8').includes('hunter2') ? 'seen' : 'empty') } catch (e) { process.stdout.write(e.code) }"
    return spawnSync(process.execPath, ['-e', code], { env: {}, encoding: 'utf8' }).stdout
  }
  const before = look()
  concealEnvironment()
  process.stdout.write(before + ' ' + look())`

describe.skipIf(process.platform !== 'linux')('the environment', () => {
  it('is seen by a child of the same user until it is hidden', () => {
    // Root may trace any process, so the test uses an ordinary user.
    const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const { stdout, stderr } = spawnSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], {
      cwd: root,
      env: { SECRET: 'hunter2' },
      encoding: 'utf8',
      ...user,
    })
    expect(stderr).toBe('')
    expect(stdout).toBe('seen EACCES')
  })
})
