#!/usr/bin/env bash
# npm run test:setup: installs the Debian packages that some tests need. Without them those tests are skipped.
#   testing/set-up-tests.sh --list   prints what is missing, one name a line, and installs nothing
set -euo pipefail
missing=()
has() { command -v "$1" >/dev/null 2>&1; }
has chromium-headless-shell || has chromium || has chromium-browser || has google-chrome || missing+=(chromium)
has curl || missing+=(curl)
if [ ${#missing[@]} -eq 0 ]; then
  [ "${1:-}" = --list ] || echo "chromium and curl are installed."
elif [ "${1:-}" = --list ]; then
  printf '%s\n' "${missing[@]}"
elif ! has apt-get; then
  echo "There is no apt-get here. Install by other means: ${missing[*]}" >&2
  exit 1
elif [ "$(id -u)" != 0 ]; then
  echo "Installing needs root: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
else
  apt-get update -qq
  # The shell without a window is half the size and half the work. Debian has it as a package of its own since version
  # 12.
  [ -z "$(apt-cache madison chromium-headless-shell 2>/dev/null)" ] || missing=("${missing[@]/#chromium/chromium-headless-shell}")
  echo "Installing from Debian: ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi
