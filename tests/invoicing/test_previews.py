"""The next invoice before it is made, and what the usage of any period would come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import LedgerEntry
from accounts.services.deposits import deposit
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.periods import Period
from catalog.models import Meter
from catalog.models.pricing_rule import PricingRule
from invoicing.calculation.draft import DraftLine
from invoicing.models import Invoice, InvoiceLine
from invoicing.queries.previews import PreviewedInvoice, preview_upcoming
from invoicing.queries.usage_previews import preview_usage
from tests.support import costs, world
from tests.support.api import BillingClient
from tests.support.problems import problem

pytestmark = pytest.mark.django_db
MIDDLE = datetime(2023, 11, 16, tzinfo=UTC)
Clients = Callable[..., BillingClient]


def compare(previewed: PreviewedInvoice, issued: Invoice) -> None:
    """The invoice is what the preview said, to the last line."""
    draft = previewed.draft
    assert (draft.subtotal, draft.discount, draft.tax, draft.total) == (
        issued.subtotal,
        issued.discount,
        issued.tax,
        issued.total,
    )
    assert (previewed.credit_applied, previewed.amount_due) == (issued.credit_applied, issued.amount_due)
    assert [_describe(line) for line in draft.lines] == [_describe(line) for line in issued.lines.order_by("position")]


def _describe(line: DraftLine | InvoiceLine) -> tuple[object, ...]:
    # An item that only overage makes gets its id when it is billed.
    charge = {key: value for key, value in line.trace["charge"].items() if key != "item_id"}
    trace = {**line.trace, "charge": charge}
    return line.type, line.description, line.quantity, line.amount, line.discount, line.period, trace


class TestUpcoming:
    @pytest.mark.parametrize("plan", [key for key in costs.PRICES if key != "included"])
    def test_is_the_invoice_that_follows(self, plan: str) -> None:
        costs.publish_plans()
        account = world.open_account()
        subscription = world.subscribe(account, plan)
        deposit(account=account, amount=300, currency="usd", at=MIDDLE, actor=world.TESTER, key=new_uuid().hex)
        costs.use_randomly(account, Period(world.NOVEMBER, MIDDLE), events=40, seed=5)
        entries = LedgerEntry.objects.count()
        upcoming = preview_upcoming(subscription_id=subscription.pk, at=MIDDLE)
        assert upcoming is not None
        assert LedgerEntry.objects.count() == entries
        before = set(Invoice.objects.values_list("pk", flat=True))
        world.run_cycle(as_of=world.DECEMBER)
        issued = Invoice.objects.exclude(pk__in=before).first()
        if issued is None:
            assert not upcoming.draft.lines
        else:
            compare(upcoming, issued)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        seed=st.integers(0, 10**6),
        events=st.integers(0, 60),
        day=st.integers(1, 29),
        plan=st.sampled_from(list(costs.PRICES)),
    )
    def test_equals_what_is_issued_whenever_it_is_asked(self, seed: int, events: int, day: int, plan: str) -> None:
        with transaction.atomic():
            costs.publish_plans()
            account = world.open_account()
            subscription = world.subscribe(account, plan)
            asked = world.NOVEMBER + timedelta(days=day)
            costs.use_randomly(account, Period(world.NOVEMBER, asked), events=events, seed=seed)
            upcoming = preview_upcoming(subscription_id=subscription.pk, at=asked)
            world.run_cycle(as_of=world.DECEMBER)
            assert upcoming is not None
            made = Invoice.objects.filter(subscription=subscription, boundary=upcoming.draft.facts.boundary).first()
            if made is not None:
                compare(upcoming, made)
            else:
                assert not upcoming.draft.lines
            transaction.set_rollback(True)

    def test_is_none_when_no_invoice_is_to_come(self) -> None:
        world.publish()
        subscription = world.subscribe(world.open_account())
        type(subscription).objects.filter(pk=subscription.pk).update(next_billing_at=None)
        assert preview_upcoming(subscription_id=subscription.pk, at=MIDDLE) is None

    def test_takes_a_fixed_number_of_queries(self) -> None:
        costs.publish_plans()
        account = world.open_account()
        subscription = world.subscribe(account, "by_model")
        counts = []
        for events in (2, 40):
            costs.use_randomly(account, Period(world.NOVEMBER, MIDDLE), events=events, seed=events)
            with CaptureQueriesContext(connection) as queries:
                preview_upcoming(subscription_id=subscription.pk, at=MIDDLE)
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestUsagePreview:
    def test_prices_as_the_subscription_does_and_spends_nothing(self) -> None:
        costs.publish_plans()
        account = world.open_account()
        world.subscribe(account, "committed")
        deposit(account=account, amount=100, currency="usd", at=MIDDLE, actor=world.TESTER, key="d")
        world.use(account, "calls", [10, 20], at=MIDDLE)
        entries = LedgerEntry.objects.count()
        found = preview_usage(account=account, at=MIDDLE)
        # 30 calls at 2 cents, and up to the minimum of 15.00.
        assert [(int(line.quantity), line.amount) for line in found.draft.lines] == [(30, 60), (1, 1440)]
        assert (found.draft.subtotal, found.credit_applied, found.amount_due) == (1500, 100, 1400)
        assert LedgerEntry.objects.count() == entries

    def test_covers_any_period(self) -> None:
        costs.publish_plans()
        account = world.open_account()
        world.subscribe(account, "per_unit")
        world.use(account, "calls", [300], at=world.NOVEMBER, key="a")
        world.use(account, "calls", [600], at=MIDDLE, key="b")
        second = preview_usage(account=account, at=MIDDLE, start=MIDDLE, end=MIDDLE + timedelta(hours=1))
        assert (second.draft.total, second.period.end) == (200, MIDDLE + timedelta(hours=1))
        empty = preview_usage(account=account, at=MIDDLE, start=MIDDLE - timedelta(hours=1), end=MIDDLE)
        assert (empty.draft.lines, empty.draft.total, empty.amount_due) == ((), 0, 0)

    def test_falls_back_on_default_rules_without_a_subscription(self) -> None:
        costs.publish_plans()
        account = world.open_account()
        meter = Meter.objects.get(event_name="calls")
        for price, since in (("5", world.OCTOBER), ("7", MIDDLE)):
            rule = PricingRule(
                org_id="default", meter=meter, currency="usd", unit_price=Decimal(price), valid_from=since
            )
            PricingRule.objects.filter(closed_at=None).update(closed_at=since)
            rule.save()
        world.use(account, "calls", [10], at=world.NOVEMBER)
        world.use(account, "payments", [10], at=world.NOVEMBER, key="not priced")
        (line,) = preview_usage(account=account, at=MIDDLE).draft.lines
        assert (line.amount, line.charge.price.model) == (70, "per_unit")
        before = preview_usage(account=account, at=MIDDLE, start=world.NOVEMBER, end=MIDDLE)
        assert before.draft.total == 50


class TestDoors:
    @pytest.fixture
    def client(self, api_client: Clients) -> BillingClient:
        return api_client()

    @pytest.fixture
    def account_id(self, clock_at: Callable[[datetime], AbstractContextManager[None]]) -> Iterator[str]:
        costs.publish_plans()
        account = world.open_account()
        world.subscribe(account, "per_unit")
        world.use(account, "calls", [300], at=world.NOVEMBER)
        with clock_at(MIDDLE):
            yield account.public_id

    def test_upcoming(self, client: BillingClient, account_id: str) -> None:
        found = client.get("/api/v1/billing/invoices/upcoming", {"account": account_id}).json()
        assert [(line["type"], line["amount"]) for line in found["line_items"]] == [
            ("subscription", 500),
            ("usage", 100),
        ]
        assert (found["subtotal"], found["amount_due"], found["currency"]) == (600, 600, "usd")
        assert (found["period_start"], found["period_end"]) == ("2023-11-01T00:00:00Z", "2023-12-01T00:00:00Z")
        assert found["line_items"][1]["explanation"][-1]["title"] == "Rounded once"
        path = f"/api/v1/billing/tenants/{account_id}/billing/preview"
        assert client.get(path).json() == found
        assert client.get(path, {"subscription_id": found["subscription_id"]}).json() == found

    def test_upcoming_of_nothing(self, client: BillingClient, account_id: str) -> None:
        path = "/api/v1/billing/invoices/upcoming"
        problem(client.get(path), "account_required", 400)
        other = world.open_account("other").public_id
        problem(client.get(path, {"account": other}), "subscription_not_found", 404)
        found = client.get(path, {"account": account_id}).json()
        asked = {"account": other, "subscription_id": found["subscription_id"]}
        problem(client.get(path, asked), "subscription_not_found", 404)
        problem(client.get("/api/v1/billing/tenants/nobody/billing/preview"), "not_found", 404)

    def test_usage(self, client: BillingClient, account_id: str) -> None:
        found = client.post("/api/v1/billing/invoice-preview", {"account": account_id}).json()
        (line,) = found["line_items"]
        assert (line["meter_name"], line["quantity"], line["total_cost"], line["model"]) == (
            "calls",
            "300",
            100,
            "per_unit",
        )
        assert (found["subtotal"], found["credit_applied"], found["amount_due"]) == (100, 0, 100)
        assert (found["period_start"], found["period_end"]) == ("2023-11-01T00:00:00Z", "2023-12-01T00:00:00Z")
        backwards = {
            "account": account_id,
            "period_start": "2023-11-02T00:00:00Z",
            "period_end": "2023-11-01T00:00:00Z",
        }
        problem(client.post("/api/v1/billing/invoice-preview", backwards), "period_invalid", 400)
        problem(client.post("/api/v1/billing/invoice-preview", {}), "account_required", 400)
        unreadable = {"account": account_id, "period_start": "yesterday"}
        problem(client.post("/api/v1/billing/invoice-preview", unreadable), "period_invalid", 400)

    def test_a_member_sees_its_own(self, api_client: Clients, account_id: str) -> None:
        stranger = api_client(audience="public", subject="stranger")
        problem(stranger.post("/api/v1/billing/invoice-preview", {"account": account_id}), "account_forbidden", 403)
