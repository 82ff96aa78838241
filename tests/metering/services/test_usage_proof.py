"""The proof of usage: finds nothing where nothing is wrong, and names everything that is."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from billing_site.platform.models import Event
from catalog.models import Meter
from metering.models import UsageCounter, UsageRollup
from metering.services.usage_partitions import keep_partitions
from metering.services.usage_proof import check_usage, prove_usage, repair_usage
from metering.stores import EventRow, insert_events, insert_voiding, make_voiding, project_dimensions
from metering.stores.proof import Difference, ProofScope
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter, make_row
from tests.support.usage_storage import tampering

HOUR = AT.replace(minute=0, second=0, microsecond=0)
DAY = HOUR.replace(hour=0)
AGGREGATIONS = ("sum", "count", "max", "last", "unique")
SCOPE = ProofScope(at=AT)


def prove(scope: ProofScope = SCOPE) -> list[Difference]:
    found: list[Difference] = []
    proof = prove_usage(scope, tell=found.append)
    assert proof.count == len(found)
    return found


def store(account: Account, meter: Meter, value: str | int = 1, **values: Any) -> EventRow:
    dimensions = values.get("dimensions", {})
    row = make_row(account, meter, value, rolled_dimensions=project_dimensions(meter.dimensions, dimensions), **values)
    assert insert_events([row], at=AT) == [True]
    return row


def kinds(found: list[Difference]) -> set[tuple[str, str]]:
    return {(difference.kind, difference.span) for difference in found}


def change(statement: str, *values: Any) -> None:
    with tampering() as cursor:
        cursor.execute(statement, values)
        assert cursor.rowcount > 0, "nothing was tampered with"


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def meter(account: Account) -> Meter:
    """A meter with usage in two months, one event of three in the day of AT voided."""
    meter = make_meter(dimensions=["model"])
    rows = [store(account, meter, value, dimensions={"model": "a", "more": 1}) for value in (5, 7, 100)]
    store(account, meter, 11, timestamp=AT - timedelta(days=20))
    insert_voiding(make_voiding(rows[2], declared=["model"], recorded_at=AT), aggregation="sum", at=AT)
    return meter


Tamper = tuple[str, set[tuple[str, str]]]
# Statement and what must be named. AT is a Sunday: 15 March 2026.
TAMPERED: dict[str, Tamper] = {
    "an hour of a roll-up": (
        "UPDATE usage_rollups SET total = total + 1 WHERE span = 'hour' AND total = 12",
        {("rollup", "hour")},
    ),
    "a day of a roll-up": ("DELETE FROM usage_rollups WHERE span = 'day' AND total = 12", {("rollup", "day")}),
    "dimensions of a roll-up": (
        """UPDATE usage_rollups SET dimensions = '{"model": "b"}' WHERE span = 'hour' AND total = 12""",
        {("rollup", "hour")},
    ),
    "the hash of dimensions": (
        "UPDATE usage_rollups SET dimension_set = md5('x')::uuid WHERE span = 'day' AND total = 12",
        {("rollup", "day")},
    ),
    "the center of a roll-up": (
        "UPDATE usage_rollups SET cost_center_id = md5('x')::uuid WHERE span = 'day' AND total = 12",
        {("rollup", "day")},
    ),
    "charged in a roll-up": (
        "UPDATE usage_rollups SET charged = true WHERE span = 'day' AND total = 12",
        {("rollup", "day")},
    ),
    "a roll-up without events": (
        "UPDATE usage_rollups SET starts_at = starts_at - interval '7 months' WHERE span = 'day' AND total = 12",
        {("rollup", "day")},
    ),
    "an hour counter": (
        "UPDATE usage_counters SET events = events + 1 WHERE span = 'hour' AND total = 12",
        {("counter", "hour")},
    ),
    "a day counter": ("DELETE FROM usage_counters WHERE span = 'day' AND total = 12", {("counter", "day")}),
    "a week counter": (
        "UPDATE usage_counters SET total = 13 WHERE span = 'week' AND total = 12",
        {("counter", "week")},
    ),
    "a month counter": ("DELETE FROM usage_counters WHERE span = 'month' AND total = 12", {("counter", "month")}),
    "the total": ("UPDATE usage_counters SET events = 9 WHERE span = 'total'", {("counter", "total")}),
    "a day and its month alike": (
        "UPDATE usage_counters SET total = total + 4 WHERE total IN (12, 23)",
        {("counter", span) for span in ("hour", "day", "week", "month", "total")},
    ),
    "charged in a counter": (
        "UPDATE usage_counters SET charged_total = 3 WHERE span = 'week' AND total = 12",
        {("counter", "week")},
    ),
    "the newest event": (
        "UPDATE usage_counters SET last_event_at = last_event_at + interval '1 hour' WHERE span = 'day' AND total = 12",
        {("counter", "day")},
    ),
    "the value of an event": (
        "UPDATE usage_events SET value = 6 WHERE value = 5",
        {
            *(("counter", span) for span in ("hour", "day", "week", "month", "total")),
            ("rollup", "hour"),
            ("rollup", "day"),
        },
    ),
    "the key of an event": (
        "UPDATE usage_events SET idempotency_key = 'other' WHERE value = 5",
        {("event", "time")},
    ),
    "an event without a key": (
        "DELETE FROM usage_keys WHERE id IN (SELECT id FROM usage_events WHERE value = 5)",
        {("key", "time")},
    ),
    "a key without an event": (
        "INSERT INTO usage_keys VALUES (md5('x')::uuid, 1, '2026-03-15 10:00Z', '2026-03-15')",
        {("key", "time")},
    ),
    "a voiding without its event": (
        "UPDATE usage_events SET corrects = md5('x')::uuid WHERE value = -100",
        {("correction", "time")},
    ),
    "a voiding of another value": (
        "UPDATE usage_events SET value = 101 WHERE value = 100",
        {
            *(("counter", span) for span in ("hour", "day", "week", "month", "total")),
            *(("rollup", "hour"), ("rollup", "day"), ("correction", "time")),
        },
    ),
    "an event stored twice": (
        "INSERT INTO usage_events SELECT * FROM usage_events WHERE value = 5",
        {
            *(("counter", span) for span in ("hour", "day", "week", "month", "total")),
            *(("rollup", "hour"), ("rollup", "day"), ("event", "time")),
        },
    ),
}


@pytest.mark.django_db
class TestProveUsage:
    def test_finds_nothing_in_what_was_stored(self, meter: Meter) -> None:
        assert prove() == []

    @pytest.mark.parametrize("name", TAMPERED)
    def test_names_what_was_tampered_with(self, meter: Meter, name: str) -> None:
        statement, expected = TAMPERED[name]
        change(statement)
        found = prove()
        assert kinds(found) == expected
        assert {difference.meter_id for difference in found} <= {meter.pk, None}

    def test_says_where_what_is_stored_and_what_is_right(self, account: Account, meter: Meter) -> None:
        change("UPDATE usage_rollups SET total = total + 1 WHERE span = 'hour' AND total = 12")
        [found] = map(str, prove())
        assert found == (
            f"rollup of {account.public_id}, meter {meter.pk}, hour 2026-03-15T12:00:00Z, "
            'dimensions {"model": "a"}: stored 13 in 2 events, recomputed 12 in 2 events'
        )

    def test_names_a_key_counted_twice_within_the_look_back(self, account: Account, meter: Meter) -> None:
        row = store(account, meter, 3, recorded_at=AT - timedelta(days=34))
        again = row._replace(timestamp=AT - timedelta(days=3), recorded_at=AT)
        change("DELETE FROM usage_keys WHERE id = %s", row.id)
        assert insert_events([again], at=AT) == [True]
        assert [(each.kind, each.stored) for each in prove()] == [
            ("key", "no key"),
            ("event", f"key {row.idempotency_key!r}"),
        ]

    def test_a_key_may_be_counted_again_after_the_look_back(self, account: Account, meter: Meter) -> None:
        row = store(account, meter, 3, timestamp=AT - timedelta(days=60), recorded_at=AT - timedelta(days=36))
        change("DELETE FROM usage_keys WHERE id = %s", row.id)
        assert insert_events([row._replace(timestamp=AT, recorded_at=AT)], at=AT) == [True]
        assert prove() == []

    def test_names_members(self, account: Account) -> None:
        meter = make_meter("people", aggregation="unique")
        store(account, meter, actor_id="ann")
        store(account, meter, actor_id="bob")
        change("UPDATE usage_members SET member = 'eve' WHERE member = 'ann'")
        assert [(each.detail, each.stored) for each in prove()] == [("'ann'", "no member"), ("'eve'", "a member")]

    def test_names_a_wrong_maximum(self, account: Account) -> None:
        meter = make_meter("peak", aggregation="max")
        store(account, meter, 4)
        store(account, meter, 9)
        assert prove() == []
        change("UPDATE usage_counters SET highest = 10 WHERE span IN ('day', 'month')")
        assert {(each.span, each.stored) for each in prove()} == {
            ("day", "13 in 2 events, highest 10.000000000000"),
            ("month", "13 in 2 events, highest 10.000000000000"),
        }

    def test_looks_only_where_it_is_told(self, account: Account, meter: Meter) -> None:
        change("UPDATE usage_rollups SET total = total + 1 WHERE span = 'hour' AND total IN (11, 12)")
        assert len(prove()) == 2
        assert len(prove(ProofScope(AT, account.pk, DAY, DAY + timedelta(days=1)))) == 1
        assert prove(ProofScope(AT, None, DAY + timedelta(days=1), DAY + timedelta(days=2))) == []
        assert prove(ProofScope(AT, make_account().pk)) == []

    def test_dimensions_that_a_meter_declares_later_are_no_difference(self, account: Account, meter: Meter) -> None:
        meter.dimensions = ["model", "more"]
        meter.save()
        assert prove() == []
        store(account, meter, 2, dimensions={"model": "a", "more": 2})
        assert prove() == []
        change("UPDATE usage_rollups SET total = total + 1 WHERE span = 'hour' AND total = 2")
        assert kinds(prove()) == {("rollup", "hour")}

    def test_works_in_months_and_pages_of_accounts(self, meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("metering.stores.proof._ACCOUNTS", 1)
        for _ in range(3):
            store(make_account(), meter, 2, timestamp=datetime(1999, 5, 31, 23, 59, tzinfo=UTC))
        assert prove() == []
        change("UPDATE usage_counters SET total = 3 WHERE span = 'hour' AND total = 2")
        assert len(prove()) == 3


@pytest.mark.django_db
class TestRepairUsage:
    @pytest.mark.parametrize(
        "name", [name for name, (_, found) in TAMPERED.items() if {kind for kind, _ in found} <= {"rollup", "counter"}]
    )
    def test_writes_totals_anew_with_an_event(self, account: Account, meter: Meter, name: str) -> None:
        change(TAMPERED[name][0])
        proof = repair_usage(SCOPE, at=AT, actor=SYSTEM)
        assert (proof.repaired, proof.unrepairable) == (1, 0)
        assert prove() == []
        [event] = Event.objects.filter(type="usage.totals_repaired")
        assert (event.account_id, event.data["count"]) == (account.pk, proof.count)

    def test_writes_members_and_maxima_anew(self, account: Account) -> None:
        for aggregation in ("max", "unique"):
            meter = make_meter(aggregation, aggregation=aggregation)
            rows = [store(account, meter, value, actor_id=f"actor-{value}") for value in (3, 8)]
            insert_voiding(make_voiding(rows[1], declared=[], recorded_at=AT), aggregation=aggregation, at=AT)
        change("UPDATE usage_counters SET highest = 8")
        change("UPDATE usage_members SET member = 'eve'")
        assert repair_usage(SCOPE, at=AT, actor=SYSTEM).repaired == 2
        assert prove() == []

    def test_leaves_what_is_right_alone(self, account: Account, meter: Meter) -> None:
        change("UPDATE usage_rollups SET total = 1 WHERE total = 11 AND span = 'hour'")
        before = list(UsageCounter.objects.filter(starts_at__gte=HOUR).values())
        repair_usage(SCOPE, at=AT, actor=SYSTEM)
        assert list(UsageCounter.objects.filter(starts_at__gte=HOUR).values()) == before

    def test_does_not_touch_what_is_no_total(self, meter: Meter) -> None:
        change("UPDATE usage_events SET idempotency_key = 'other' WHERE value = 5")
        proof = repair_usage(SCOPE, at=AT, actor=SYSTEM)
        assert (proof.count, proof.repaired, proof.unrepairable) == (1, 0, 1)
        assert len(prove()) == 1


@pytest.mark.django_db
class TestCheckUsage:
    def test_tells_of_a_difference_in_the_last_days(self, meter: Meter, caplog: pytest.LogCaptureFixture) -> None:
        assert check_usage(at=AT).holds
        change("UPDATE usage_rollups SET total = total + 1 WHERE span = 'hour'")
        assert check_usage(at=AT).count == 1  # the other one is twenty days old
        [event] = Event.objects.filter(type="usage.difference_found")
        assert event.data["kinds"] == {"rollup": 1}
        assert "do not hold: 1 differences" in caplog.text


@pytest.mark.django_db
class TestCommand:
    def run(self, *arguments: str) -> str:
        out = io.StringIO()
        with clock.travel(AT):
            call_command("prove_usage", *arguments, stdout=out)
        return out.getvalue()

    def test_says_that_all_holds(self, account: Account, meter: Meter) -> None:
        assert "hold." in self.run()
        assert "hold." in self.run("--account", account.public_id, "--from", "2026-03-01", "--to", "2026-03-31")

    def test_fails_on_a_difference_until_it_is_repaired(self, meter: Meter) -> None:
        change("UPDATE usage_rollups SET total = total + 1 WHERE span = 'hour' AND total = 12")
        with pytest.raises(CommandError, match="do not hold: 1 difference"):
            self.run()
        assert "hold." in self.run("--to", "2026-03-14")
        assert "totals of 1 meters were written anew" in self.run("--repair")
        assert "hold." in self.run()

    def test_fails_when_something_is_left_after_repair(self, meter: Meter) -> None:
        change("UPDATE usage_events SET idempotency_key = 'other' WHERE value = 5")
        with pytest.raises(CommandError, match="1 differences are left"):
            self.run("--repair")

    @pytest.mark.parametrize("arguments", [("--account", "nobody"), ("--from", "2026-03-02", "--to", "2026-03-01")])
    def test_refuses_nonsense(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError):
            self.run(*arguments)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(AGGREGATIONS),
        st.integers(0, 1),  # account
        st.integers(0, 12),  # key
        st.decimals(0, 10**6, places=12, allow_nan=False),
        st.sampled_from(
            [timedelta(0), timedelta(minutes=61), timedelta(days=1), timedelta(days=40), timedelta(days=400)]
        ),
        st.sampled_from([{}, {"model": "a"}, {"model": "b", "other": 1}, {"model": None}, {"model": 1.5}]),
        st.booleans(),  # center
        st.booleans(),  # charged
        st.sampled_from(["", "ann", "bob"]),
    ),
    max_size=25,
)


class TestAnyEvents(TestCase):
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(batches=st.lists(EVENTS, max_size=4), voided=st.sets(st.integers(0, 40)), by_day=st.booleans())
    def test_leave_nothing_to_find(self, batches: list[Any], voided: set[int], by_day: bool) -> None:
        accounts = [make_account(), make_account()]
        meters = {name: make_meter(name, aggregation=name, dimensions=["model"]) for name in AGGREGATIONS}
        centers = [make_cost_center(account, "a") for account in accounts]
        if by_day:
            keep_partitions(at=AT)
        stored: list[EventRow] = []
        for batch in batches:
            rows = [
                make_row(
                    accounts[place], meters[name], value, idempotency_key=f"k{key}", timestamp=AT - late,
                    dimensions=dimensions, rolled_dimensions=project_dimensions(["model"], dimensions),
                    cost_center_id=centers[place].pk if has_center else None, charged=charged, actor_id=actor,
                )
                for name, place, key, value, late, dimensions, has_center, charged, actor in batch
            ]  # fmt: skip
            stored += [row for row, new in zip(rows, insert_events(rows, at=AT), strict=True) if new]
        for number, row in enumerate(stored):
            if number in voided:
                name = next(name for name in AGGREGATIONS if meters[name].pk == row.meter_id)
                insert_voiding(make_voiding(row, declared=["model"], recorded_at=AT), aggregation=name, at=AT)
        assert prove() == []
        # Written anew from the events, everything is as it was kept.
        kept = summed()
        with tampering() as cursor:
            cursor.execute(
                "UPDATE usage_counters SET total = total + 1 WHERE span IN ('day', 'week', 'month', 'total')"
            )
            cursor.execute("UPDATE usage_rollups SET total = total + 1 WHERE span = 'day'")
        repair_usage(SCOPE, at=AT, actor=SYSTEM)
        assert prove() == []
        assert summed() == kept


def summed() -> list[dict[tuple[Any, ...], list[Decimal]]]:
    """Return every bucket that counts something with its sum and number of events, whatever its shards."""
    found: list[dict[tuple[Any, ...], list[Decimal]]] = []
    for model in (UsageRollup, UsageCounter):
        sums: dict[tuple[Any, ...], list[Decimal]] = {}
        for row in model.objects.exclude(span="minute"):
            place: tuple[Any, ...] = (row.account_id, row.meter_id, row.span, row.starts_at)
            if isinstance(row, UsageRollup):
                place = (*place, row.cost_center_id, row.charged, str(row.dimensions))
            total = sums.setdefault(place, [Decimal(0), Decimal(0)])
            total[0] += row.total
            total[1] += row.events
        found.append({place: total for place, total in sums.items() if any(total)})
    return found
