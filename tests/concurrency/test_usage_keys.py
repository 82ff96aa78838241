"""Writers beside the upkeep of keys and days: no key counts twice, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from metering.models import UsageEvent, UsageKeyGeneration
from metering.services.usage_partitions import keep_keys, keep_partitions
from metering.services.usage_proof import prove_usage
from metering.stores import insert_events
from metering.stores.brief_locks import StorageBusy
from metering.stores.keys import merge_keys, rotate_keys
from metering.stores.proof import ProofScope
from metering.stores.writing import KEYS_LOCK
from tests.factories.metering import AT, make_account, make_meter, make_row
from tests.support.parallel import race
from tests.support.processes import database_url
from tests.support.usage_storage import drop_day_partitions, list_key_partitions, reset_generations

pytestmark = pytest.mark.django_db(transaction=True)
WRITERS, BATCHES, SIZE, KEYS = 5, 24, 20, 300


@pytest.fixture(autouse=True)
def _leave_clean(settings: Any) -> Iterator[None]:
    settings.BILLING_USAGE_KEYS_PER_GENERATION = 1
    yield
    reset_generations()
    drop_day_partitions()


def test_a_key_counts_once_while_generations_rotate_and_merge() -> None:
    account, meter = make_account(), make_meter()
    written: list[str] = []
    running = [True] * WRITERS

    def write(number: int) -> None:
        chance = random.Random(number)
        try:
            for _ in range(BATCHES):
                rows = [
                    make_row(
                        account, meter, 1, idempotency_key=f"k{key}", timestamp=AT - timedelta(days=chance.randrange(3))
                    )
                    for key in chance.sample(range(KEYS), SIZE)
                ]
                new = insert_events(rows, at=AT)
                written.extend(row.idempotency_key for row, is_new in zip(rows, new, strict=True) if is_new)
        finally:
            running[number] = False

    def tend() -> int:
        done = 0
        while any(running):
            keep_partitions(at=AT)
            done += "opened" in keep_keys(at=AT)
        return done

    ends = race(*[lambda number=number: write(number) for number in range(WRITERS)], tend)
    assert ends[-1] >= 1, "no generation was opened meanwhile"
    assert len(written) == len(set(written)) == UsageEvent.objects.count()
    while keep_keys(at=AT):
        pass
    assert insert_events([make_row(account, meter, 1, idempotency_key=key) for key in written], at=AT) == [False] * len(
        written
    )
    assert prove_usage(ProofScope(at=AT)).first == []


class TestGivingWay:
    def fill(self, generations: int) -> None:
        account, meter = make_account(), make_meter()
        for _ in range(generations):
            insert_events([make_row(account, meter)], at=AT)
            rotate_keys(AT)
        insert_events([make_row(account, meter)], at=AT)

    def test_rotation_gives_way_to_a_writer(self) -> None:
        self.fill(1)
        with psycopg.connect(database_url()) as writer:
            writer.execute("SELECT pg_advisory_xact_lock_shared(%s)", [KEYS_LOCK])
            with pytest.raises(StorageBusy):
                rotate_keys(AT)
            assert keep_keys(at=AT).startswith("waiting")
        assert list_key_partitions() == ["usage_keys_1", "usage_keys_2"]
        assert rotate_keys(AT) == 3

    def test_merging_gives_way_to_a_reader(self) -> None:
        self.fill(4)
        with psycopg.connect(database_url()) as reader:
            reader.execute("SELECT count(*) FROM usage_keys")
            with pytest.raises(StorageBusy):
                merge_keys(AT)
        assert UsageKeyGeneration.objects.count() == 5
        assert merge_keys(AT) is not None
