"""Producers and collectors of the usage feed at the same moment."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from threading import Event as Signal

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from accounts.models import Account
from billing_site.kernel import locks
from billing_site.kernel.actors import SYSTEM
from metering.models import UsageEvent, UsageFeedEvent
from metering.rating.export_rules import DEFAULT_RULES
from metering.services.usage_feed import (
    FeedPage,
    NewFeedEvent,
    RecordedFeedEvent,
    delete_page,
    read_page,
    record_feed_event,
)
from tests.factories.metering import AT, make_account, make_meter
from tests.support.parallel import PATIENCE, race
from tests.support.processes import database_url

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = AT - timedelta(minutes=1)


def tell(event_id: str, occurred_at: datetime, account: Account | None = None) -> RecordedFeedEvent:
    new = NewFeedEvent(
        event_type="usage_recorded",
        org_id="default",
        account=account,
        event_id=event_id,
        occurred_at=occurred_at,
        data={"tokens": 5},
        numbers={"tokens": 5},
    )
    return record_feed_event(new=new, rules=DEFAULT_RULES, at=AT, actor=SYSTEM)


def read() -> FeedPage:
    return read_page(caller="c", org_id=None, before=BEFORE, page=1, page_size=100, at=AT)


def drop() -> int:
    return delete_page(caller="c", org_id=None, before=BEFORE, page=1, page_size=100, at=AT)


def wait_for_a_waiter() -> None:
    """Return when somebody waits for an advisory lock."""
    deadline = time.monotonic() + PATIENCE
    with psycopg.connect(database_url(), autocommit=True) as other:
        while not other.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone():
            assert time.monotonic() < deadline, "nobody waits"
            time.sleep(0.005)


def test_a_page_waits_for_an_event_that_is_on_its_way_and_holds_it() -> None:
    tell("there", AT - timedelta(minutes=5))
    is_told, may_end = Signal(), Signal()

    def produce() -> None:
        try:
            with transaction.atomic():
                tell("early", AT - timedelta(minutes=9))
                is_told.set()
                assert may_end.wait(PATIENCE)
        finally:
            connection.close()

    def collect() -> list[str]:
        try:
            return [event.event_id for event in read().events]
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        producing = pool.submit(produce)
        assert is_told.wait(PATIENCE)
        collecting = pool.submit(collect)
        wait_for_a_waiter()
        may_end.set()
        producing.result(PATIENCE)
        assert collecting.result(PATIENCE) == ["early", "there"]
    assert drop() == 2


def test_a_page_does_not_wait_for_ever() -> None:
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT pg_advisory_xact_lock_shared(%s)", [locks.lock_key("usage-feed")])
        with pytest.raises(OperationalError), transaction.atomic():
            locks.wait_for_sharers("usage-feed", seconds=1)


def test_what_is_collected_while_many_produce_is_everything_once() -> None:
    collected: list[str] = []

    def collect() -> None:
        for _ in range(30):
            page = read()
            collected.extend(event.event_id for event in page.events)
            assert drop() == len(page.events)

    def produce(worker: int) -> None:
        for number in range(25):
            # Later events have earlier times, so that each comes before what was read already.
            tell(f"{worker}-{number}", BEFORE - timedelta(minutes=number + 1))

    race(collect, *[partial(produce, worker) for worker in range(5)], connections=6)
    collect()
    assert sorted(collected) == sorted(f"{worker}-{number}" for worker in range(5) for number in range(25))


def test_an_event_told_by_many_at_once_is_kept_and_counted_once() -> None:
    account = make_account()
    make_meter("llm_tokens")
    told = race(*[partial(tell, "e1", BEFORE, account)] * 12, connections=12)
    assert sum(each.created for each in told) == 1
    assert {each.event.pk for each in told} == {UsageFeedEvent.objects.get().pk}
    assert [int(value) for value in UsageEvent.objects.values_list("value", flat=True)] == [5]


def test_a_page_dropped_by_two_at_once_is_dropped_once() -> None:
    for number in range(20):
        tell(f"e{number}", AT - timedelta(minutes=5))
    read()
    assert sum(race(drop, drop, connections=2)) == 20
