"""A worker that registers over meterd's Unix socket and then works until it is stopped. Standard library only.

worker.py SOCKET EXECUTION [ignore] [fork] [daemonize] [shared] [group|tree]

It prints `ready PID`, and `child PID` for what it forked. `ignore`: it ignores SIGTERM, and so do its children.
"""

import http.client
import json
import os
import signal
import socket
import sys


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("meterd")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


def put(connection, path, body):
    connection.request("PUT", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status >= 300:
        sys.exit(f"{path}: {answer.status} {text}")
    return json.loads(text)


def main():
    path, names, *words = sys.argv[1:]
    if "ignore" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "leader" in words:
        os.setpgid(0, 0)
    if "fork" in words:
        child = os.fork()
        if child == 0:
            signal.pause()
        print("child", child, flush=True)
    connection = Connection(path)
    for name in names.split(","):
        run = f"/v1/namespaces/default/executions/{name}"
        put(connection, run, {})
        body = {"shared": "shared" in words}
        registered = put(connection, f"{run}/process", body)
        assert registered["pid"] == os.getpid(), registered
    print("ready", os.getpid(), flush=True)
    while True:
        signal.pause()


main()
