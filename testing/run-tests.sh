#!/usr/bin/env bash
# npm test: builds and runs every test. Installs nothing; says, before and after, which tests are skipped and how to
# have them run.
set -uo pipefail
cd "$(dirname "$0")/.."
warn() {
  local name
  for name in $(bash testing/set-up-tests.sh --list); do
    case $name in
      chromium) echo "WARNING: NOT RUN without chromium: the playground, reference page and browser example (tests/browser and others)." ;;
      curl) echo "WARNING: NOT RUN without curl: the curl samples (tests/wire/samples.test.ts)." ;;
    esac
    echo "         To install what is missing: npm run test:setup"
  done >&2
}
warn
npm run --silent build || exit
vitest run "$@"
status=$?
warn
exit "$status"
