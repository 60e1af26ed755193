#!/usr/bin/env bash
# Runs one fuzzer, or each in turn. Usage: tools/fuzz.sh BUILD_FOLDER [TARGET|all] [SECONDS]
# What crashes is left as build/fuzz/crash-*; inputs worth keeping go to tests/fuzz/corpus/TARGET.
set -euo pipefail
build=$1
target=${2:-all}
seconds=${3:-20}
for binary in "$build"/tests/fuzz/fuzz_*; do
  [ -f "$binary" ] && [ -x "$binary" ] || continue
  name=$(basename "$binary"); name=${name#fuzz_}
  [ "$target" = all ] || [ "$target" = "$name" ] || continue
  work="$build/corpus-$name"; mkdir -p "$work" "tests/fuzz/corpus/$name"
  echo "== $name for $seconds s"
  "$binary" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$build/crash-" \
    "$work" "tests/fuzz/corpus/$name" 2>&1 | grep -E 'stat::number_of_executed|ERROR|SUMMARY' || true
done
