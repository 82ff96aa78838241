"""Calls that are charged and counted, and never billed again."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Account, LedgerEntry
from accounts.queries.ledger import get_balance
from accounts.queries.tiers import list_tiers
from accounts.services.usage_charges import UsageCharge
from billing_site.kernel.periods import Period
from catalog.models import Meter
from catalog.services.publishing import publish_document
from metering.models import ChargeClient, UsageEvent
from metering.queries.usage import summarize_usage
from metering.services.charging import ApiCall, charge_usage, purge_clients
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.stores import QuantityRequest, sum_quantities
from tests.support import world
from tests.support.prices import NOON, bill

pytestmark = pytest.mark.django_db

CALL = ApiCall(
    model="model-a",
    provider="upstream",
    prompt_tokens=10,
    completion_tokens=5,
    request_id="req-1",
    premium=False,
    stream=True,
    status="ok",
)


def charge(account: Account, amount: int, call: ApiCall = CALL, **values: Any) -> UsageCharge:
    terms: dict[str, Any] = {"at": NOON, "actor": world.TESTER, "tier": list_tiers()["pro"], **values}
    return charge_usage(account=account, amount=amount, currency="usd", call=call, **terms)


def publish_priced(**price: Any) -> None:
    """Publish a plan that prices the very meter that charged calls are counted on."""
    document = {
        "version": 1,
        "products": [{"id": "app", "name": "App"}],
        "meters": [{"name": "api-usage", "unit": "minor units", "dimensions": ["model", "provider"]}],
        "plans": [
            {
                "id": "pay",
                "product_id": "app",
                "name": "Pay",
                "prices": [{"currency": "usd", "interval": "month", "meter": "api-usage", **price}],
            }
        ],
    }
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=world.TESTER)


def record(account: Account, value: str, *, at: datetime = NOON, **more: Any) -> None:
    event = NewUsageEvent(account, "api-usage", Decimal(value), timestamp=at, **more)
    record_usage_events(events=[event], at=at, actor=world.TESTER)


class TestCharge:
    def test_books_the_money_and_one_event(self) -> None:
        account = world.open_account()
        entry = charge(account, 250).entry
        event = UsageEvent.objects.select_related("meter").get()
        assert entry.key == "usage:req-1"
        assert entry.description == "API usage: model-a (15 tokens)"  # 10 + 5
        known = {
            "model": "model-a",
            "provider": "upstream",
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "request_id": "req-1",
            "premium": False,
            "stream": True,
            "status": "ok",
        }
        assert entry.metadata == known
        assert (event.meter.event_name, int(event.value), event.charged) == ("api-usage", 250, True)
        assert event.dimensions == {"model": "model-a", "provider": "upstream"}
        assert event.metadata == {**known, "currency": "usd", "transaction_id": entry.public_id}
        assert get_balance(account_id=account.pk, currency="usd").balance == -250

    def test_repeated_changes_nothing(self) -> None:
        account = world.open_account()
        first, again = charge(account, 250), charge(account, 300)
        assert (again.entry, again.amount, again.created) == (first.entry, 250, False)
        assert UsageEvent.objects.count() == 1
        assert LedgerEntry.objects.count() == 1

    def test_without_a_request_id_is_another_one_each_time(self) -> None:
        account = world.open_account()
        notes = {
            charge(account, 5, ApiCall()).entry.description,
            charge(account, 5, ApiCall(total_tokens=3)).entry.description,
        }
        assert notes == {"API usage", "API usage (3 tokens)"}
        assert UsageEvent.objects.count() == 2

    def test_is_all_or_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(row: object) -> None:
            raise OSError("the disk is full")

        monkeypatch.setattr("metering.services.charging.insert_events", fail)
        account = world.open_account()
        with pytest.raises(OSError, match="disk"):
            charge(account, 250)
        assert not LedgerEntry.objects.exists()

    def test_does_not_mind_an_ordinary_event_with_its_request_id(self) -> None:
        account = world.open_account()
        charge(account, 1, ApiCall())
        record(account, "7", idempotency_key="req-1")
        charge(account, 250)
        found = UsageEvent.objects.order_by("value").values_list("value", "charged")
        assert [(int(value), charged) for value, charged in found] == [(1, True), (7, False), (250, True)]


class TestMeter:
    def test_is_made_for_the_organization_when_the_first_call_comes(self) -> None:
        for handle in ("acme/alice", "acme/bob", "other/carol"):
            charge(world.open_account(handle), 5, ApiCall())
        meters = Meter.objects.filter(event_name="api-usage").order_by("org_id")
        assert [(meter.org_id, meter.unit, meter.dimensions) for meter in meters] == [
            ("acme", "minor units", ["model", "provider"]),
            ("other", "minor units", ["model", "provider"]),
        ]

    def test_of_the_shared_catalog_is_taken_where_there_is_one(self) -> None:
        publish_priced(model="per_unit", unit_amount="1")
        charge(world.open_account("acme/alice"), 5)
        assert UsageEvent.objects.get().meter == Meter.objects.get()


class TestInvoices:
    @pytest.mark.parametrize(
        ("price", "amount"),
        [
            ({"unit_amount": "2"}, 60),
            ({"unit_amount": "2", "variants": [{"when": {"model": "model-z"}, "unit_amount": "9"}]}, 60),
            ({"model": "percentage", "percent": "50"}, 15),
        ],
        ids=["by quantity", "by dimension", "by event"],
    )
    def test_leave_charged_calls_out(self, price: dict[str, Any], amount: int) -> None:
        publish_priced(**price)
        account = world.open_account()
        record(account, "30", dimensions={"model": "model-a"})
        charge(account, 1000)
        assert [line.amount for line in bill(account)] == [amount]  # of the 30; the 1000 were paid

    def test_and_summaries_agree(self) -> None:
        publish_priced(model="per_unit", unit_amount="2")
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "30")
        charge(account, 1000)
        (metric,) = summarize_usage(account=account, at=NOON).metrics
        assert (int(metric.quantity), metric.event_count, metric.cost) == (1030, 2, 60)


class TestQuantities:
    @pytest.mark.parametrize(
        ("aggregation", "everything", "to_bill"), [("sum", 48, 8), ("count", 3, 2), ("max", 40, 5), ("last", 40, 5)]
    )
    def test_to_bill_leave_charged_events_out(self, aggregation: str, everything: int, to_bill: int) -> None:
        account = world.open_account()
        charge(account, 40, at=NOON + timedelta(hours=2))
        Meter.objects.update(aggregation=aggregation)
        for hour, value in enumerate(("3", "5")):
            record(account, value, at=NOON + timedelta(hours=hour))
        month = Period(world.NOVEMBER, world.DECEMBER)
        requests = [QuantityRequest(account.pk, Meter.objects.get().pk, month, flag) for flag in (False, True)]
        found = sum_quantities(requests)
        assert [found[request].quantity for request in requests] == [everything, to_bill]


class TestClients:
    def test_are_forgotten_after_30_days(self) -> None:
        account = world.open_account()
        charge(account, 5, ApiCall(), client_ip="192.0.2.1", at=NOON)
        charge(account, 5, ApiCall(), client_ip="2001:db8::1", at=NOON + timedelta(days=1))
        charge(account, 5, ApiCall())
        assert purge_clients(at=NOON + timedelta(days=30)) == 0
        assert purge_clients(at=NOON + timedelta(days=30, seconds=1)) == 1
        assert ChargeClient.objects.get().client_ip == "2001:db8::1"
        assert UsageEvent.objects.count() == 3

    def test_are_nowhere_else(self) -> None:
        account = world.open_account()
        entry = charge(account, 5, client_ip="192.0.2.1").entry
        assert "192.0.2.1" not in str([entry.metadata, entry.description, *UsageEvent.objects.values()])
