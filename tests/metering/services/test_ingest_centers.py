"""Events that name cost centers: by field or metadata, by id or code, resolved together, never lost to a removal."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, CostCenter
from accounts.services.cost_centers import CostCenterInUse, delete_cost_center, update_cost_center
from billing_site.kernel.actors import SYSTEM
from billing_site.kernel.errors import ValidationFailed
from metering.models import UsageEvent
from metering.services.ingest import NewUsageEvent, RecordedUsage, find_event_errors, record_usage_events
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter

pytestmark = pytest.mark.django_db


def event(account: Account, **values: Any) -> NewUsageEvent:
    return NewUsageEvent(account, "requests", Decimal(1), **values)


def send(*events: NewUsageEvent, **options: Any) -> list[RecordedUsage]:
    return record_usage_events(events=events, at=AT, actor=SYSTEM, **options)


def centers_of(*events: NewUsageEvent, **options: Any) -> list[Any]:
    """Return the center each event was stored with."""
    ids = [entry.row.id for entry in send(*events, **options)]
    stored = {row.pk: row.cost_center_id for row in UsageEvent.objects.filter(pk__in=ids)}
    return [stored[id_] for id_ in ids]


@pytest.fixture
def account() -> Account:
    make_meter()
    return make_account("acme")


class TestNaming:
    def test_takes_field_and_metadata_by_id_and_code_in_any_case(self, account: Account) -> None:
        ops, dev = make_cost_center(account, "Ops-1"), make_cost_center(account, "dév")
        assert centers_of(
            event(account, cost_center="ops-1"),
            event(account, cost_center=" OPS-1 "),
            event(account, cost_center=ops.public_id),
            event(account, metadata={"cost_center": "dév"}),
            event(account, metadata={"cost_center": dev.public_id.upper()}),
            event(account),
            event(account, metadata={"cost_center": None}),
            event(account, metadata={"cost_center": ""}),
        ) == [ops.pk, ops.pk, ops.pk, dev.pk, dev.pk, None, None, None]

    def test_lets_the_field_win_over_metadata(self, account: Account) -> None:
        ops = make_cost_center(account, "ops")
        [entry] = send(event(account, cost_center="ops", metadata={"cost_center": "nobody"}))
        assert (entry.row.cost_center_id, entry.row.metadata) == (ops.pk, {"cost_center": "nobody"})

    def test_reads_the_center_of_a_repeat_back(self, account: Account) -> None:
        ops = make_cost_center(account, "ops")
        send(event(account, cost_center="ops", idempotency_key="k"))
        [again] = send(event(account, idempotency_key="k"))
        assert (again.created, again.row.cost_center_id) == (False, ops.pk)

    @pytest.mark.parametrize(
        ("values", "field", "code"),
        [
            ({"cost_center": "nobody"}, "cost_center", "unknown_cost_center"),
            ({"cost_center": "theirs"}, "cost_center", "unknown_cost_center"),
            ({"cost_center": "cc_00000000000000000000000000"}, "cost_center", "unknown_cost_center"),
            ({"metadata": {"cost_center": "nobody"}}, "metadata/cost_center", "unknown_cost_center"),
            ({"metadata": {"cost_center": 5}}, "metadata/cost_center", "unknown_cost_center"),
            ({"metadata": {"cost_center": ["ops"]}}, "metadata/cost_center", "unknown_cost_center"),
            ({"cost_center": "old"}, "cost_center", "inactive_cost_center"),
        ],
    )
    def test_refuses_what_the_account_does_not_have(
        self, account: Account, values: dict[str, Any], field: str, code: str
    ) -> None:
        make_cost_center(account, "ops")
        make_cost_center(account, "old", is_active=False)
        make_cost_center(make_account("other"), "theirs")
        batch = [event(account, cost_center="ops"), event(account, **values)]
        with pytest.raises(ValidationFailed) as refused:
            send(*batch)
        assert [(found.pointer, found.code) for found in refused.value.errors] == [(f"/events/1/{field}", code)]
        assert [found.code for found in find_event_errors(events=batch, at=AT)] == [code]
        assert not UsageEvent.objects.exists()

    def test_keeps_it_without_a_center_where_the_caller_says_so(self, account: Account) -> None:
        ops = make_cost_center(account, "ops")
        make_cost_center(account, "old", is_active=False)
        names = ("nobody", "ops", "old")
        assert centers_of(
            *(event(account, cost_center=name) for name in names),
            event(account, metadata={"cost_center": 5}),
            unknown_centers="keep",
        ) == [None, ops.pk, None, None]

    def test_asks_once_for_all_names_and_not_at_all_without_any(self, account: Account) -> None:
        for number in range(20):
            make_cost_center(account, f"c-{number}")
        with CaptureQueriesContext(connection) as plain:
            send(*(event(account) for _ in range(40)))
        with CaptureQueriesContext(connection) as named:
            send(*(event(account, cost_center=f"C-{number % 20}") for number in range(40)))
        # The look-up of all names, and the lock that keeps the centers until the events are stored.
        assert len(named) == len(plain) + 2


class TestRemoval:
    def test_is_refused_once_usage_names_the_center(self, account: Account) -> None:
        ops = make_cost_center(account, "ops")
        send(event(account, cost_center="ops"))
        with pytest.raises(CostCenterInUse) as refused:
            delete_cost_center(center_id=ops.pk, at=AT, actor=SYSTEM)
        assert "in use by usage events" in refused.value.detail
        update_cost_center(center_id=ops.pk, changes={"is_active": False}, at=AT + timedelta(1), actor=SYSTEM)
        assert CostCenter.objects.get().is_active is False

    def test_that_came_first_makes_the_center_unknown(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        ops = make_cost_center(account, "ops")
        monkeypatch.setattr("metering.services.ingest.hold_cost_centers", lambda _: set())
        with pytest.raises(ValidationFailed) as refused:
            send(event(account), event(account, metadata={"cost_center": "ops"}))
        (found,) = refused.value.errors
        assert (found.pointer, found.code) == ("/events/1/metadata/cost_center", "unknown_cost_center")
        assert centers_of(event(account, cost_center=ops.public_id), unknown_centers="keep") == [None]
