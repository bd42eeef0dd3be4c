#!/usr/bin/env bash
# npm test: builds and runs every test. Installs nothing; says before and after which tests cannot run for want of a Debian package.
set -uo pipefail
cd "$(dirname "$0")/.."
declare -A needed_by=(
  [chromium]='the browser tests (tests/browser, tests/wire/reference-page.test.ts)'
  [ffmpeg]='comparisons of decoded media with the ffmpeg command'
  [espeak-ng]='speech recordings that the media tests make'
)
warn() {
  for name in $(bash testing/set-up-tests.sh --list); do
    echo "WARNING: $name is not installed: NOT run: ${needed_by[$name]}. To install it: npm run test:setup" >&2
  done
}
warn
npm run --silent build || exit
vitest run "$@"
status=$?
warn
exit $status
