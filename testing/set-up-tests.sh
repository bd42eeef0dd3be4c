#!/usr/bin/env bash
# npm run test:setup: installs the Debian packages that some tests need, and says so. Without them those tests are skipped.
#   testing/set-up-tests.sh --list   prints what is missing and installs nothing
set -euo pipefail
missing=()
for name in chromium ffmpeg espeak-ng; do
  command -v "$name" >/dev/null 2>&1 || missing+=("$name")
done
if [ "${1:-}" = --list ]; then
  echo "${missing[*]:-}"
elif [ ${#missing[@]} -eq 0 ]; then
  echo "chromium, ffmpeg and espeak-ng are installed already."
elif ! command -v apt-get >/dev/null 2>&1; then
  echo "No apt-get here. Install these by other means: ${missing[*]}" >&2
  exit 1
elif [ "$(id -u)" != 0 ]; then
  echo "Installing needs root: sudo apt-get install ${missing[*]}" >&2
  exit 1
else
  echo "Installing from Debian: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi
