#!/usr/bin/env python3
"""Runs pangu beside the limit of the same disk and the same loopback, alternating, in one go.

    bench/beside_limit.py [--pangu build/release/src/app/pangu] [--rounds 5] [--seconds 5] [--dir DIR]
                          [--ceph COMMAND]

Each round measures the bare limit (pangu bench limit), fio's durable 8 KiB overwrite if fio is
installed, and a real cluster of three chunkserver processes on files of that disk, then on memory
devices. With --ceph a peer is measured in each round too: COMMAND append runs a Ceph of one host,
three OSDs, on the same disk, and prints one JSON line a case. Prints a Markdown table of medians (min..max) and the ratios, which are what counts: the
machine's own speed moves between hours.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile


def run(command, timeout=300):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done.stdout


def last_json(text):
    return json.loads(text[text.index("{"):])


class Cluster:
    def __init__(self, pangu, directory, memory):
        self.pangu, self.directory = pangu, directory
        command = [pangu, "cluster", "start", "--dir", directory, "--chunkservers", "3"]
        run(command + (["--memory"] if memory else []))
        with open(os.path.join(directory, "cluster.json"), encoding="utf-8") as file:
            described = json.load(file)
        self.processes = described["processes"]
        self.masters = ",".join(p["address"] for p in self.processes if p["role"] == "master")

    def server_cpu_seconds(self):
        tick = os.sysconf("SC_CLK_TCK")
        total = 0
        for process in self.processes:
            with open(f"/proc/{process['pid']}/stat", encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / tick
        return total

    def bench(self, kind, size, depth, streams, seconds):
        before = self.server_cpu_seconds()
        out = last_json(run([self.pangu, "--cluster", self.masters, "bench", kind, "--size", size,
                             "--depth", str(depth), "--streams", str(streams), "--seconds",
                             str(seconds), "--json"]))
        out["server_cpu_us_per_op"] = (self.server_cpu_seconds() - before) * 1e6 / max(out["ops"], 1)
        return out

    def stop(self):
        run([self.pangu, "cluster", "stop", "--dir", self.directory])


def fio_limit(directory, seconds):
    if not shutil.which("fio"):
        return None
    out = json.loads(run(["fio", "--name=limit", f"--directory={directory}", "--size=64m", "--bs=8k",
                          "--rw=write", "--direct=1", "--sync=dsync", "--ioengine=psync",
                          "--time_based", f"--runtime={seconds}", "--overwrite=1",
                          "--output-format=json"]))
    return out["jobs"][0]["write"]["clat_ns"]["percentile"]["50.000000"] / 1000


def ceph(command, work, seconds):
    """The peer at the same work: what it printed, by case."""
    out = {}
    env = {**os.environ, "PEERS_WORK": os.path.join(work, "ceph"), "SECS": str(seconds), "RUNS": "1"}
    done = subprocess.run([command, "append"], capture_output=True, text=True, timeout=600, env=env,
                          check=False)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            case = json.loads(line)
            out[case["case"]] = case
    if not out:
        sys.exit(f"{command} append ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return out


CASES = [
    ("append 4 KiB, 1 stream, depth 1", "append", "4k", 1, 1),
    ("append 4 KiB, 16 streams", "append", "4k", 1, 16),
    ("append 1 MiB, 1 stream, depth 4", "append", "1m", 4, 1),
    ("read 4 KiB, depth 1", "read", "4k", 1, 1),
    ("read 1 MiB, depth 4", "read", "1m", 4, 1),
]


def spread(values, digits=0):
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}..{max(values):.{digits}f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pangu", default="build/release/src/app/pangu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--dir", default=None, help="where the disk under test is mounted")
    parser.add_argument("--ceph", default=None, metavar="COMMAND", help="measure a Ceph as well")
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="pangu-bench-", dir=options.dir)
    results, limits, fio, ratios, peer = {}, [], [], [], []
    try:
        for number in range(options.rounds):
            limit = last_json(run([options.pangu, "bench", "limit", "--dir", work, "--seconds",
                                   str(options.seconds), "--json"]))
            limits.append(limit["limit_p50_us"])
            figure = fio_limit(work, options.seconds)
            if figure is not None:
                fio.append(figure)
            for memory in (False, True):
                place = os.path.join(work, f"{'memory' if memory else 'disk'}-{number}")
                cluster = Cluster(options.pangu, place, memory)
                try:
                    for name, kind, size, depth, streams in CASES:
                        got = cluster.bench(kind, size, depth, streams, options.seconds)
                        results.setdefault(("memory" if memory else "disk", name), []).append(got)
                        if not memory and name == CASES[0][0]:
                            ratios.append(got["p50_us"] / limit["limit_p50_us"])
                finally:
                    cluster.stop()
                shutil.rmtree(place, ignore_errors=True)
            if options.ceph:
                peer.append(ceph(options.ceph, work, options.seconds))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    print(f"Machine: {os.cpu_count()} x {cpu}, Linux {platform.release()}; "
          f"{options.rounds} rounds of {options.seconds} s\n")
    print(f"Limit (p50, us): {spread(limits)}" +
          (f"; fio 8 KiB O_DSYNC overwrite p50, us: {spread(fio)}" if fio else ""))
    print(f"4 KiB append depth 1 on disk / limit: {spread(ratios, 2)}\n")
    print("| device | case | ops/s | MiB/s | p50 us | p99 us | p99.9 us | client CPU us/op "
          "| server CPU us/op | device bytes / payload byte | errors |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for (device, name), runs in results.items():
        column = [spread([r[key] for r in runs], digits) for key, digits in
                  (("iops", 0), ("mib_per_s", 1), ("p50_us", 0), ("p99_us", 0), ("p999_us", 0),
                   ("client_cpu_us_per_op", 1), ("server_cpu_us_per_op", 1),
                   ("device_bytes_per_payload_byte", 2))]
        print(f"| {device} | {name} | " + " | ".join(column) +
              f" | {sum(r['errors'] for r in runs)} |")
    if peer:
        print_peer(peer, results)


def cpu(case):
    return case["server_cpu_us_per_op"] + case["client_cpu_us_per_op"]


PEER_CASES = {
    "append_4k_1stream_qd1": "append 4 KiB, 1 stream, depth 1",
    "append_4k_16streams": "append 4 KiB, 16 streams",
    "append_1m_1stream_qd4": "append 1 MiB, 1 stream, depth 4",
}


def print_peer(peer, results):
    """Ratios are taken round by round, then their median."""
    print("\n| Ceph, same work, same rounds | ops/s | p50 us | p99 us | CPU us/op | "
          "our ops/s ÷ its | our CPU ÷ its |")
    print("|---|---|---|---|---|---|---|")
    for label, name in PEER_CASES.items():
        theirs, ours = [round_[label] for round_ in peer], results[("disk", name)]
        columns = [spread([t["iops"] for t in theirs]), spread([t["p50_us"] for t in theirs]),
                   spread([t["p99_us"] for t in theirs]), spread([cpu(t) for t in theirs]),
                   spread([o["iops"] / t["iops"] for o, t in zip(ours, theirs)], 2),
                   spread([cpu(o) / cpu(t) for o, t in zip(ours, theirs)], 3)]
        print(f"| {name} | " + " | ".join(columns) + " |")


if __name__ == "__main__":
    main()
