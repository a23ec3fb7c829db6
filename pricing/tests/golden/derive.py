#!/usr/bin/env python3
"""Computes `expected` of each case in cases.json from its terms, with exact fractions. Independent of the Rust code."""

import json
import pathlib
from fractions import Fraction

SCALE = 10**18
PATH = pathlib.Path(__file__).parent / "cases.json"


def line(term):
    """`quantity * rate / per [* factor]` as a whole count of 10^-18 USD, rounded half to even."""
    product, *factors = term.split("/")
    value = Fraction(1)
    for factor in product.split("*"):
        value *= Fraction(factor.strip())
    if factors:
        per, *rest = factors[0].split("*")
        value /= Fraction(per.strip())
        for factor in rest:
            value *= Fraction(factor.strip())
    return round(value * SCALE)  # Python rounds a Fraction half to even


def text(scaled):
    whole, fraction = divmod(scaled, SCALE)
    digits = f"{fraction:018d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def main():
    cases = json.loads(PATH.read_text())
    for case in cases:
        if "terms" not in case:
            continue
        expected = text(sum(line(term) for term in case["terms"]))
        if case.get("expected") != expected:
            print(f"{case['name']}: {case.get('expected')} -> {expected}")
        case["expected"] = expected
    rows = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
    PATH.write_text(f"[\n{rows}\n]\n")


if __name__ == "__main__":
    main()
