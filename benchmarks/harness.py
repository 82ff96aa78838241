"""
What all benchmarks share: a database of their own, fair repetition, medians and ratios.

Numbers of two machines do not compare; ratios within one run do. Each variant is therefore measured several times in
turn with the others (A B C, A B C, …) and the medians are compared.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent


def find_server_url() -> str:
    """Return the PostgreSQL server to use: the product's own variables, else the local one."""
    for name in ("BILLING_DATABASE_URL", "DATABASE_URL"):
        if value := os.environ.get(name):
            return value
    return "postgres://postgres@127.0.0.1:5432/postgres"


@contextmanager
def private_database(url: str | None = None) -> Iterator[str]:
    """
    Make an empty, migrated database beside the one in `url`, set Django up for it, and drop it at the end.

    Yields the address of the new database.
    """
    parts = urlsplit(url or find_server_url())
    name = f"countinghouse_benchmark_{os.getpid()}"
    own_url = urlunsplit(parts._replace(path=f"/{name}"))
    server = urlunsplit(parts._replace(path=parts.path if len(parts.path) > 1 else "/postgres"))
    with psycopg.connect(_maintenance_url(server), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            set_up_django(own_url)
            yield own_url
        finally:
            _close_django()
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def set_up_django(url: str, *, migrate: bool = True) -> None:
    """Configure the product for the database at `url`, without debugging aids, and migrate it unless told otherwise."""
    sys.path.insert(0, str(ROOT))
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        "BILLING_DATABASE_URL": url,
        "BILLING_SECRET_KEY": "a-key-for-benchmarks-only-" + "0" * 30,
        "BILLING_ALLOWED_HOSTS": "localhost",
        "BILLING_INSECURE_HTTP": "true",
        "BILLING_DEBUG": "false",
        "BILLING_TESTING": "false",
        "BILLING_LIVEMODE": "false",
        "BILLING_JWT_KEYS": "",
        "BILLING_JWT_SECRET": "a-secret-for-benchmarks-with-more-than-32-bytes",
        "BILLING_LOG_LEVEL": "warning",
    }
    import django
    from django.core.management import call_command

    django.setup()
    if migrate:
        call_command("migrate", verbosity=0, interactive=False)


def _maintenance_url(url: str) -> str:
    """The named database may not exist yet; `postgres` always does."""
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return urlunsplit(urlsplit(url)._replace(path="/postgres"))
    return url


def _close_django() -> None:
    from django.db import connections

    connections.close_all()


@dataclass(slots=True)
class Variant:
    """One way of doing the same work. `run(repetition)` does it once and returns how many units it did."""

    name: str
    run: Callable[[int], int]
    rates: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Units per second."""
        return statistics.median(self.rates)


def measure(variants: Sequence[Variant], *, repetitions: int, budget: float) -> None:
    """
    Run the variants in turn, `repetitions` times after an unmeasured round (repetition 0, which may be smaller).

    A round begins only if it should end within `budget` seconds, judged by the one before; the first always does.
    """
    begun = time.perf_counter()
    for variant in variants:
        variant.run(0)
    for repetition in range(1, repetitions + 1):
        round_begun = time.perf_counter()
        for variant in variants:
            started = time.perf_counter()
            units = variant.run(repetition)
            variant.rates.append(units / (time.perf_counter() - started))
        now = time.perf_counter()
        if now - begun + now - round_begun > budget:
            break


def print_results(title: str, variants: Sequence[Variant], *, unit: str, baseline: str) -> None:
    """Print medians with their spread, and the ratio of each to the variant named `baseline`."""
    base = next(variant for variant in variants if variant.name == baseline).median
    print(f"\n{title} (median of {min(len(variant.rates) for variant in variants)}, spread min to max)")
    width = max(len(variant.name) for variant in variants)
    for variant in variants:
        spread = f"{min(variant.rates):,.0f} to {max(variant.rates):,.0f}"
        print(f"  {variant.name:{width}}  {variant.median:12,.0f} {unit}/s   {variant.median / base:6.3f} x   {spread}")
    print(f"  ratios to: {baseline}")
