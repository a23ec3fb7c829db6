#!/usr/bin/env python3
"""Writes the Grafana dashboards from src/: `generate.py DIR` (this folder unless told). Needs grafana-foundation-sdk as
requirements.txt pins it. The JSON is committed; a test compares it with what this writes."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "src"))

from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: E402

import budgets, execution, fleet_cost, operations  # noqa: E402,E401

PAGES = {"fleet-cost": fleet_cost, "budgets": budgets, "execution": execution, "operations": operations}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        text = json.dumps(page.build().build(), cls=JSONEncoder, indent=2, sort_keys=True)
        (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
