#!/usr/bin/env python3
"""Fails if a file of src/ includes a room that tools/layers.txt does not allow it, or calls the
operating system's clock, threads, randomness or sockets outside src/env and src/runtime."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
# What only env/linux (and, for threads, runtime) may touch: everything else must run in simulation.
FORBIDDEN = re.compile(
    r"\bstd::(thread|jthread|mutex|condition_variable|random_device|mt19937|async|shuffle|hash)\b"
    r"|\bstd::chrono::\w*_clock\b|\b(gettimeofday|clock_gettime|nanosleep|usleep|getrandom)\s*\("
    r"|(?<!\w)::(socket|connect|accept|bind|send|recv|open|read|write|close)\s*\("
    r"|(?<![\w.>])(recvmsg|sendmsg|epoll_wait|pread|pwrite|fsync|fdatasync)\s*\("
    r"|#include <(thread|mutex|chrono|random|filesystem|iostream|regex|sys/socket\.h)>")
# Room prefixes and single files that are doors to the world, each with its reason.
DOORS = {
    "env/linux": "the door itself",
    "env/conformance": "its suite wakes an Env from another thread",
    "app": "the program's own process, signals and terminal",
    "master/state/rocks_kv": "RocksDB brings its own threads and files",
}


def load_layers():
    layers = {}
    for line in (ROOT / "tools/layers.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            room, _, allowed = line.partition(":")
            layers[room.strip()] = set(allowed.split()) | {room.strip()}
    return layers


def room_of(path, layers):
    parts = path.split("/")
    for depth in (2, 1):
        if len(parts) > depth and "/".join(parts[:depth]) in layers:
            return "/".join(parts[:depth])
    return None


def strip_comments(text):
    text = re.sub(r'"(\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//[^\n]*", "", re.sub(r"/\*.*?\*/", "", text, flags=re.S))


def main():
    layers = load_layers()
    problems = []
    for file in sorted((ROOT / "src").rglob("*")):
        if file.suffix not in (".h", ".cc"):
            continue
        path = file.relative_to(ROOT / "src").as_posix()
        text = file.read_text()
        room = room_of(path, layers)
        is_test = re.search(r"_test\.cc$|(_|/)rig\.(h|cc)$|harness\.(h|cc)$|/testing/", path) is not None
        if room is None:
            problems.append(f"src/{path}: its room is not in tools/layers.txt")
            continue
        for include in INCLUDE.findall(text):
            target = room_of(include, layers)
            if target and target not in layers[room] and not is_test:
                problems.append(f"src/{path}: room {room} may not include {include}")
        if is_test or any(path.startswith(door) for door in DOORS):
            continue
        for number, line in enumerate(strip_comments(text).splitlines(), 1):
            found = FORBIDDEN.search(line)
            if found and not (path.startswith("runtime/") and "thread" in found.group(0)):
                problems.append(f"src/{path}:{number}: {found.group(0).strip()} outside src/env")
    print("\n".join(problems) if problems else "layers: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
