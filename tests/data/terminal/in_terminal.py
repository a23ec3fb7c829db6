"""Runs a command in a terminal of its own, types a line, and passes on what the terminal shows and the exit code.

usage: in_terminal.py LINE COMMAND...
"""

import os
import pty
import sys

process, terminal = pty.fork()
if process == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
os.write(terminal, sys.argv[1].encode() + b"\n")
while True:
    try:
        shown = os.read(terminal, 4096)
    except OSError:  # how a closed terminal ends
        break
    if not shown:
        break
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
