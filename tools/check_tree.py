#!/usr/bin/env python3
"""The style guide as a test: line length, file size, banned leftovers, headers that stand alone in
form. Generated files, golden data and licences are left out."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The formatter keeps code at 100; a hand-wrapped comment may end a word later.
LINE_MAX = 104
FILE_MAX = 700
LEFTOVERS = re.compile(r"\b(FIXME|XXX|HACK|TODO)\b")
BANNED = [
    (re.compile(r"^\s*using namespace std"), "using namespace std"),
    (re.compile(r"#\s*include <(iostream|regex|filesystem)>"), "a header that costs too much"),
    (re.compile(r"\bassert\s*\("), "assert: use CHECK, which stays on"),
]


def files():
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [ROOT / line for line in listed.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        return [f for f in ROOT.rglob("*") if f.is_file() and "build" not in f.parts]


def main():
    problems = []
    for file in files():
        if not file.is_file():
            continue
        path = file.relative_to(ROOT).as_posix()
        if file.stat().st_size > 400_000:
            problems.append(f"{path}: {file.stat().st_size} bytes are too large for the tree")
        if file.suffix not in (".h", ".cc", ".py", ".sh", ".proto"):
            continue
        lines = file.read_text().splitlines()
        if file.suffix in (".h", ".cc"):
            if len(lines) > FILE_MAX:
                problems.append(f"{path}: {len(lines)} lines: more than one concept lives here")
            if file.suffix == ".h" and "#pragma once" not in lines[:1]:
                problems.append(f"{path}: a header begins with #pragma once")
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_MAX and file.suffix in (".h", ".cc") and "http" not in line:
                problems.append(f"{path}:{number}: {len(line)} columns")
            if LEFTOVERS.search(line) and path != "tools/check_tree.py":
                problems.append(f"{path}:{number}: {LEFTOVERS.search(line).group(0)} left in the tree")
            if file.suffix in (".h", ".cc"):
                for pattern, why in BANNED:
                    if pattern.search(line) and not path.endswith("_test.cc"):
                        problems.append(f"{path}:{number}: {why}")
    print("\n".join(problems) if problems else "tree: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
