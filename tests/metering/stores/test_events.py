"""Writing events and claiming their keys."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from metering.models import UsageEvent
from metering.stores import EventRow, find_events, insert_events, list_events
from tests.factories.metering import AT, make_account, make_meter, make_row


def run_in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls at the same moment, each on its own connection, and return what they returned or raised."""
    results: list[Any] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def work(position: int, call: Callable[[], Any]) -> None:
        try:
            barrier.wait(timeout=20)
            results[position] = call()
        except BaseException as error:
            results[position] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(position, call)) for position, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


@pytest.mark.django_db
class TestInsertEvents:
    def test_writes_everything_as_it_came(self) -> None:
        row = make_row(
            make_account(),
            make_meter(),
            "12345678901234567890123456.123456789012",
            idempotency_key='with "quotes", \\back\\slashes, {braces}, NULL and ünïcödé 🧾',
            resource_id="NULL",
            resource_type="",
            actor_id="a,b",
            dimensions={"model": 'x"y\\'},
            metadata={"nested": {"list": [1, 2.5, None, "ü"]}},
        )
        assert insert_events([row]) == [True]
        assert find_events([row.claim]) == {row.claim: row}

    def test_tells_which_keys_were_free_in_order(self) -> None:
        account, meter = make_account(), make_meter()
        rows = [make_row(account, meter, number, idempotency_key=f"k{number}") for number in (3, 1, 2)]
        assert insert_events(rows[:1]) == [True]
        again = [row._replace(value=Decimal(99)) for row in rows]
        assert insert_events([again[1], again[0], again[2]]) == [True, False, True]
        assert sorted(UsageEvent.objects.values_list("value", flat=True)) == [3, 99, 99]

    def test_writes_one_of_two_with_the_same_key(self) -> None:
        account, meter = make_account(), make_meter()
        rows = [make_row(account, meter, idempotency_key="same") for _ in range(2)]
        assert insert_events(rows) == [True, False]

    def test_keys_are_counted_per_account_and_meter(self) -> None:
        accounts, meters = [make_account(), make_account()], [make_meter("a"), make_meter("b")]
        rows = [make_row(account, meter, idempotency_key="k") for account in accounts for meter in meters]
        assert insert_events(rows) == [True] * 4

    @pytest.mark.parametrize("count", [1, 1000])
    def test_takes_two_statements(self, count: int) -> None:
        account, meter = make_account(), make_meter()
        rows = [make_row(account, meter) for _ in range(count)]
        with CaptureQueriesContext(connection) as queries:
            assert all(insert_events(rows))
        assert len(queries) == 2  # lock, insert

    def test_known_keys_of_many_accounts_are_found(self) -> None:
        meter = make_meter()
        rows = [make_row(make_account(), meter, idempotency_key="same") for _ in range(203)]
        insert_events(rows)
        unknown = rows[0]._replace(idempotency_key="unknown")
        assert find_events([row.claim for row in (*rows, unknown)]) == {row.claim: row for row in rows}

    def test_nothing_is_nothing(self) -> None:
        assert insert_events([]) == []
        assert find_events([]) == {}


@pytest.mark.django_db(transaction=True)
class TestParallelInserts:
    def test_each_key_is_written_once(self) -> None:
        account, meter = make_account(), make_meter()

        def send(order: int) -> Callable[[], list[bool]]:
            rows = [make_row(account, meter, number, idempotency_key=f"k{number}") for number in range(300)]
            return lambda: insert_events(rows[::order])

        answers = run_in_threads(send(1), send(-1), send(1), send(-1))
        assert [len(answer) for answer in answers] == [300] * 4, answers
        assert sum(sum(answer) for answer in answers) == 300
        assert UsageEvent.objects.count() == 300

    def test_a_key_that_is_rolled_back_is_free_again(self) -> None:
        from django.db import transaction

        account, meter = make_account(), make_meter()
        row = make_row(account, meter, idempotency_key="k")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            insert_events([row])
            raise ZeroDivisionError
        assert insert_events([row]) == [True]


@pytest.mark.django_db
class TestListEvents:
    def test_is_half_open_and_newest_first(self) -> None:
        account, meter = make_account(), make_meter()
        rows = [make_row(account, meter, timestamp=AT.replace(hour=hour)) for hour in (10, 11, 12)]
        insert_events([*rows, make_row(make_account(), meter)])
        found = list_events(account_id=account.id, start=rows[0].timestamp, end=rows[2].timestamp)
        assert [event.id for event in found] == [rows[1].id, rows[0].id]

    def test_orders_equal_times_by_id(self) -> None:
        account, meter = make_account(), make_meter()
        rows: list[EventRow] = [make_row(account, meter) for _ in range(3)]
        insert_events(rows)
        found = list_events(account_id=account.id, meter_ids=[meter.id])
        assert [event.id for event in found] == sorted((row.id for row in rows), reverse=True)
