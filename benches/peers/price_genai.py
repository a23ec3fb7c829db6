"""Prices the rows of a corpus with genai-prices, over and over on one core, and prints what `meterd bench price` prints.

Rows are decoded before the clock starts: only `calc_price` is timed. Usage: price_genai.py ROWS [SECONDS]
"""

import importlib.metadata
import json
import sys
import time
from datetime import datetime

from genai_prices import Usage, calc_price


def read(path):
    """Each row as the arguments of one call."""
    calls = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            usage = Usage(**{name: float(amount) if isinstance(amount, str) else amount for name, amount in row["usage"].items()})
            at = datetime.fromisoformat(row["timestamp"].replace("Z", "+00:00"))
            calls.append((usage, row["model"], row["provider"], at, row.get("context")))
    return calls


def price(call):
    usage, model, provider, at, context = call
    return calc_price(usage, model, provider_id=provider, genai_request_timestamp=at, price_context=context)


def main():
    path, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    # What the library itself refuses is left out of its figures, as it costs it less than a price.
    calls = []
    for call in read(path):
        try:
            price(call)
        except Exception:
            continue
        calls.append(call)
    if not calls:
        sys.exit("no row that genai-prices can price")
    events = 0
    wall, core = time.perf_counter(), time.thread_time()
    while time.perf_counter() - wall < seconds:
        for call in calls:
            price(call)
        events += len(calls)
    wall, core = time.perf_counter() - wall, time.thread_time() - core
    figures = {
        "events_per_second_core": round(events / core),
        "ns_per_event": round(core / events * 1e9, 1),
        "events_per_second_wall": round(events / wall),
        "events": events,
    }
    version = importlib.metadata.version("genai-prices")
    settings = {"rows_priced": len(calls), "threads": 1, "version": version, "python": sys.version.split()[0]}
    print(json.dumps({"bench": "price", "figures": figures, "settings": settings}))


if __name__ == "__main__":
    main()
