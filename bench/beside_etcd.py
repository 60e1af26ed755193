#!/usr/bin/env python3
"""Runs creates of files beside puts of a three-node etcd, alternating, in one go.

    bench/beside_etcd.py --etcd COMMAND [--pangu build/release/src/app/pangu] [--rounds 3]
                         [--seconds 30] [--clients 64] [--dir DIR]

Each round starts a cluster of three masters, runs `pangu bench meta --op create`, stops it, and
then runs COMMAND 3, which starts an etcd of three nodes on the same disk, measures puts (a JSON line
a case, and what `etcdctl check perf` says) and removes it. Both keep what they acknowledge on a
majority. Prints a Markdown table of medians (min..max) and the ratio to the better of etcd's
figures, round by round: the machine's own speed moves between hours.
"""
import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ETCD_CASE_SECONDS_MAX = 25  # its script ends a case after 30 s, with the start of its client


def run(command, timeout=600, env=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done.stdout


def last_json(text):
    return json.loads(text[text.index("{"):])


def pangu_creates(options, place):
    run([options.pangu, "cluster", "start", "--dir", place, "--masters", "3", "--master-port", "0"])
    try:
        with open(os.path.join(place, "cluster.json"), encoding="utf-8") as file:
            processes = json.load(file)["processes"]
        masters = ",".join(p["address"] for p in processes if p["role"] == "master")
        return last_json(run([options.pangu, "--cluster", masters, "bench", "meta", "--op",
                              "create", "--clients", str(options.clients), "--seconds",
                              str(options.seconds), "--cluster-dir", place, "--json"]))
    finally:
        run([options.pangu, "cluster", "stop", "--dir", place])


def etcd_puts(command, work, seconds):
    """What the peer's script printed: its cases by name, and writes a second of `check perf`."""
    env = {**os.environ, "PEERS_WORK": os.path.join(work, "etcd"), "RUNS": "1",
           "SECS": str(min(seconds, ETCD_CASE_SECONDS_MAX))}
    done = subprocess.run([command, "3"], capture_output=True, text=True, timeout=900, env=env,
                          check=False)
    cases = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            case = json.loads(line)
            if "iops" in case:
                cases[case["case"]] = case
    perf = re.search(r"[Tt]hroughput (?:is|too low:) ([0-9.]+) writes/s", done.stdout)
    if not cases and perf is None:
        sys.exit(f"{command} 3 ended with {done.returncode}:\n{done.stdout[-1000:]}"
                 f"{done.stderr[-1000:]}")
    return cases, float(perf.group(1)) if perf else None


def spread(values, digits=0):
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}..{max(values):.{digits}f})")


def best_of(peer):
    cases, perf = peer
    puts = [case["iops"] for name, case in cases.items() if "_put_" in name]
    return max(puts + ([perf] if perf else []))


def print_table(ours, peers, options):
    print("| | ops/s | p50 us | p99 us | p99.9 us | max us | server CPU us/op | client CPU us/op "
          "| longest gap us | errors |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    keys = ("ops_per_s", "p50_us", "p99_us", "p999_us", "max_us", "server_cpu_us_per_op",
            "client_cpu_us_per_op", "longest_gap_us")
    print(f"| pangu create, {options.clients} clients | " +
          " | ".join(spread([r[key] for r in ours]) for key in keys) +
          f" | {sum(r['errors'] for r in ours)} |")
    keys = ("iops", "p50_us", "p99_us", "p999_us", "max_us", "server_cpu_us_per_op",
            "client_cpu_us_per_op")
    for name in sorted({name for cases, _ in peers for name in cases}):
        runs = [cases[name] for cases, _ in peers if name in cases]
        print(f"| {name} | " +
              " | ".join(spread([r[key] for r in runs if r.get(key) is not None]) for key in keys) +
              " | - | - |")
    perf = [figure for _, figure in peers if figure]
    if perf:
        print(f"| etcdctl check perf, 500 clients | {spread(perf)} |" + " - |" * 8)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--etcd", required=True, metavar="COMMAND",
                        help="runs, measures and removes an etcd of so many nodes")
    parser.add_argument("--pangu", default="build/release/src/app/pangu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--dir", default=None, help="where the disk under test is mounted")
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="pangu-etcd-", dir=options.dir)
    ours, peers = [], []
    try:
        for number in range(options.rounds):
            place = os.path.join(work, f"pangu-{number}")
            ours.append(pangu_creates(options, place))
            shutil.rmtree(place, ignore_errors=True)
            peers.append(etcd_puts(options.etcd, work, options.seconds))
            print(f"round {number + 1} of {options.rounds}: {ours[-1]['ops_per_s']:.0f} creates/s, "
                  f"etcd at best {best_of(peers[-1]):.0f} puts/s", file=sys.stderr)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    print(f"Machine: {os.cpu_count()} x {cpu}, Linux {platform.release()}; {options.rounds} rounds of "
          f"{options.seconds} s\n")
    print_table(ours, peers, options)
    ratios = [mine["ops_per_s"] / best_of(peer) for mine, peer in zip(ours, peers)]
    print(f"\nour creates / the best of its puts in the same round: {spread(ratios, 2)}")


if __name__ == "__main__":
    main()
