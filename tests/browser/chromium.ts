/**
 * Debian's Chromium without a window, or any that is installed, with a fake microphone and camera. Used by the browser
 * tests and the browser benchmark.
 */
import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'

/** Undefined when there is no Chromium. The shell without a window does the same with half the work. */
export const chromiumPath = [
  '/usr/lib/chromium/chromium-headless-shell',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path) => existsSync(path))

/**
 * `microphone` is a WAV file that plays in a loop. `hostName` is one more name of this machine, without https insecure.
 */
export async function launchBrowser(options: { microphone?: string; hostName?: string } = {}): Promise<Browser> {
  const fake = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
  if (options.microphone !== undefined) fake.push(`--use-file-for-fake-audio-capture=${options.microphone}`)
  if (options.hostName !== undefined) fake.push(`--host-resolver-rules=MAP ${options.hostName} 127.0.0.1`)
  return chromium.launch({
    ...(chromiumPath === undefined ? {} : { executablePath: chromiumPath }),
    args: ['--no-sandbox', '--disable-gpu', ...fake],
  })
}
