"""Events are voided and amended by further events; every total comes out as if the first had never been."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.periods import Period
from billing_site.platform.models import Event
from catalog.models import Meter
from metering.models import UsageCorrection, UsageEvent
from metering.services.corrections import (
    CorrectedUsage,
    UsageEventAlreadyCorrected,
    UsageEventNotCorrectable,
    UsageKeyTaken,
    amend_usage_event,
    void_usage_event,
)
from metering.stores import (
    CenterRequest,
    GroupRequest,
    QuantityRequest,
    SeriesRequest,
    read_last_values,
    sum_buckets,
    sum_centers,
    sum_groups,
    sum_quantities,
    sum_series,
)
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter, record

pytestmark = pytest.mark.django_db
ACTOR = Actor("staff", "fiona")
LATER = AT + timedelta(hours=1)
MONTH = Period(AT.replace(day=1, hour=0), AT.replace(month=4, day=1, hour=0))
AGGREGATIONS = ("sum", "count", "max", "last", "unique")


def load(recorded: Any) -> UsageEvent:
    return UsageEvent.objects.select_related("account__test_clock", "meter").get(pk=recorded.row.id)


def void(event: UsageEvent, **values: Any) -> CorrectedUsage:
    return void_usage_event(**{"event": event, "at": LATER, "actor": ACTOR, "reason": "Sent twice", **values})


def amend(event: UsageEvent, quantity: str, **values: Any) -> CorrectedUsage:
    return amend_usage_event(
        **{
            "event": event,
            "quantity": Decimal(quantity),
            "at": LATER,
            "actor": ACTOR,
            "reason": "Wrong unit",
            **values,
        }
    )


def measure(account: Account, meter: Meter, period: Period = MONTH) -> tuple[Any, int]:
    request = QuantityRequest(account.id, meter.id, period)
    found = sum_quantities([request])[request]
    return found.quantity, found.event_count


class TestVoidUsageEvent:
    def test_takes_back_and_keeps_everything(self) -> None:
        account, meter = make_account(), make_meter("m")
        event = load(record(account, "m", 5, resource_id="r", dimensions={"a": "b"}, metadata={"c": "d"}))
        record(account, "m", 2)
        done = void(event)
        assert measure(account, meter) == (2, 1)
        row = UsageEvent.objects.get(pk=done.void.id)
        assert (row.weight, row.value, row.corrects, row.timestamp) == (-1, Decimal(-5), event.pk, AT)
        assert (row.recorded_at, row.resource_id, row.dimensions) == (LATER, "r", {"a": "b"})
        assert UsageEvent.objects.get(pk=event.pk).value == 5
        correction = UsageCorrection.objects.get()
        assert (correction.event_id, correction.void_id, correction.replacement_id) == (event.pk, row.pk, None)
        assert (correction.reason, correction.actor) == ("Sent twice", "staff:fiona")

    def test_is_told_with_what_was_and_why(self) -> None:
        make_meter("m")
        event = load(record(make_account(), "m", 5))
        done = void(event)
        told = Event.objects.get(type="usage_event.voided")
        assert (told.object_id, told.reason) == (event.public_id, "Sent twice")
        assert told.previous_data is not None
        assert Decimal(told.previous_data["quantity"]) == 5
        assert told.data["correction_id"] == done.correction.public_id
        assert Decimal(told.data["quantity"]) == 0

    def test_happens_once(self) -> None:
        account, meter = make_account(), make_meter("m")
        event = load(record(account, "m", 5))
        void(event)
        with pytest.raises(UsageEventAlreadyCorrected):
            void(event)
        with pytest.raises(UsageEventAlreadyCorrected):
            amend(event, "4")
        assert measure(account, meter) == (0, 0)
        assert UsageEvent.objects.count() == 2

    def test_of_a_correction_is_refused(self) -> None:
        make_meter("m")
        done = void(load(record(make_account(), "m", 5)))
        row = UsageEvent.objects.select_related("account", "meter").get(pk=done.void.id)
        with pytest.raises(UsageEventNotCorrectable):
            void(row)

    def test_of_charged_usage_is_refused(self) -> None:
        make_meter("m")
        event = load(record(make_account(), "m", 5))
        event.charged = True
        with pytest.raises(UsageEventNotCorrectable, match="prepaid"):
            void(event)

    def test_needs_a_reason(self) -> None:
        make_meter("m")
        with pytest.raises(ValidationFailed):
            void(load(record(make_account(), "m", 5)), reason="  ")

    def test_a_repeat_of_a_voided_event_counts_nothing(self) -> None:
        account, meter = make_account(), make_meter("m")
        void(load(record(account, "m", 5, idempotency_key="k")))
        assert not record(account, "m", 5, idempotency_key="k").created
        assert measure(account, meter) == (0, 0)

    def test_the_database_refuses_a_second_correction(self) -> None:
        make_meter("m")
        first = void(load(record(make_account(), "m", 5))).correction
        first.pk = None
        with pytest.raises(IntegrityError, match="usage_corrections_event_once"), transaction.atomic():
            UsageCorrection.objects.create(
                **{
                    field.attname: getattr(first, field.attname)
                    for field in UsageCorrection._meta.concrete_fields
                    if field.name != "id"
                }
            )


class TestAmendUsageEvent:
    def test_counts_the_new_quantity_in_place_of_the_old(self) -> None:
        account, meter = make_account(), make_meter("m", dimensions=["model"])
        center = make_cost_center(account, "ops")
        event = load(record(account, "m", 5, dimensions={"model": "a"}, cost_center="ops", actor_id="ann"))
        done = amend(event, "0.5", idempotency_key="corrected-1")
        assert measure(account, meter) == (Decimal("0.5"), 1)
        assert done.replacement is not None
        row = UsageEvent.objects.get(pk=done.replacement.id)
        assert (row.value, row.weight, row.corrects, row.timestamp) == (Decimal("0.5"), 1, None, AT)
        assert (row.idempotency_key, row.actor_id, row.cost_center_id) == ("corrected-1", "ann", center.pk)
        [groups] = sum_groups([GroupRequest(account.id, meter.id, MONTH, ("model",))])
        assert [(group.values, group.quantity) for group in groups] == [(("a",), Decimal("0.5"))]
        told = Event.objects.get(type="usage_event.amended")
        assert Decimal(told.data["quantity"]) == Decimal("0.5")
        assert told.data["replacement_id"] == row.public_id

    def test_may_be_corrected_again(self) -> None:
        account, meter = make_account(), make_meter("m")
        first = amend(load(record(account, "m", 5)), "6")
        assert first.replacement is not None
        second = UsageEvent.objects.select_related("account", "meter").get(pk=first.replacement.id)
        amend(second, "7")
        assert measure(account, meter) == (7, 1)

    def test_to_zero_still_counts_as_an_event(self) -> None:
        account, meter = make_account(), make_meter("m", aggregation="count")
        amend(load(record(account, "m", 5)), "0")
        assert measure(account, meter) == (1, 1)

    @pytest.mark.parametrize(
        ("quantity", "key", "pointer"),
        [("-1", "", "/quantity"), ("0.1234567890123", "", "/quantity"), ("1", "k" * 256, "/idempotency_key")],
    )
    def test_refuses_what_ingest_refuses(self, quantity: str, key: str, pointer: str) -> None:
        account, meter = make_account(), make_meter("m")
        event = load(record(account, "m", 5))
        with pytest.raises(ValidationFailed) as refusal:
            amend(event, quantity, idempotency_key=key)
        assert [finding.pointer for finding in refusal.value.errors] == [pointer]
        assert measure(account, meter) == (5, 1)

    def test_a_key_that_was_counted_leaves_everything_as_it_was(self) -> None:
        account, meter = make_account(), make_meter("m")
        event = load(record(account, "m", 5))
        record(account, "m", 2, idempotency_key="taken")
        with pytest.raises(UsageKeyTaken):
            amend(event, "4", idempotency_key="taken")
        assert measure(account, meter) == (7, 2)
        assert not UsageCorrection.objects.exists()

    def test_of_nothing_is_refused(self) -> None:
        make_meter("m")
        with pytest.raises(UsageEventNotCorrectable):
            amend(load(record(make_account(), "m", 5)), "5.0")


@dataclass(frozen=True)
class Plain:
    """An event of the plain model."""

    number: int
    hour: int
    value: int
    actor: str
    model: str
    center: str


EVENTS = st.lists(
    st.builds(
        Plain,
        number=st.just(0),
        hour=st.integers(0, 60),
        value=st.integers(0, 4),
        actor=st.sampled_from(["ann", "bob"]),
        model=st.sampled_from(["a", "b"]),
        center=st.sampled_from(["", "ops"]),
    ),
    min_size=1,
    max_size=7,
)
# Of each event: nothing, a voiding, or another value, which may be corrected as well.
FATES = st.lists(st.lists(st.one_of(st.just(None), st.integers(0, 4)), max_size=2), min_size=7, max_size=7)


def aggregate(aggregation: str, events: Sequence[tuple[datetime, Any, Plain]]) -> Decimal:
    values = {
        "sum": lambda: sum(event.value for *_, event in events),
        "count": lambda: len(events),
        "max": lambda: max(event.value for *_, event in events),
        "last": lambda: max(events, key=lambda entry: entry[:2])[2].value,
        "unique": lambda: len({event.actor for *_, event in events}),
    }
    return Decimal(values[aggregation]())


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS, fates=FATES)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_every_total_is_that_of_the_events_that_stand(
    aggregation: str, events: list[Plain], fates: list[list[int | None]]
) -> None:
    """Random events, voidings and amendments: what the store says is what a plain list of what stands says."""
    account = make_account()
    meter = make_meter(f"m-{account.external_id}", aggregation=aggregation, dimensions=["model"])
    center = make_cost_center(account, "ops")
    standing: list[tuple[datetime, Any, Plain]] = []
    for plain, fate in zip(events, fates, strict=False):
        moment = MONTH.start + timedelta(hours=plain.hour)
        row = load(
            record(
                account,
                meter.event_name,
                plain.value,
                at=moment,
                actor_id=plain.actor,
                dimensions={"model": plain.model},
                cost_center=plain.center,
            )
        )
        current: Plain | None = plain
        for step in fate:
            if current is None or step == current.value:
                continue
            if step is None:
                void(row)
                current = None
            else:
                done = amend(row, str(step))
                assert done.replacement is not None
                row = UsageEvent.objects.select_related("account", "meter").get(pk=done.replacement.id)
                current = replace(current, value=step)
        if current is not None:
            standing.append((moment, row.pk, current))

    def expect(entries: Sequence[tuple[datetime, Any, Plain]]) -> tuple[Decimal, int]:
        return (aggregate(aggregation, entries), len(entries)) if entries else (Decimal(0), 0)

    for start, end in ((0, 24), (24, 48), (0, 61), (5, 30)):
        period = Period(MONTH.start + timedelta(hours=start), MONTH.start + timedelta(hours=end))
        assert measure(account, meter, period) == expect([entry for entry in standing if entry[0] in period])
    by_hour: dict[datetime, list[Any]] = defaultdict(list)
    by_day: dict[datetime, list[Any]] = defaultdict(list)
    by_model: dict[str | None, list[Any]] = defaultdict(list)
    by_center: dict[Any, list[Any]] = defaultdict(list)
    for entry in standing:
        by_hour[entry[0]].append(entry)
        by_day[entry[0].replace(hour=0)].append(entry)
        by_model[entry[2].model].append(entry)
        by_center[center.pk if entry[2].center else None].append(entry)
    for bucket, expected in (("hour", by_hour), ("day", by_day)):
        found = sum_buckets(account_id=account.id, meter_ids=[meter.id], period=MONTH, bucket=bucket)  # type: ignore[arg-type]
        assert {each.start: (each.quantity, each.event_count) for each in found} == {
            start: expect(entries) for start, entries in expected.items()
        }
    series = sum_series(SeriesRequest(account.id, (meter.id,), MONTH, "UTC", dimension="model"))
    assert {each.group: (each.quantity, each.event_count) for each in series if not each.is_whole} == {
        model: expect(entries) for model, entries in by_model.items()
    }
    [centers] = sum_centers([CenterRequest(account.id, meter.id, MONTH)])
    assert {each.center_id: (each.quantity, each.event_count) for each in centers} == {
        key: expect(entries) for key, entries in by_center.items()
    }
    if aggregation == "last":
        last = read_last_values({(account.id, meter.id): MONTH.end})
        assert last.get((account.id, meter.id), Decimal(0)) == expect(standing)[0]
