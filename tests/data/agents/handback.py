"""A cooperative agent: it spends until it is told to wind down, hands back in one bounded turn, and stops.

Standard library only; run it under `meterd run`, which sets METERD_URL and METERD_EXECUTION.
"""

import json
import os
import sys
import threading
import urllib.request
from datetime import datetime, timezone

URL, RUN = os.environ["METERD_URL"], os.environ["METERD_EXECUTION"]
HERE = f"{URL}/v1/namespaces/{os.environ.get('METERD_NAMESPACE', 'default')}/executions/{RUN}"
winding = threading.Event()


def listen(ready):
    request = urllib.request.Request(f"{HERE}/signals", headers={"accept": "text/event-stream"})
    with urllib.request.urlopen(request) as stream:
        ready.set()
        name = ""
        for line in stream:
            field, _, value = line.decode().strip().partition(": ")
            if field == "event":
                name = value
            elif field == "data" and name == "wind_down":
                turn = json.loads(value)
                print("wind_down", turn["id"], turn["allowanceUsd"], flush=True)
                winding.set()


def call(number):
    event = {"id": f"call-{number}", "source": "handback", "time": datetime.now(timezone.utc).isoformat(),
             "execution": RUN, "agent": "handback", "kind": "model", "provider": "openai", "model": "gpt-4o",
             "usage": {"input_tokens": 1000, "output_tokens": 100}}
    request = urllib.request.Request(f"{URL}/v1/usage", json.dumps(event).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


ready = threading.Event()
threading.Thread(target=listen, args=(ready,), daemon=True).start()
ready.wait()
number = 0
while not winding.is_set() and number < int(sys.argv[1]):
    number += 1
    call(number)
    # The last call before the turn: wait for the word rather than spend on.
    if number == int(sys.argv[1]):
        winding.wait()
allowance = json.load(urllib.request.urlopen(f"{HERE}/allowance"))
print("allowance", allowance["decision"], allowance["remainingUsd"], flush=True)
call("hand-back")
print("handed back", flush=True)
if "stay" in sys.argv:
    threading.Event().wait()
