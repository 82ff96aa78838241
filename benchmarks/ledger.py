"""
Posting to the ledger against plain inserts of the same rows into the same tables, in the same run.

    python benchmarks/ledger.py [--entries 400] [--repetitions 3] [--connections 1 4 16] [--budget 20]

Every unit is one entry with two postings in a transaction of its own, from cash to a prepaid balance. Per number of
connections:

- plain inserts    the rows alone by psycopg: no balances, no locks, no keys looked up; the tables' triggers do run
- one account      `post_entry`, every entry to the same account
- many accounts    `post_entry`, the entries spread over 256 accounts
- in chunks        `post_entries`, 100 entries of many accounts per transaction, as a billing run posts

The platform's cash account takes part in every entry, so transactions wait for each other at their end in all but the
first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import Variant, measure, print_results, private_database

if TYPE_CHECKING:
    from accounts.services.ledger import NewEntry

AT = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNTS = 256
CHUNK = 100
INSERT_ENTRY = (
    "INSERT INTO ledger_entries (id, key, type, account_id, description, tags, metadata, livemode, created_at) "
    "VALUES (%s, %s, 'deposit', %s, '', '', '{}', false, %s)"
)
INSERT_POSTING = (
    "INSERT INTO ledger_postings (id, entry_id, ledger_account_id, amount, currency) VALUES (%s, %s, %s, %s, 'usd')"
)


class Bench:
    """The world of the benchmark: accounts with their pots, and each way to post."""

    def __init__(self, url: str, *, entries: int, connections: int) -> None:
        from accounts.models import Account, LedgerAccount

        self.entries, self.connections = entries, connections
        self.accounts = [account.pk for account in Account.objects.order_by("id")]
        pots = LedgerAccount.objects.filter(currency="usd")
        self.cash: UUID = pots.get(kind="cash").pk
        self.prepaid = {pot.account_id: pot.pk for pot in pots.filter(kind="prepaid")}
        self.raw = [psycopg.connect(url) for _ in range(connections)]
        self.pool = ThreadPoolExecutor(connections)

    def close(self) -> None:
        from django.db import connection

        # Each thread of the pool closes its own connection of the product.
        list(self.pool.map(lambda _: connection.close(), range(self.connections)))
        self.pool.shutdown()
        for raw in self.raw:
            raw.close()

    def share(self, repetition: int, work: Callable[[int, int], None]) -> int:
        """Let each connection do its part of the entries with `work(worker, count)`; answers how many there were."""
        count = (self.entries if repetition else max(CHUNK, self.entries // 10)) // self.connections
        for done in [self.pool.submit(work, worker, count) for worker in range(self.connections)]:
            done.result()
        return count * self.connections

    def insert(self, repetition: int) -> int:
        return self.share(repetition, self._insert)

    def post_hot(self, repetition: int) -> int:
        return self.share(repetition, lambda _, count: self._post([self.accounts[0]] * count))

    def post_spread(self, repetition: int) -> int:
        return self.share(repetition, lambda worker, count: self._post(self._spread(worker, count)))

    def post_chunks(self, repetition: int) -> int:
        return self.share(repetition, self._post_chunks)

    def _spread(self, worker: int, count: int) -> list[UUID]:
        return [self.accounts[(worker * 37 + number) % ACCOUNTS] for number in range(count)]

    def _insert(self, worker: int, count: int) -> None:
        from billing_site.kernel.ids import new_uuid

        raw = self.raw[worker]
        for account in self._spread(worker, count):
            entry = new_uuid()
            with raw.transaction(), raw.cursor() as cursor:
                cursor.execute(INSERT_ENTRY, [entry, str(entry), account, AT])
                cursor.execute(INSERT_POSTING, [new_uuid(), entry, self.cash, 500])
                cursor.execute(INSERT_POSTING, [new_uuid(), entry, self.prepaid[account], -500])

    def _post(self, accounts: list[UUID]) -> None:
        from accounts.services.ledger import post_entries

        for account in accounts:
            post_entries([make_entry(account)])

    def _post_chunks(self, worker: int, count: int) -> None:
        from accounts.services.ledger import post_entries

        accounts = self._spread(worker, count)
        for start in range(0, count, CHUNK):
            post_entries([make_entry(account) for account in accounts[start : start + CHUNK]])


def make_entry(account: UUID) -> NewEntry:
    """Return 5.00 usd from cash to the prepaid balance of an account."""
    from accounts.services.ledger import NewEntry, PostingSpec
    from billing_site.kernel.ids import new_uuid

    return NewEntry(
        key=str(new_uuid()),
        type="deposit",
        account_id=account,
        postings=[PostingSpec("cash", None, "usd", 500), PostingSpec("prepaid", account, "usd", -500)],
        at=AT,
        livemode=False,
    )


def make_world() -> None:
    """Make the accounts and open their pots."""
    from accounts.models import Account
    from accounts.services.ledger import post_entries

    accounts = [Account(name=f"Bench {number}", external_id=f"bench-{number}") for number in range(ACCOUNTS)]
    Account.objects.bulk_create(accounts)
    post_entries([make_entry(account.pk) for account in accounts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=400, help="entries per repetition and variant")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--budget", type=float, default=20, help="seconds per number of connections")
    arguments = parser.parse_args()
    with private_database() as url:
        make_world()
        for connections in arguments.connections:
            bench = Bench(url, entries=arguments.entries, connections=connections)
            variants = [
                Variant("plain inserts", bench.insert),
                Variant("one account", bench.post_hot),
                Variant("many accounts", bench.post_spread),
                Variant("in chunks", bench.post_chunks),
            ]
            try:
                measure(variants, repetitions=arguments.repetitions, budget=arguments.budget)
            finally:
                bench.close()
            title = f"{connections} connection{'' if connections == 1 else 's'}"
            print_results(title, variants, unit="entries", baseline="plain inserts")


if __name__ == "__main__":
    main()
