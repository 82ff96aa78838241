"""
Computations per second of the pricing engine, per model, against the arithmetic alone.

The baseline is the least any implementation must do for a graduated price of three tiers: three multiplications and
additions of Decimals at the engine's precision, in a plain loop. Needs no database.

    python benchmarks/pricing.py [--computations 20000] [--repetitions 5] [--budget 30]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.harness import Variant, measure, print_results  # noqa: E402
from billing_site.kernel.money import EXACT  # noqa: E402
from catalog.documents.normalising import read_price_options  # noqa: E402
from catalog.pricing.engine import price_usage  # noqa: E402
from catalog.pricing.terms import PriceTerms  # noqa: E402
from catalog.pricing.usage import EventGroup, Usage, UsageGroup  # noqa: E402

TIERS = [{"up_to": 1000, "unit_amount": "1"}, {"up_to": 10_000, "unit_amount": "0.8"}, {"unit_amount": "0.5"}]
MANY_TIERS = [*({"up_to": number * 1000, "unit_amount": "0.5"} for number in range(1, 50)), {"unit_amount": "0.1"}]
STEPS = [{"up_to": 1000, "flat_amount": 500}, {"up_to": 10_000, "flat_amount": 900}, {"flat_amount": 2000}]
SHARES = [{"up_to": 1000, "percent": "2.9"}, {"up_to": 10_000, "percent": "2.5"}, {"percent": "1.5"}]
VARIANTS = [{"when": {"model": name}, "unit_amount": "0.5"} for name in "abcde"]
PRICES: dict[str, dict[str, Any]] = {
    "graduated": {"tiers": TIERS},
    "graduated, 50 tiers": {"tiers": MANY_TIERS},
    "volume": {"tiers": TIERS},
    "stairstep": {"tiers": STEPS},
    "graduated_percentage": {"tiers": SHARES},
    "per_unit": {"unit_amount": "0.5"},
    "per_unit, free and bounded": {
        "unit_amount": "0.5",
        "free_quantity": 100,
        "minimum_amount": 1,
        "maximum_amount": 10**9,
    },
    "per_unit, 5 variants": {"unit_amount": "0.5", "variants": VARIANTS},
    "package": {"unit_amount": 500, "package_size": 100, "free_quantity": 100},
    "percentage": {"percent": "1.2"},
    "percentage, 10 events": {"percent": "1.2", "fixed_amount": 10, "free_events": 3, "event_maximum": 500},
    "dynamic, 10 events": {},
}


def make_price(name: str) -> PriceTerms:
    terms = PRICES[name]
    return PriceTerms(
        price_id="price_0",
        model=name.partition(",")[0],
        currency="usd",
        unit_amount=Decimal(str(terms.get("unit_amount", 0))),
        meter="calls",
        unit="calls",
        interval="month",
        interval_count=1,
        billing_timing="arrears",
        lookup_key="pro:usd:month:calls",
        options=read_price_options(terms),
    )


def make_usages(name: str) -> list[Usage]:
    """A hundred readings between 0 and 50,000, so that nothing is computed twice in a row."""
    usages = []
    for number in range(100):
        quantity = Decimal(number * 497 % 50_000) + Decimal("0.25")
        if "events" in name:
            events = tuple(EventGroup(quantity + each, 1, Decimal(each)) for each in range(10))
            usages.append(Usage(sum((event.value for event in events), Decimal(0)), events))
        elif "variants" in name:
            groups = tuple(UsageGroup((("model", each),), quantity) for each in "abcdef")
            usages.append(Usage(6 * quantity, groups=groups))
        else:
            usages.append(Usage(quantity))
    return usages


def make_engine_run(name: str, computations: int) -> Callable[[int], int]:
    price, usages = make_price(name), make_usages(name)

    def run(_repetition: int) -> int:
        rounds = max(1, computations // len(usages))
        for _ in range(rounds):
            for usage in usages:
                price_usage(price, usage)
        return rounds * len(usages)

    return run


def make_plain_run(computations: int) -> Callable[[int], int]:
    first, second, third = Decimal("1"), Decimal("0.8"), Decimal("0.5")
    quantities = [usage.quantity for usage in make_usages("graduated")]

    def run(_repetition: int) -> int:
        rounds = max(1, computations // len(quantities))
        with localcontext(EXACT):
            for _ in range(rounds):
                for quantity in quantities:
                    total = quantity * first
                    total += quantity * second
                    total += quantity * third
        return rounds * len(quantities)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0] if __doc__ else "")
    parser.add_argument("--computations", type=int, default=20_000, help="per model and repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--budget", type=float, default=30.0, help="seconds for the measured part")
    options = parser.parse_args()
    baseline = Variant("three multiply-adds", make_plain_run(options.computations))
    engine = [Variant(name, make_engine_run(name, options.computations)) for name in PRICES]
    measure([baseline, *engine], repetitions=options.repetitions, budget=options.budget)
    print_results("Pricing", [baseline, *engine], unit="computations", baseline=baseline.name)


if __name__ == "__main__":
    main()
