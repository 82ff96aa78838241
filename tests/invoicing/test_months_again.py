"""Dry runs, a month at other prices, and the shadow re-run: what they say, and that nothing is written."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Subscription, SubscriptionItem
from accounts.services.deposits import deposit
from billing_site.kernel.read_only import read_only
from catalog.models import Meter
from catalog.services.pricing_rules import create_pricing_rule
from invoicing.calculation.facts import InvoiceFacts
from invoicing.calculation.shares import ShareFacts
from invoicing.models import Invoice, InvoiceReview, Seller
from invoicing.queries.charges_anew import load_charges_anew
from invoicing.queries.dry_runs import dry_run
from invoicing.queries.period_invoices import Month, list_period_invoices
from invoicing.services.changes import ChangeRequest, change_subscription
from tests.support import world

pytestmark = pytest.mark.django_db

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


def open_customers(count: int) -> None:
    """Open accounts with a fee, usage in November and December, and here and there money stored."""
    for number in range(count):
        account = world.open_account(f"customer-{number}")
        world.subscribe(account, "pro")
        world.subscribe(account, "free")
        world.use(account, "input_tokens", [3_333_333 * (number + 1)], at=world.NOVEMBER + timedelta(days=4))
        world.use(account, "output_tokens", [777_777], at=world.DECEMBER + timedelta(days=4), key="december")
        if number % 2:
            deposit(account=account, amount=700, currency="usd", at=world.NOVEMBER, actor=world.TESTER)


def command(name: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, stdout=out, stderr=out, **options)
    return out.getvalue()


class TestReadOnly:
    def test_refuses_to_write(self) -> None:
        with pytest.raises(DatabaseError, match="read-only"), read_only():
            Seller.objects.create(org_id="x", name="x")

    def test_ends_with_the_block(self) -> None:
        with read_only():
            Seller.objects.count()
        Seller.objects.create(org_id="x", name="x")


class TestDryRun:
    def test_is_what_the_run_then_issues_line_by_line(self, tmp_path: Path) -> None:
        open_customers(5)
        before = Invoice.objects.count()
        invoices = [each for batch in dry_run(org_id="default", as_of=JANUARY, size=2) for each in batch.invoices]
        said = command("dry_run", org="default", at=JANUARY.isoformat(), csv=str(tmp_path / "dry.csv"))
        assert Invoice.objects.count() == before
        world.run_cycle(as_of=JANUARY)
        issued = Invoice.objects.filter(boundary__gt=0).order_by("subscription_id", "boundary")
        found = sorted(invoices, key=lambda each: (each.previewed.subscription.pk, each.invoice.draft.facts.boundary))
        assert [each.invoice.draft.facts.as_dict() for each in found] == [invoice.trace for invoice in issued]
        assert [(each.invoice.draft.total, each.invoice.credit_applied, each.invoice.amount_due) for each in found] == [
            (invoice.total, invoice.credit_applied, invoice.amount_due) for invoice in issued
        ]
        assert "10 subscriptions due: 10 invoices would be issued, 0 held for review, 0 would fail" in said
        with (tmp_path / "dry.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == sum(invoice.lines.count() for invoice in issued)
        assert {row["invoice_total"] for row in rows} == {f"{invoice.total / 100:.2f}" for invoice in issued}

    def test_says_what_would_be_held_and_what_would_fail(self) -> None:
        open_customers(3)
        Seller.objects.update(review_amounts={"usd": 1400})
        broken = Subscription.objects.filter(account__external_id="customer-1", plan_version__plan__key="pro")
        broken.update(currency="eur")
        said = command("dry_run", org="default", at=JANUARY.isoformat())
        assert "2 would fail" in said and "1 held for review" in said
        world.run_cycle(as_of=JANUARY)
        assert InvoiceReview.objects.count() == 1


class TestTheMonthOfAnInvoice:
    def test_is_that_of_its_newest_usage_else_of_its_newest_line(self) -> None:
        open_customers(1)
        world.subscribe(world.open_account("quiet"), "pro")
        world.run_cycle(as_of=JANUARY)

        def find(month: str) -> list[tuple[str | None, int | None]]:
            batches = list_period_invoices(Month.parse(month))
            found = [(each.account.external_id, each.boundary) for batch in batches for each in batch]
            return sorted(found, key=str)

        # boundary 0 is the fee of November, 1 has the usage of November (and December's fee), 2 that of December
        assert find("2023-11") == [("customer-0", 0), ("customer-0", 1), ("quiet", 0)]
        assert find("2023-12") == [("customer-0", 2), ("quiet", 1)]
        assert find("2024-01") == [("quiet", 2)]


class TestWhatIf:
    def write(self, path: Path, **prices: Any) -> str:
        (path / "new.json").write_text(json.dumps(world.make_document(**prices)))
        return str(path / "new.json")

    def test_prices_the_usage_of_then_anew(self, tmp_path: Path) -> None:
        account = world.open_account()
        world.subscribe(account, "pro")
        world.use(account, "input_tokens", [3_000_000], at=world.NOVEMBER + timedelta(days=4))
        world.run_cycle(as_of=world.DECEMBER)
        new = self.write(tmp_path, fee=1200, input_price="0.0001")
        before = Invoice.objects.count()
        said = command("whatif", catalog=new, period="2023-11", csv=str(tmp_path / "out.csv"))
        # issued: 10.00, then 10.00 + 3,000,000 × 0.00005 = 1.50; now 12.00, then 12.00 + 3.00
        assert "total: 21.50 issued, 27.00 at these prices, +5.50 USD" in said
        assert "2 invoices of 2023-11" in said
        assert Invoice.objects.count() == before
        with (tmp_path / "out.csv").open() as file:
            assert [(row["issued"], row["would_be"], row["difference"]) for row in csv.DictReader(file)] == [
                ("10.00", "12.00", "2.00"),
                ("11.50", "15.00", "3.50"),
            ]

    def test_is_nothing_at_the_same_prices(self, tmp_path: Path) -> None:
        open_customers(3)
        world.run_cycle(as_of=JANUARY)
        assert "+0.00 USD" in command("whatif", catalog=self.write(tmp_path), period="2023-11").splitlines()[-1]

    def test_takes_one_account(self, tmp_path: Path) -> None:
        open_customers(2)
        said = command("whatif", catalog=self.write(tmp_path, fee=1100), period="2023-11", accounts=["customer-1"])
        assert "total: 10.00 issued, 11.00 at these prices, +1.00 USD" in said

    def test_lists_what_has_no_price_there(self, tmp_path: Path) -> None:
        open_customers(1)
        document = world.make_document()
        document["plans"] = [plan for plan in document["plans"] if plan["id"] != "pro"]
        (tmp_path / "less.json").write_text(json.dumps(document))
        said = command("whatif", catalog=str(tmp_path / "less.json"), period="2023-11")
        assert "price kept for 1: pro: no plan pro" in said

    def test_measures_usage_again_for_prices_that_look_closer(self, tmp_path: Path) -> None:
        account = world.open_account()
        world.subscribe(account, "payg")
        world.use(account, "input_tokens", [1_000_000, 2_000_000], at=world.NOVEMBER + timedelta(days=4))
        world.run_cycle(as_of=world.DECEMBER)
        document = world.make_document()
        for plan in document["plans"]:
            for price in plan["prices"]:
                if price.get("meter") == "input_tokens":
                    price.pop("unit_amount", None)
                    price |= {"model": "percentage", "percent": "0.01", "fixed_amount": "7"}
        (tmp_path / "events.json").write_text(json.dumps(document))
        said = command("whatif", catalog=str(tmp_path / "events.json"), period="2023-11")
        # 0.01 % of 3,000,000 = 300, and 7 for each of two events: 314
        assert "total: 1.50 issued, 3.14 at these prices" in said


class TestShadow:
    def test_holds_for_what_was_issued(self) -> None:
        open_customers(3)
        world.run_cycle(as_of=JANUARY)
        said = command("shadow", period="2023-11")
        assert "6 invoices of 2023-11 computed again, 12 charges gathered anew" in said
        assert "0 invoices with late usage, 0 differ" in said

    def test_finds_usage_that_vanished_and_names_the_line(self) -> None:
        open_customers(1)
        world.run_cycle(as_of=world.DECEMBER)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("DELETE FROM usage_events")
            cursor.execute("DELETE FROM usage_counters")
            cursor.execute("SET LOCAL session_replication_role = origin")
        out = io.StringIO()
        with pytest.raises(CommandError) as failed:
            call_command("shadow", period="2023-11", stdout=out)
        assert failed.value.returncode == 1
        assert "INV-0002, gathered anew: total: stored 1167, computed 1000" in out.getvalue()

    def test_finds_a_changed_amount(self) -> None:
        open_customers(1)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("UPDATE invoice_lines SET amount = 999")
            cursor.execute("SET LOCAL session_replication_role = origin")
        with pytest.raises(CommandError):
            command("shadow", period="2023-11")

    def test_calls_usage_that_came_late_no_error(self) -> None:
        open_customers(1)
        world.run_cycle(as_of=world.DECEMBER)
        account = Invoice.objects.earliest("id").account
        world.use(account, "input_tokens", ["5"], at=world.NOVEMBER + timedelta(days=5), key="late")
        assert "1 invoices with late usage, 0 differ" in command("shadow", period="2023-11")

    def test_asks_as_often_for_many_as_for_few(self) -> None:
        open_customers(1)
        world.run_cycle(as_of=world.DECEMBER)
        with CaptureQueriesContext(connection) as few:
            command("shadow", period="2023-11")
        for number in range(4):
            account = world.open_account(f"more-{number}")
            world.subscribe(account, "pro")
            world.use(account, "input_tokens", [1000], at=world.NOVEMBER + timedelta(days=4))
        world.run_cycle(as_of=world.DECEMBER)
        with CaptureQueriesContext(connection) as many:
            command("shadow", period="2023-11")
        assert len(many) == len(few)

    def test_gathers_what_a_rule_priced(self) -> None:
        account = world.open_account()
        world.subscribe(account, "free")
        meter = Meter.objects.get(event_name="input_tokens")
        create_pricing_rule(
            org_id="default",
            meter="input_tokens",
            unit_price=Decimal("0.001"),
            currency="usd",
            at=world.OCTOBER,
            actor=world.TESTER,
        )
        world.use(account, "input_tokens", [5000], at=world.NOVEMBER + timedelta(days=4))
        world.run_cycle(as_of=world.DECEMBER)
        assert Invoice.objects.get().total == 5
        said = command("shadow", period="2023-11")
        assert "1 invoices of 2023-11 computed again, 2 charges gathered anew" in said and "0 differ" in said
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("UPDATE pricing_rules SET unit_price = 0.002 WHERE meter_id = %s", [meter.pk])
            cursor.execute("SET LOCAL session_replication_role = origin")
        out = io.StringIO()
        with pytest.raises(CommandError):
            call_command("shadow", period="2023-11", stdout=out)
        assert "gathered anew: total: stored 5, computed 10" in out.getvalue()

    def test_counts_seats_that_nobody_has_changed(self) -> None:
        world.subscribe(world.open_account(), "pro", quantity=3)
        assert "0 differ" in command("shadow", period="2023-11")
        SubscriptionItem.objects.filter(price__meter__isnull=True).update(quantity=2)
        out = io.StringIO()
        with pytest.raises(CommandError):
            call_command("shadow", period="2023-11", stdout=out)
        assert "gathered anew: total: stored 3000, computed 2000" in out.getvalue()

    def test_leaves_seats_that_were_changed_since(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro", quantity=3)
        change_subscription(
            subscription_id=subscription.pk,
            request=ChangeRequest(quantity=5),
            at=world.NOVEMBER + timedelta(days=9),
            actor=world.TESTER,
        )
        assert "2 invoices of 2023-11 computed again" in command("shadow", period="2023-11")

    def test_counts_the_days_of_a_stub(self) -> None:
        start = world.NOVEMBER + timedelta(days=15)
        subscription = world.subscribe(world.open_account(), "pro", alignment="calendar", at=start)
        assert Invoice.objects.get().total == 500  # 15 of 30 days
        assert "0 differ" in command("shadow", period="2023-11")
        Subscription.objects.filter(pk=subscription.pk).update(interval_count=3)
        assert "0 differ" in command("shadow", period="2023-11"), "another cycle explains nothing"
        charge = InvoiceFacts.from_dict(Invoice.objects.get().trace).charges[0]
        Subscription.objects.filter(pk=subscription.pk).update(interval_count=1)
        wrong = replace(charge, share=ShareFacts(14, 30, "14/30 days"))
        assert load_charges_anew([wrong]).measure(wrong, timezone="UTC") == charge
        assert load_charges_anew([charge]).measure(charge, timezone="UTC") == charge
