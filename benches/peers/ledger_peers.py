#!/usr/bin/env python3
"""Peers of `meterd bench ledger`: bare fdatasync, PostgreSQL, NATS JetStream. One JSON object on stdout, no third-party module."""

import glob
import json
import os
import selectors
import socket
import subprocess
import sys
import time


def report(bench, events, seconds, **settings):
    figures = {"events_per_second": round(events / seconds), "seconds": round(seconds, 3)}
    print(json.dumps({"bench": bench, "figures": figures, "settings": {"events": events, **settings}}))


def wait_for(what, probe, seconds=30):
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            sys.exit(f"waited in vain for {what}")
        time.sleep(0.02)


def fdatasync(path, events, size, at_once):
    """Appends blocks of `at_once` events, each made durable before the next."""
    block = os.urandom(size * at_once)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    begin = time.monotonic()
    for _ in range(-(-events // at_once)):
        os.write(file, block)
        os.fdatasync(file)
    seconds = time.monotonic() - begin
    os.close(file)
    os.unlink(path)
    report(f"fdatasync each {at_once}", events, seconds, bytes=size)


def postgres(tools, folder, events, size, batch, clients):
    """pgbench: rows with random keys in batches, each a transaction of its own."""
    base = ["-h", folder, "-U", "meterd"]
    ready = lambda: subprocess.run([f"{tools}/pg_isready", *base], capture_output=True).returncode == 0
    wait_for("postgres", ready)
    psql = lambda text: subprocess.run(
        [f"{tools}/psql", *base, "-d", "postgres", "-At", "-c", text], check=True, capture_output=True, text=True
    ).stdout.strip()
    psql("CREATE TABLE entries (id bytea PRIMARY KEY, seq bigserial, body bytea NOT NULL)")
    script = os.path.join(os.path.dirname(folder), "insert.sql")
    with open(script, "w", encoding="utf-8") as file:
        file.write(
            "INSERT INTO entries (id, body) SELECT decode(md5(random()::text || clock_timestamp()::text || n), 'hex'), "
            f"decode(repeat('5a', {max(size - 16, 1)}), 'hex') FROM generate_series(1, {batch}) n ON CONFLICT DO NOTHING;\n"
        )
    transactions = max(1, events // batch // clients)
    begin = time.monotonic()
    subprocess.run(
        [f"{tools}/pgbench", *base, "-d", "postgres", "-n", "-c", str(clients), "-j", "2", "-t", str(transactions), "-f", script],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    seconds = time.monotonic() - begin
    rows = int(psql("SELECT count(*) FROM entries"))
    version = psql("SHOW server_version").split()[0]
    report(f"PostgreSQL {version}, insert of {batch}", rows, seconds, bytes=size, clients=clients, batch=batch)


class Publisher:
    """One NATS connection with so many publishes under way; counts acknowledgements."""

    AHEAD = 4_096

    def __init__(self, address, number, events, size):
        self.events, self.sent, self.acked = events, 0, 0
        self.number, self.body = number, os.urandom(size)
        self.socket = socket.create_connection(address)
        self.rest = b""
        self.out = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n' + f"SUB ack.{number} 1\r\n".encode()

    def fill(self):
        parts = []
        while self.sent < self.events and self.sent - self.acked < self.AHEAD and len(parts) < 512:
            head = f"NATS/1.0\r\nNats-Msg-Id: {self.number}-{self.sent}\r\n\r\n".encode()
            total = len(head) + len(self.body)
            parts += [f"HPUB events.{self.number} ack.{self.number} {len(head)} {total}\r\n".encode(), head, self.body, b"\r\n"]
            self.sent += 1
        self.out += b"".join(parts)

    def write(self):
        if not self.out:
            self.fill()
        if self.out:
            self.out = self.out[self.socket.send(self.out):]

    def read(self):
        data = self.socket.recv(1 << 18)
        if not data:
            sys.exit("nats-server closed a connection")
        data = self.rest + data
        if b"error" in data:
            sys.exit(f"nats-server refused: {data[:300]}")
        if b"PING\r\n" in data:
            self.out += b"PONG\r\n"
        # Every acknowledgement is a message whose body names the stream.
        self.acked += data.count(b'"stream"')
        # One byte less than the word: nothing is counted twice, and nothing that was cut in two is missed.
        self.rest = data[-7:]

    @property
    def done(self):
        return self.acked >= self.events

    def wants(self):
        room = self.sent < self.events and self.sent - self.acked < self.AHEAD
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out or room else 0)


def make_stream(address):
    with socket.create_connection(address) as control:
        config = json.dumps({"name": "EVENTS", "subjects": ["events.*"], "storage": "file", "duplicate_window": 120_000_000_000})
        control.sendall(b"CONNECT {\"verbose\":false}\r\nSUB made 1\r\n")
        control.sendall(f"PUB $JS.API.STREAM.CREATE.EVENTS made {len(config)}\r\n{config}\r\n".encode())
        got = b""
        while b"stream_create_response" not in got:
            got += control.recv(65_536)
        if b'"error"' in got:
            sys.exit(f"no stream: {got}")


def nats(folder, events, size, clients, sync):
    ports = wait_for("nats-server", lambda: glob.glob(f"{folder}/*.ports"))[0]
    url = wait_for("its port", lambda: json.loads(open(ports, encoding="utf-8").read() or "{}").get("nats"))[0]
    host, port = url.removeprefix("nats://").rsplit(":", 1)
    address = ("127.0.0.1" if host in ("0.0.0.0", "[::]", "localhost") else host, int(port))
    make_stream(address)
    publishers = [Publisher(address, number, events // clients, size) for number in range(clients)]
    chooser = selectors.DefaultSelector()
    begin = time.monotonic()
    for one in publishers:
        chooser.register(one.socket, one.wants(), one)
    while not all(one.done for one in publishers):
        for key, mask in chooser.select(60) or sys.exit("nats-server does not answer"):
            if mask & selectors.EVENT_READ:
                key.data.read()
            if mask & selectors.EVENT_WRITE:
                key.data.write()
            chooser.modify(key.fileobj, key.data.wants(), key.data)
    seconds = time.monotonic() - begin
    report(f"NATS JetStream, sync_interval {sync}", sum(one.acked for one in publishers), seconds, bytes=size, clients=clients)


def main(kind, *rest):
    number = lambda text: int(text) if text.isdigit() else text
    {"fdatasync": fdatasync, "postgres": postgres, "nats": nats}[kind](*map(number, rest))


main(*sys.argv[1:])
