#!/usr/bin/env python3
"""Peers of `meterd bench reserve`: Redis and PostgreSQL. One JSON object on stdout, no third-party module."""

import json
import os
import re
import subprocess
import sys
import time

# Amounts in millionths of a dollar, as the benchmark of meterd states them.
ESTIMATE, COST, LIMIT = 2_000, 1_000, 10**15

# One hash is the counter. The next id is the server's own, so that a settlement finds its hold without a client that remembers it;
# an id that is known gets its old answer, as with meterd.
RESERVE = """
local id = 'hold:' .. redis.call('HINCRBY', KEYS[1], 'reserved', 1)
if redis.call('EXISTS', id) == 1 then return 2 end
local found = redis.call('HMGET', KEYS[1], 'spent', 'held')
if tonumber(found[1] or 0) + tonumber(found[2] or 0) + ARGV[1] > tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], 'held', ARGV[1])
redis.call('SET', id, ARGV[1], 'PX', 600000)
return 1
"""
SETTLE = """
local id = 'hold:' .. redis.call('HINCRBY', KEYS[1], 'settled', 1)
local held = redis.call('GETDEL', id)
if not held then return 0 end
redis.call('HINCRBY', KEYS[1], 'held', -held)
redis.call('HINCRBY', KEYS[1], 'spent', ARGV[1])
return 1
"""


def report(bench, many, one, **settings):
    figures = {"pairs_per_second": round(many), "single_pairs_per_second": round(one)}
    print(json.dumps({"bench": bench, "figures": figures, "settings": settings}))


def wait_for(what, probe, seconds=30):
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            sys.exit(f"waited in vain for {what}")
        time.sleep(0.02)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def redis(tools, socket, pairs, connections, single):
    cli = [f"{tools}/redis-cli", "-s", socket]
    wait_for("redis-server", lambda: subprocess.run([*cli, "ping"], capture_output=True, text=True).stdout.strip() == "PONG")
    reserve, settle = (output(*cli, "SCRIPT", "LOAD", text) for text in (RESERVE, SETTLE))

    def seconds(clients, times, *command):
        begin = time.monotonic()
        subprocess.run(
            [f"{tools}/redis-benchmark", "-s", socket, "-c", str(clients), "-n", str(times), "--csv", *map(str, command)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        return time.monotonic() - begin

    def rate(clients, times):
        took = seconds(clients, times, "EVALSHA", reserve, 1, "counter", ESTIMATE, LIMIT)
        return times / (took + seconds(clients, times, "EVALSHA", settle, 1, "counter", COST))

    many, one = rate(connections, pairs), rate(1, single)
    spent, held = output(*cli, "HMGET", "counter", "spent", "held").split()
    if int(held) != 0 or int(spent) != (pairs + single) * COST:
        sys.exit(f"redis has spent {spent} and holds {held}")
    version = re.search(r"v=(\S+)", output(f"{tools}/redis-server", "--version"))[1]
    report(f"Redis {version}, Lua, appendfsync always", many, one, connections=connections)


def postgres(tools, folder, pairs, connections, single):
    base = ["-h", folder, "-U", "meterd"]
    wait_for("postgres", lambda: subprocess.run([f"{tools}/pg_isready", *base], capture_output=True).returncode == 0)
    psql = lambda text: output(f"{tools}/psql", *base, "-d", "postgres", "-At", "-c", text)
    psql("CREATE TABLE counter (id int PRIMARY KEY, spent bigint NOT NULL, held bigint NOT NULL) WITH (fillfactor = 10)")
    psql("INSERT INTO counter VALUES (1, 0, 0)")
    script = os.path.join(os.path.dirname(folder), "pair.sql")
    with open(script, "w", encoding="utf-8") as file:
        file.write(
            f"UPDATE counter SET held = held + {ESTIMATE} WHERE id = 1 AND spent + held + {ESTIMATE} <= {LIMIT};\n"
            f"UPDATE counter SET held = held - {ESTIMATE}, spent = spent + {COST} WHERE id = 1;\n"
        )

    # One row takes one transaction after the other, so a tenth of the pairs says as much in a tenth of the time.
    def rate(clients, times):
        each = max(1, times // clients)
        begin = time.monotonic()
        subprocess.run(
            [f"{tools}/pgbench", *base, "-d", "postgres", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)),
             "-t", str(each), "-f", script],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        return each * clients / (time.monotonic() - begin)

    many, one = rate(connections, pairs // 10), rate(1, single)
    if psql("SELECT held FROM counter") != "0":
        sys.exit("postgres holds something")
    report(f"PostgreSQL {psql('SHOW server_version').split()[0]}, row update", many, one, connections=connections)


def main(kind, tools, place, *counts):
    {"redis": redis, "postgres": postgres}[kind](tools, place, *map(int, counts))


main(*sys.argv[1:])
