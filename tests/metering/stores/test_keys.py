"""Generations of keys: opened, merged and dropped, while each key counts once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from metering.models import UsageKey, UsageKeyGeneration
from metering.services.usage_partitions import keep_keys
from metering.services.usage_proof import prove_usage
from metering.stores import EventRow, find_events, insert_events
from metering.stores.keys import Merge, drop_expired_keys, merge_keys, rotate_keys
from metering.stores.proof import ProofScope
from tests.factories.metering import AT, make_account, make_meter, make_row
from tests.faults.crashes import Crash, Statements, crash, watched
from tests.support.stored import hash_database
from tests.support.usage_storage import list_key_partitions, reset_generations, tampering

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _rotate_always(settings: Any) -> None:
    reset_generations()  # what other tests rolled back still takes room
    settings.BILLING_USAGE_KEYS_PER_GENERATION = 1


@pytest.fixture
def make_rows() -> Callable[..., list[EventRow]]:
    account, meter = make_account(), make_meter()

    def make(count: int = 2, **values: Any) -> list[EventRow]:
        return [make_row(account, meter, number, **values) for number in range(count)]

    return make


def close_generations(make_rows: Callable[..., list[EventRow]], count: int, at: Any = AT) -> list[EventRow]:
    """Fill and close some generations, and return the events whose keys they hold."""
    rows = []
    for _ in range(count):
        new = make_rows()
        assert insert_events(new, at=at) == [True, True]
        assert rotate_keys(at) is not None
        rows += new
    return rows


class TestRotateKeys:
    def test_opens_the_next_generation_and_knows_the_keys_of_the_last(self, make_rows: Any) -> None:
        rows = make_rows()
        insert_events(rows, at=AT)
        assert rotate_keys(AT) == 2
        assert list_key_partitions() == ["usage_keys_1", "usage_keys_2"]
        fresh = make_rows(1)
        assert insert_events([*rows, *fresh], at=AT) == [False, False, True]
        assert list(UsageKey.objects.order_by("generation").values_list("generation", flat=True)) == [1, 1, 2]
        moved = rows[0]._replace(timestamp=AT - 3 * DAY, recorded_at=AT + 30 * DAY)
        assert insert_events([moved], at=AT + 30 * DAY) == [False]
        assert find_events([row.claim for row in rows]) == {row.claim: row for row in rows}

    def test_a_key_is_free_again_after_the_look_back(self, make_rows: Any) -> None:
        rows = close_generations(make_rows, 1)
        late = AT + 35 * DAY
        assert insert_events([rows[0]], at=late - DAY) == [False]
        again = rows[0]._replace(recorded_at=late)
        assert insert_events([again], at=late) == [True]
        assert insert_events([again], at=late + 34 * DAY) == [False]

    def test_waits_until_the_open_one_is_large(self, make_rows: Any, settings: Any) -> None:
        settings.BILLING_USAGE_KEYS_PER_GENERATION = 2_000
        assert rotate_keys(AT) is None
        insert_events(make_rows(900), at=AT)
        # Eight pages of 120 keys: below the limit, but worth closing when it is a day old.
        assert rotate_keys(AT + DAY - timedelta(seconds=1)) is None
        assert rotate_keys(AT + DAY) == 2
        insert_events(make_rows(50), at=AT)
        assert rotate_keys(AT + 9 * DAY) is None
        insert_events(make_rows(2_000), at=AT)
        assert rotate_keys(AT + DAY) == 3
        [first, second, _] = UsageKeyGeneration.objects.all()
        assert (first.keys, second.keys) == (8 * 120, 18 * 120)

    def test_an_empty_one_stays_open(self) -> None:
        assert rotate_keys(AT) is None
        assert rotate_keys(AT + 9 * DAY) is None


class TestMergeKeys:
    def test_makes_one_of_four_and_knows_every_key(self, make_rows: Any) -> None:
        rows = close_generations(make_rows, 4)
        assert merge_keys(AT) == Merge((1, 2, 3, 4), 6, 8)
        assert list_key_partitions() == ["usage_keys_5", "usage_keys_6"]
        assert insert_events(rows, at=AT + 34 * DAY) == [False] * 8
        assert insert_events([row._replace(recorded_at=AT + 35 * DAY) for row in rows[:1]], at=AT + 35 * DAY) == [True]
        assert prove_usage(ProofScope(at=AT)).count == 0

    def test_three_are_left_alone(self, make_rows: Any) -> None:
        close_generations(make_rows, 3)
        assert merge_keys(AT) is None

    def test_leaves_out_what_is_not_known_any_more(self, make_rows: Any) -> None:
        old, new = close_generations(make_rows, 2), close_generations(make_rows, 2, at=AT + 20 * DAY)
        assert merge_keys(AT + 35 * DAY) == Merge((1, 2, 3, 4), 6, 4)
        kept = set(UsageKey.objects.values_list("id", flat=True))
        assert kept == {row.id for row in new}
        again = [row._replace(recorded_at=AT + 35 * DAY) for row in old]
        assert insert_events(again, at=AT + 35 * DAY) == [True] * 4

    def test_goes_on_with_merged_ones(self, make_rows: Any) -> None:
        rows = []
        for _ in range(16):
            rows += close_generations(make_rows, 1)
            merge_keys(AT)
        assert merge_keys(AT) == Merge((6, 11, 16, 21), 22, 32)
        assert UsageKeyGeneration.objects.filter(is_open=False).count() == 1
        assert insert_events(rows, at=AT) == [False] * 32

    def test_the_merged_partition_is_like_the_others(self, make_rows: Any) -> None:
        close_generations(make_rows, 4)
        merge_keys(AT)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT array_agg(pg_get_constraintdef(oid) ORDER BY 1) FROM pg_constraint "
                "WHERE conrelid IN ('usage_keys_5'::regclass, 'usage_keys_6'::regclass) GROUP BY conrelid"
            )
            assert {tuple(found) for (found,) in cursor.fetchall()} == {("PRIMARY KEY (id, generation)",)}


class TestDropExpiredKeys:
    def test_drops_only_what_nobody_can_repeat_any_more(self, make_rows: Any) -> None:
        close_generations(make_rows, 1)
        close_generations(make_rows, 1, at=AT + 5 * DAY)
        assert drop_expired_keys(AT + 34 * DAY) == []
        assert drop_expired_keys(AT + 35 * DAY) == [1]
        assert drop_expired_keys(AT + 40 * DAY) == [2]
        assert list_key_partitions() == ["usage_keys_3"]

    def test_keeps_one_with_a_key_of_later_dates(self, make_rows: Any) -> None:
        insert_events(make_rows(), at=AT + 300 * DAY)  # an account on a clock of its own
        rotate_keys(AT)
        assert drop_expired_keys(AT + 35 * DAY) == []


class TestKeepKeys:
    def test_does_what_is_due_and_says_so(self, make_rows: Any) -> None:
        close_generations(make_rows, 3)
        insert_events(make_rows(), at=AT)
        assert keep_keys(at=AT) == "opened 5; merged [1, 2, 3, 4] into 6: 8 keys"
        assert keep_keys(at=AT) == ""
        assert keep_keys(at=AT + 35 * DAY) == "dropped [6]"


class TestProof:
    def test_names_a_key_that_two_generations_know(self, make_rows: Any) -> None:
        [row, _] = close_generations(make_rows, 1)
        with tampering() as cursor:
            cursor.execute(
                "INSERT INTO usage_keys SELECT id, 2, timestamp, recorded_on + 1 FROM usage_keys WHERE id = %s",
                [row.id],
            )
        proof = prove_usage(ProofScope(at=AT))
        assert [(each.kind, each.stored) for each in proof.first] == [("key", "a further key")]


@pytest.mark.parametrize("action", [rotate_keys, merge_keys, drop_expired_keys])
def test_a_crash_before_any_statement_leaves_all_as_it_was(action: Callable[[Any], Any], make_rows: Any) -> None:
    rows = close_generations(make_rows, 4)
    fresh = make_rows()
    insert_events(fresh, at=AT + 30 * DAY)
    at = AT + (35 if action is drop_expired_keys else 30) * DAY
    before, partitions = hash_database(), list_key_partitions()
    with transaction.atomic():
        with watched(Statements()) as statements:
            assert action(at)
        transaction.set_rollback(True)
    assert len(statements.sent) > 5
    for number in range(1, len(statements.sent) + 1):
        with pytest.raises(Crash), transaction.atomic(), watched(Statements(number, crash)):
            action(at)
        assert (hash_database(), list_key_partitions()) == (before, partitions), number
    assert insert_events([*rows, *fresh], at=AT + 30 * DAY) == [False] * 10
    assert action(at)
    assert list_key_partitions() != partitions
