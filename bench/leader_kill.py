#!/usr/bin/env python3
"""How long nobody can change names when a leader dies, and whether anything is lost or doubled.

    bench/leader_kill.py [--pangu build/release/src/app/pangu] [--kills 6] [--clients 64]
                         [--how kill,pause] [--dir DIR]

Starts a cluster of three masters and, again and again, creates files while the master that leads
the root group, or one that leads a group of names, is killed (SIGKILL) or frozen (SIGSTOP). Prints
the longest time in which no create at all succeeded, and the longest that any client waited, of
each. Every create that was acknowledged must be there afterwards, once, and none may have failed
because it was there already: that would be one that was carried out twice. Ends with 1 if not.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SECONDS = 8        # of each run of creates
AFTER_SECONDS = 3  # after its beginning the leader is hit


def run(command, timeout=300):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done.stdout


def last_json(text):
    return json.loads(text[text.index("{"):])


class Cluster:
    def __init__(self, options, directory):
        self.pangu, self.directory = options.pangu, directory
        run([self.pangu, "cluster", "start", "--dir", directory, "--masters", "3", "--master-port",
             "0"])
        with open(os.path.join(directory, "cluster.json"), encoding="utf-8") as file:
            self.processes = json.load(file)["processes"]
        self.masters = {p["address"]: p["name"] for p in self.processes if p["role"] == "master"}

    def command(self, *words):
        return [self.pangu, "--cluster", ",".join(self.masters), *words]

    def pangu_cluster(self, *words):
        run([self.pangu, "cluster", *words, "--dir", self.directory])

    def leaders(self):
        """Names of the groups that each master leads, by the name of its process."""
        status = last_json(run(self.command("status", "--json")))
        return {self.masters[m["address"]]: m["leads"].split() for m in status["masters"]
                if m["address"] in self.masters}

    def wait_for_leaders(self, patience=30):
        """Until every group has a leader and all masters answer."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            done = subprocess.run(self.command("status", "--json", "--timeout", "2s"),
                                  capture_output=True, text=True, check=False)
            if done.returncode == 0:
                status = last_json(done.stdout)
                led = {g for m in status["masters"] for g in m["leads"].split()}
                if "root" in led and any(g.startswith("names-") for g in led):
                    return
            time.sleep(0.3)
        sys.exit("the cluster has no leaders again")

    def leader_of(self, what):
        for name, groups in self.leaders().items():
            if any(group == what or group.startswith(what + "-") for group in groups):
                return name
        sys.exit(f"nobody leads {what}")


def create_while(cluster, options, directory, acks, hit):
    """Creates for SECONDS; hit() is called in the middle. What the run reports."""
    process = subprocess.Popen(
        cluster.command("bench", "meta", "--op", "create", "--clients", str(options.clients),
                        "--seconds", str(SECONDS), "--warm-up", "1s", "--dir", directory, "--keep",
                        "--acks", acks, "--timeout", "20s", "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1 + AFTER_SECONDS)
    hit()
    out, errors = process.communicate(timeout=120)
    if "{" not in out:
        sys.exit(f"bench meta ended with {process.returncode}:\n{errors or out}")
    return last_json(out), errors


def listed(cluster, directory):
    """Every path below a directory of directories, as often as it was listed."""
    out = []
    for name in run(cluster.command("ls", directory)).split():
        folder = f"{directory}/{name.rstrip('/')}"
        out += [f"{folder}/{file}" for file in run(cluster.command("ls", folder)).split()]
    return out


def check(cluster, directory, acks, report, problems):
    with open(acks, encoding="utf-8") as file:
        acknowledged = file.read().split()
    roots = [f"{directory}/{name.rstrip('/')}" for name in
             run(cluster.command("ls", directory)).split()]
    there = [path for root in roots for path in listed(cluster, root)]
    present = set(there)
    lost = [path for path in acknowledged if path not in present]
    if lost:
        problems.append(f"{len(lost)} acknowledged creates are gone, such as {lost[0]}")
    if len(acknowledged) != len(set(acknowledged)):
        problems.append("a create was acknowledged twice")
    if len(there) != len(present):
        problems.append(f"{len(there) - len(present)} names are listed twice")
    extra = len(present) - len(set(acknowledged) & present)
    if extra > report["errors"]:
        problems.append(f"{extra} files are there that nobody was told of, with "
                        f"{report['errors']} errors")
    twice = report["errors_by_code"].get("ALREADY_EXISTS")
    if twice:
        problems.append(f"{twice} creates were carried out twice")
    return len(acknowledged)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pangu", default="build/release/src/app/pangu")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--how", default="kill,pause", help="kill, pause, or both in turn")
    parser.add_argument("--dir", default=None, help="where the cluster's data goes")
    options = parser.parse_args()
    ways = options.how.split(",")
    work = tempfile.mkdtemp(prefix="pangu-kill-", dir=options.dir)
    problems, gaps = [], {}
    cluster = Cluster(options, os.path.join(work, "cluster"))
    print("| hit | which leads | longest gap ms | longest of a client ms | creates | p50 us "
          "| errors |")
    print("|---|---|---|---|---|---|---|")
    try:
        for number in range(options.kills):
            cluster.wait_for_leaders()
            how = ways[number % len(ways)]
            what = "names" if number // len(ways) % 2 == 0 else "root"
            victim = cluster.leader_of(what)
            directory, acks = f"/kill-{number}", os.path.join(work, "acks")
            run(cluster.command("mkdir", directory))
            report, _ = create_while(cluster, options, directory, acks,
                                     lambda: cluster.pangu_cluster(how, victim))
            cluster.pangu_cluster("restart" if how == "kill" else "resume", victim)
            cluster.wait_for_leaders()
            count = check(cluster, directory, acks, report, problems)
            gaps.setdefault(how, []).append(report["longest_gap_us"] / 1000)
            print(f"| {how} {victim} | {what} | {report['longest_gap_us'] / 1000:.0f} | "
                  f"{report['longest_client_gap_us'] / 1000:.0f} | {count} | "
                  f"{report['p50_us']:.0f} | {report['errors_by_code'] or 0} |", flush=True)
            run(cluster.command("rm", "-r", directory))
    finally:
        subprocess.run([options.pangu, "cluster", "stop", "--dir", cluster.directory], check=False,
                       capture_output=True)
        shutil.rmtree(work, ignore_errors=True)
    print()
    for how, values in gaps.items():
        print(f"{how}: longest gap, median (min..max) ms: {statistics.median(values):.0f} "
              f"({min(values):.0f}..{max(values):.0f})")
    for problem in problems:
        print(f"WRONG: {problem}")
    if problems:
        sys.exit(1)
    print("every acknowledged create is there, once")


if __name__ == "__main__":
    main()
