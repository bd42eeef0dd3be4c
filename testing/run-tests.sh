#!/usr/bin/env bash
# npm test: installs from Debian what some tests need (when it may), then runs every test. Says loudly what it cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."
need=()
command -v chromium >/dev/null 2>&1 || need+=(chromium)
command -v espeak-ng >/dev/null 2>&1 || need+=(espeak-ng)
command -v ffmpeg >/dev/null 2>&1 || need+=(ffmpeg)
if [ ${#need[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${need[@]}") >/dev/null 2>&1 ||
      echo "WARNING: could not install: ${need[*]}. The tests that need them will be skipped, and say so."
  else
    echo "WARNING: not installed: ${need[*]} (Debian packages). The tests that need them will be skipped, and say so."
  fi
fi
npm run --silent build
exec vitest run "$@"
