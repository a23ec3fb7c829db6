"""An agent for the tests: posts model calls to meterd and keeps count of what was acknowledged.

usage: agent.py CALLS THEN [CODE]
  CALLS  how many calls to post
  THEN   exit CODE, wait (until killed), ignore (SIGTERM; until SIGKILL)
Each call is 10,000 output tokens of gpt-4o-mini: 10,000 x 0.60 USD a million = 0.006 USD.
Writes to standard output, with the time in seconds: `post N TIME` before each call, `done N TIME` when it was acknowledged.
"""

import datetime
import json
import os
import signal
import sys
import time
import urllib.request

calls, then = int(sys.argv[1]), sys.argv[2]
url = os.environ["METERD_URL"] + "/v1/usage"
execution = os.environ["JOCH_EXECUTION_ID"]

if then == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

for number in range(1, calls + 1):
    event = {
        "id": f"{execution}-{number}",
        "source": "agent.py",
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z"),
        "execution": execution,
        "kind": "model",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "usage": {"input_tokens": 0, "output_tokens": 10000},
    }
    print("post", number, time.time(), flush=True)
    request = urllib.request.Request(
        url, data=json.dumps(event).encode(), headers={"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        result = json.load(answer)["results"][0]
    if result["status"] != "accepted":
        sys.exit(f"not accepted: {result}")
    print("done", number, time.time(), flush=True)

if then == "exit":
    sys.exit(int(sys.argv[3]))
while True:
    signal.pause()
