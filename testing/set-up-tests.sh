#!/usr/bin/env bash
# npm run test:setup: installs the Debian packages that some tests need. Without them those tests are skipped.
#   testing/set-up-tests.sh --list   prints what is missing, one name a line, and installs nothing
set -euo pipefail
missing=()
{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1 || missing+=(chromium)
command -v curl >/dev/null 2>&1 || missing+=(curl)
if [ ${#missing[@]} -eq 0 ]; then
  [ "${1:-}" = --list ] || echo "chromium and curl are installed."
elif [ "${1:-}" = --list ]; then
  printf '%s\n' "${missing[@]}"
elif ! command -v apt-get >/dev/null 2>&1; then
  echo "There is no apt-get here. Install by other means: ${missing[*]}" >&2
  exit 1
elif [ "$(id -u)" != 0 ]; then
  echo "Installing needs root: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
else
  echo "Installing from Debian: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi
