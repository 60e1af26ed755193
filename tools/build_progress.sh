#!/usr/bin/env bash
# Turns ninja's lines into one line that moves on a terminal; in a pipe keeps quiet. Errors pass.
set -u
failed=0
buffer=()
while IFS= read -r line; do
  if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] && $failed -eq 0 ]]; then
    [ -t 1 ] && printf '\rbuilding %s of %s ' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
  elif [[ $line == "ninja: no work to do." ]]; then
    :
  else
    failed=1
    printf '%s\n' "$line"
  fi
done
[ -t 1 ] && printf '\r\033[K'
exit 0
