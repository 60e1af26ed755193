#!/usr/bin/env python3
"""What a cluster costs that nobody uses, and how fast it is when somebody comes back.

    bench/idle.py [--pangu build/release/src/app/pangu] [--appends 20] [--dir DIR]

Starts `pangu dev`, then `pangu cluster`, each with three chunkservers, on files and on memory devices.
Prints what the machine itself needs for the same after being idle (pangu bench limit), and a table: seconds until ready, CPU and memory while idle (10 s, by /proc), and the
median latency of a 4 KiB append to an open file after 5 s without any.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
IDLE_SECONDS = 10
PAUSE_SECONDS = 5


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def look(pids):
    """(percent of a core, largest resident MiB of one process) over IDLE_SECONDS."""
    before = sum(cpu_seconds(pid) for pid in pids)
    time.sleep(IDLE_SECONDS)
    used = sum(cpu_seconds(pid) for pid in pids) - before
    return 100 * used / IDLE_SECONDS, max(resident_mib(pid) for pid in pids)


def append_after_idle(pangu, masters, count):
    out = subprocess.run([pangu, "--cluster", masters, "bench", "append", "--size", "4k", "--pause",
                          f"{PAUSE_SECONDS}s", "--seconds", str(PAUSE_SECONDS * count), "--json"],
                         capture_output=True, text=True, check=True,
                         timeout=PAUSE_SECONDS * count + 60).stdout
    report = json.loads(out[out.index("{"):])
    return report["p50_us"], report["max_us"], report["ops"]


def limit_after_idle(options):
    out = subprocess.run([options.pangu, "bench", "limit", "--dir", options.dir or ".", "--pause",
                          f"{PAUSE_SECONDS}s", "--seconds", str(2 * PAUSE_SECONDS * options.appends),
                          "--json"], capture_output=True, text=True, check=True).stdout
    report = json.loads(out[out.index("{"):])
    return (f"second of three durable overwrites {report['disk_p50_us']}, TCP round trip "
            f"{report['tcp_p50_us']}, sum {report['limit_p50_us']}")


def dev(options, work, memory):
    command = [options.pangu, "dev", "--dir", os.path.join(work, f"dev-{memory}"), "--master-port", "0"]
    if memory:
        command = [options.pangu, "dev", "--memory", "--master-port", "0"]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    masters = None
    for line in process.stdout:
        if "PANGU_CLUSTER=" in line:
            masters = line.split("PANGU_CLUSTER=")[1].split()[0]
            break
    ready = time.monotonic() - start
    if masters is None:
        sys.exit("pangu dev did not become ready")
    try:
        idle = look([process.pid])
        return ready, idle, append_after_idle(options.pangu, masters, options.appends)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def cluster(options, work, memory):
    place = os.path.join(work, f"cluster-{memory}")
    start = time.monotonic()
    subprocess.run([options.pangu, "cluster", "start", "--dir", place, "--chunkservers", "3"] +
                   (["--memory"] if memory else []), check=True, capture_output=True)
    ready = time.monotonic() - start
    try:
        with open(os.path.join(place, "cluster.json"), encoding="utf-8") as file:
            processes = json.load(file)["processes"]
        masters = ",".join(p["address"] for p in processes if p["role"] == "master")
        idle = look([p["pid"] for p in processes])
        return ready, idle, append_after_idle(options.pangu, masters, options.appends)
    finally:
        subprocess.run([options.pangu, "cluster", "stop", "--dir", place], check=True,
                       capture_output=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pangu", default="build/release/src/app/pangu")
    parser.add_argument("--appends", type=int, default=20)
    parser.add_argument("--dir", default=None, help="where the disk under test is mounted")
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="pangu-idle-", dir=options.dir)
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    print(f"Machine: {os.cpu_count()} x {cpu}, Linux {platform.release()}\n")
    print("After 5 s idle, us (p50): " + limit_after_idle(options) + "\n", flush=True)
    print("| what | devices | ready, s | idle, % of a core | resident, MiB (largest process) "
          "| append after 5 s idle, us: p50 (max) of n |")
    print("|---|---|---|---|---|---|")
    try:
        for name, run in (("dev", dev), ("cluster", cluster)):
            for memory in (False, True):
                ready, (percent, mib), (p50, top, count) = run(options, work, memory)
                print(f"| {name} | {'memory' if memory else 'files'} | {ready:.2f} | {percent:.2f} "
                      f"| {mib:.0f} | {p50} ({top}) of {count} |", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
