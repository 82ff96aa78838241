"""Recording usage: checks, conversion, keys, all or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, TestClock
from billing_site.kernel.actors import SYSTEM
from billing_site.kernel.errors import ValidationFailed
from metering.models import UsageEvent
from metering.queries.meters import MeterNotFound
from metering.services.ingest import NewUsageEvent, RecordedUsage, find_event_errors, record_usage_events
from tests.factories.metering import AT, make_account, make_meter
from tests.metering.stores.test_events import run_in_threads

pytestmark = pytest.mark.django_db


def send(*events: NewUsageEvent, at: datetime = AT) -> list[RecordedUsage]:
    return record_usage_events(events=events, at=at, actor=SYSTEM)


def event(account: Account, **values: Any) -> NewUsageEvent:
    values = {"meter": "requests", "quantity": 1, **values}
    return NewUsageEvent(account=account, **{**values, "quantity": Decimal(values["quantity"])})


def stored_value() -> Decimal:
    return UsageEvent.objects.values_list("value", flat=True).get()


class TestRecordUsageEvents:
    def test_fills_in_time_and_key(self) -> None:
        make_meter()
        recorded = send(event(make_account()), event(make_account()))
        assert [entry.created for entry in recorded] == [True, True]
        assert {(row.timestamp, row.recorded_at) for _, _, row, _ in recorded} == {(AT, AT)}
        assert len({entry.row.idempotency_key for entry in recorded}) == 2

    def test_keeps_the_stored_event_when_a_key_repeats(self) -> None:
        account, _ = make_account(), make_meter()
        [first] = send(event(account, quantity="1.5", idempotency_key="k", metadata={"a": 1}))
        [again] = send(event(account, quantity="99", idempotency_key="k"), at=AT + timedelta(days=3))
        assert again == first._replace(created=False)
        assert stored_value() == Decimal("1.5")

    def test_counts_the_first_of_a_key_within_a_batch(self) -> None:
        account, _ = make_account(), make_meter()
        recorded = send(*(event(account, quantity=number, idempotency_key="k") for number in (7, 8, 9)))
        assert [(entry.created, int(entry.row.value)) for entry in recorded] == [(True, 7), (False, 7), (False, 7)]
        assert stored_value() == 7

    def test_mixes_new_and_known_keys(self) -> None:
        account, _ = make_account(), make_meter()
        send(event(account, idempotency_key="b"))
        recorded = send(*(event(account, idempotency_key=key) for key in "abca"))
        assert [entry.created for entry in recorded] == [True, False, True, False]
        assert UsageEvent.objects.count() == 3

    @pytest.mark.parametrize("count", [1, 200])
    def test_takes_a_fixed_number_of_queries(self, count: int) -> None:
        account = make_account()
        for number in range(5):
            make_meter(f"m{number}")
        events = [event(account, meter=f"m{number % 5}", idempotency_key=f"k{number}") for number in range(count)]

        def count_queries(*sent: NewUsageEvent) -> int:
            with CaptureQueriesContext(connection) as queries:
                send(*sent)
            return len(queries)

        assert count_queries(*events) == 5  # meters, savepoint, lock, insert, release
        assert count_queries(*events) == 6  # and the stored events
        assert count_queries(*events, event(account, meter="m0")) == 6

    @pytest.mark.parametrize("quantity", ["0", "0.000000000001", "99999999999999999999999999.999999999999", "1E+3"])
    def test_keeps_quantities_exactly(self, quantity: str) -> None:
        make_meter()
        send(event(make_account(), quantity=quantity))
        assert stored_value() == Decimal(quantity)

    def test_stores_times_in_utc(self) -> None:
        make_meter()
        moment = datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2)))
        [recorded] = send(event(make_account(), timestamp=moment))
        assert recorded.row.timestamp.isoformat() == "2026-02-28T23:00:00+00:00"

    def test_lives_at_the_test_clock_of_the_account(self) -> None:
        make_meter()
        future = datetime(2030, 1, 1, tzinfo=UTC)
        account = make_account(test_clock=TestClock.objects.create(name="clock", now_at=future))
        [recorded] = send(event(account, timestamp=future + timedelta(minutes=5)), at=AT)
        assert recorded.row.recorded_at == future
        with pytest.raises(ValidationFailed):
            send(event(account, timestamp=future + timedelta(minutes=5, microseconds=1)), at=AT)


class TestMeterNames:
    @pytest.mark.parametrize(
        ("name", "unit", "sent", "meter", "stored"),
        [
            ("API_CALLS", "requests", "3", "api", "3"),
            ("api", "requests", "3", "api", "3"),
            ("DATA_TRANSFER_BYTES", "GB", "52428800", "bandwidth", "0.048828125"),
            ("compute_seconds", "CPU-hours", "3600", "compute", "1"),
            ("Storage_Bytes", "bytes", "10", "storage_bytes", "10"),
            ("ML_INFERENCE_REQUESTS", "requests", "2", "ml_inference_requests", "2"),
        ],
    )
    def test_metric_types_and_services_find_their_meters(
        self, name: str, unit: str, sent: str, meter: str, stored: str
    ) -> None:
        make_meter(meter, unit=unit)
        [recorded] = send(event(make_account(), meter=name, quantity=sent))
        assert (recorded.meter.event_name, recorded.row.value) == (meter, Decimal(stored))

    def test_an_event_name_as_written_comes_first(self) -> None:
        make_meter("api")
        own = make_meter("api_calls")
        [recorded] = send(event(make_account(), meter="api_calls"))
        assert recorded.meter == own

    def test_a_meter_may_be_named_by_id(self) -> None:
        meter = make_meter()
        [recorded] = send(event(make_account(), meter=meter.public_id))
        assert recorded.meter == meter

    def test_an_organizations_own_meter_comes_first(self) -> None:
        make_meter("requests")
        own = make_meter("requests", org_id="acme")
        account = make_account(org_id="acme")
        assert send(event(account))[0].meter == own

    def test_meters_of_other_organizations_do_not_exist(self) -> None:
        foreign = make_meter("requests", org_id="other")
        account = make_account(org_id="acme")
        for name in ("requests", foreign.public_id):
            with pytest.raises(MeterNotFound):
                send(event(account, meter=name))

    @pytest.mark.parametrize(("unit", "stored"), [("bytes", "1"), ("GB", "1073741824"), ("gb", "1073741824")])
    def test_a_given_unit_is_converted(self, unit: str, stored: str) -> None:
        make_meter("traffic", unit="GB")
        [recorded] = send(event(make_account(), meter="traffic", quantity=1073741824, unit=unit))
        assert recorded.row.value == Decimal(stored)


class TestRefusals:
    @pytest.mark.parametrize(
        ("values", "field", "code"),
        [
            ({"quantity": "-0.000000000001"}, "quantity", "min_value"),
            ({"quantity": "0.0000000000001"}, "quantity", "too_precise"),
            ({"quantity": "1.0000000000001"}, "quantity", "too_precise"),
            ({"quantity": "1E+26"}, "quantity", "out_of_range"),
            ({"quantity": "1E+999999"}, "quantity", "out_of_range"),
            ({"quantity": "1E-999999"}, "quantity", "too_precise"),
            ({"quantity": "NaN"}, "quantity", "invalid"),
            ({"quantity": "Infinity"}, "quantity", "invalid"),
            ({"unit": "bytes"}, "unit", "unit_not_convertible"),
            ({"timestamp": AT + timedelta(minutes=5, seconds=1)}, "timestamp", "in_future"),
            ({"timestamp": datetime(2026, 3, 1)}, "timestamp", "invalid"),  # noqa: DTZ001 - without offset on purpose
            ({"idempotency_key": "k" * 256}, "idempotency_key", "max_length"),
            ({"resource_id": "k" * 256}, "resource_id", "max_length"),
            ({"resource_type": "k" * 101}, "resource_type", "max_length"),
            ({"actor_id": "k" * 256}, "actor_id", "max_length"),
            ({"metadata": {"a": "k" * 16_384}}, "metadata", "too_large"),
            ({"dimensions": {"a": "k" * 16_384}}, "dimensions", "too_large"),
            ({"metadata": {"cost_center": "ops"}}, "metadata/cost_center", "unknown_cost_center"),
        ],
    )
    def test_names_field_and_reason(self, values: dict[str, Any], field: str, code: str) -> None:
        make_meter()
        with pytest.raises(ValidationFailed) as refused:
            send(event(make_account(), **values))
        assert [(found.pointer, found.code) for found in refused.value.errors] == [(f"/events/0/{field}", code)]

    def test_refuses_what_grows_too_large_by_conversion(self) -> None:
        make_meter("time", unit="seconds")
        with pytest.raises(ValidationFailed) as refused:
            send(event(make_account(), meter="time", unit="hours", quantity="9E+25"))
        assert refused.value.errors[0].code == "out_of_range"

    def test_writes_nothing_when_one_event_is_wrong_and_names_all_that_are(self) -> None:
        account, _ = make_account(), make_meter()
        events = [event(account, quantity=number) for number in (1, -1, 1)] + [event(account, meter="nope")]
        with pytest.raises(ValidationFailed, match="2 of 4 events") as refused:
            send(*events)
        assert [found.pointer for found in refused.value.errors] == ["/events/1/quantity", "/events/3/meter"]
        assert list(refused.value.errors) == find_event_errors(events=events, at=AT)
        assert not UsageEvent.objects.exists()

    def test_unknown_meters_alone_are_not_found(self) -> None:
        account, _ = make_account(), make_meter()
        with pytest.raises(MeterNotFound) as refused:
            send(event(account), event(account, meter="nope"))
        assert [(found.pointer, found.code) for found in refused.value.errors] == [
            ("/events/1/meter", "meter_not_found")
        ]
        assert not UsageEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_parallel_repeats_are_counted_once() -> None:
    account, _ = make_account(), make_meter()
    events = [event(account, quantity=number, idempotency_key=f"k{number}") for number in range(100)]
    answers = run_in_threads(*(lambda order=order: send(*events[::order]) for order in (1, -1, 1, -1)))
    assert all(isinstance(answer, list) for answer in answers), answers
    created = [entry.row.idempotency_key for answer in answers for entry in answer if entry.created]
    assert sorted(created) == sorted(f"k{number}" for number in range(100))
    # Whoever lost answers with the row of whoever won.
    assert len({entry.row.id for answer in answers for entry in answer}) == 100
    assert sum(UsageEvent.objects.values_list("value", flat=True)) == sum(range(100))
