#!/usr/bin/env bash
# Installs what building, testing and running need on Debian 12, if anything is missing.
# Usage: tools/install.sh [--bench]     (--bench: also fio, for bench/compare)
set -euo pipefail

packages=(
  clang-19 lld-19 libclang-rt-19-dev llvm-19 cmake ninja-build ccache pkg-config git
  liburing-dev libisal-dev librocksdb-dev libssl-dev libprotobuf-dev protobuf-compiler
  libfmt-dev libtomlplusplus-dev nlohmann-json3-dev libgtest-dev libbenchmark-dev python3
)
for argument in "$@"; do
  case "$argument" in
    --bench) packages+=(fio) ;;
    --lint) packages+=(clang-tidy-19 clang-format-19) ;;
    *) echo "usage: tools/install.sh [--bench] [--lint]" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
    missing+=("$package")
  fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "error: these Debian packages are missing and need root: ${missing[*]}" >&2
    echo "hint: run  apt-get install ${missing[*]}  as root" >&2
    exit 1
  }
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update -qq &&
       "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -20 "$log" >&2
  echo "error: apt-get could not install ${missing[*]}" >&2
  exit 1
fi
rm -f "$log"
