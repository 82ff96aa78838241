"""Billing data of an account to take away: columns, names, ranges, formulas, and as many queries for many rows."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.kernel.errors import PeriodNotValid
from invoicing.calculation.credit_facts import Wish
from invoicing.models import Invoice
from invoicing.queries.account_export import choose_days, list_usage, list_usage_events, name_export
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import CreditRequest
from tests.support import world
from tests.support.api import BillingClient, make_client
from tests.support.problems import problem
from tests.support.world import NOVEMBER

pytestmark = pytest.mark.django_db
PATH = "/api/v1/billing/tenants/acme/export"
NOW = datetime(2023, 12, 5, 9, 30, 7, tzinfo=UTC)


@pytest.fixture(autouse=True)
def account() -> Iterator[Account]:
    """An account in Auckland with two invoices, and usage on both sides of a local midnight."""
    world.publish()
    account = world.open_account("acme", timezone="Pacific/Auckland", name="=cmd()")
    world.subscribe(account, "pro", at=NOVEMBER)
    # 13 hours ahead: the 10th of November begins at 11:00 UTC of the ninth.
    world.use(account, "input_tokens", [1000, 500], at=datetime(2023, 11, 9, 10, 59, tzinfo=UTC), key="a")
    world.use(account, "input_tokens", [250], at=datetime(2023, 11, 9, 11, 0, tzinfo=UTC), key="b")
    world.run_cycle(as_of=world.DECEMBER)
    with clock.travel(NOW):
        yield account


@pytest.fixture
def client() -> BillingClient:
    return make_client()


def read(answer: Any) -> bytes:
    assert answer.status_code == 200
    return b"".join(answer.streaming_content)


def parse(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


class TestJson:
    def test_has_all_parts(self, client: BillingClient) -> None:
        answer = client.get(PATH)
        assert answer.headers["Content-Disposition"] == 'attachment; filename="billing_all_20231205_093007.json"'

        found = json.loads(read(answer))
        assert list(found) == ["customer", "subscription", "invoices", "usage"]
        assert (found["customer"]["external_id"], found["subscription"]["status"]) == ("acme", "active")
        assert [row["number_str"] for row in found["invoices"]] == ["INV-0002", "INV-0001"]
        # Each is the fee; the second has 1,750 × 0.00005 of usage besides, less than half a cent.
        assert [row["total"] for row in found["invoices"]] == [1000, 1000]
        assert [(line["type"], line["amount"]) for line in found["invoices"][0]["line_items"]] == [
            ("subscription", 1000),
            ("usage", 0),
        ]
        assert found["usage"] == [
            {"date": "2023-11-09", "service_name": "input_tokens", "usage": "1500", "events": "2"},
            {"date": "2023-11-10", "service_name": "input_tokens", "usage": "250", "events": "1"},
        ]

    def test_has_credit_notes_among_the_invoices(self, client: BillingClient) -> None:
        invoice = Invoice.objects.get(number_text="INV-0001")
        request = CreditRequest(Wish(amount=250))
        issue_credit_note(invoice_id=invoice.pk, request=request, at=NOW, actor=world.TESTER)
        found = json.loads(read(client.get(PATH, {"type": "invoices"})))["invoices"]
        assert [(row["number_str"], row["type"], row["total"]) for row in found] == [
            ("CN-0001", "credit_note", -250),
            ("INV-0002", "invoice", 1000),
            ("INV-0001", "invoice", 1000),
        ]
        # 7.50 + 10.00 are still to be paid, which invoices say; the note counts for the totals alone.
        assert [row["amount_remaining"] for row in found] == [0, 1000, 750]
        assert found[0]["corrects"] == "INV-0001"
        assert [(line["plan_id"], line["amount"]) for line in found[0]["line_items"]] == [("pro", -250)]

    def test_of_one_part_has_only_that(self, client: BillingClient) -> None:

        assert list(json.loads(read(client.get(PATH, {"type": "subscriptions"})))) == ["subscriptions"]
        assert json.loads(read(client.get(PATH, {"type": "payments"}))) == {"payments": []}


class TestCsv:
    def test_of_usage_is_by_day(self, client: BillingClient) -> None:
        answer = client.get(PATH, {"type": "usage", "format": "csv"})
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert 'filename="billing_usage_20231205_093007.csv"' in answer.headers["Content-Disposition"]
        assert read(answer).decode().splitlines() == [
            "date,service_name,usage,events",
            "2023-11-09,input_tokens,1500,2",
            "2023-11-10,input_tokens,250,1",
        ]

    def test_of_single_events_is_newest_first_and_priced(self, client: BillingClient) -> None:
        rows = parse(read(client.get(PATH, {"type": "usage", "format": "csv", "detailed": "true"})))
        assert rows[0] == ["timestamp", "service", "quantity", "unit_cost", "total_cost", "metadata"]
        # 250 × 0.00005 minor units.
        assert rows[1] == ["2023-11-09T11:00:00Z", "input_tokens", "250", "0.00005", "0.0125", ""]
        assert sorted(row[2] for row in rows[2:]) == ["1000", "500"]

    def test_of_everything_is_an_archive_of_four_files(self, client: BillingClient) -> None:
        answer = client.get(PATH, {"format": "csv"})
        assert 'filename="billing_all_20231205_093007.zip"' in answer.headers["Content-Disposition"]
        archive = zipfile.ZipFile(io.BytesIO(read(answer)))
        assert archive.namelist() == ["customer.csv", "subscriptions.csv", "invoices.csv", "usage.csv"]
        assert archive.testzip() is None
        customer = dict(zip(*parse(archive.read("customer.csv")), strict=True))
        assert (customer["external_id"], customer["name"]) == ("acme", "'=cmd()")
        assert len(parse(archive.read("invoices.csv"))) == 3

    def test_of_invoices_has_credit_notes_in_their_period(self, client: BillingClient) -> None:
        invoice = Invoice.objects.get(number_text="INV-0001")
        by: dict[str, Any] = {"at": NOW, "actor": world.TESTER}
        notes = [
            issue_credit_note(invoice_id=invoice.pk, request=CreditRequest(Wish(amount=amount)), **by)
            for amount in (250, 100)
        ]
        void_credit_note(credit_note_id=notes[1].pk, **by)

        def list_rows(**query: str) -> list[dict[str, str]]:
            head, *rows = parse(read(client.get(PATH, {"type": "invoices", "format": "csv", **query})))
            return [dict(zip(head, row, strict=True)) for row in rows]

        columns = ("number", "type", "corrects", "status", "subtotal", "total", "amount_remaining")
        assert [tuple(row[name] for name in columns) for row in list_rows(start="2023-12-01")] == [
            ("CN-0002", "credit_note", "INV-0001", "void", "-100", "-100", "0"),
            ("CN-0001", "credit_note", "INV-0001", "issued", "-250", "-250", "0"),
            ("INV-0002", "invoice", "", "open", "1000", "1000", "1000"),
        ]
        assert [row["number"] for row in list_rows(end="2023-11-30")] == ["INV-0001"]
        standing = [row for row in list_rows() if row["status"] != "void"]
        assert sum(int(row["total"]) for row in standing) == 1000 + 1000 - 250

    def test_narrows_to_days_or_a_year(self, client: BillingClient) -> None:
        def count(kind: str, **query: str) -> int:
            return len(parse(read(client.get(PATH, {"type": kind, "format": "csv", **query})))) - 1

        assert count("usage", start="2023-11-10") == 1
        assert count("usage", end="2023-11-09") == 1
        assert count("invoices", end="2023-11-30") == 1
        assert (count("invoices", year="2023"), count("invoices", year="2022")) == (2, 0)
        assert (count("usage", year="2023"), count("usage", year="2024")) == (2, 0)

    def test_takes_as_many_queries_for_many_invoices_as_for_one(self, client: BillingClient) -> None:
        counts = []
        for months in (0, 3):
            for month in range(months):
                world.run_cycle(as_of=datetime(2024, month + 1, 2, tzinfo=UTC))
            for invoice in Invoice.objects.all():
                request = CreditRequest(Wish(amount=1))
                issue_credit_note(invoice_id=invoice.pk, request=request, at=NOW, actor=world.TESTER)
            with CaptureQueriesContext(connection) as queries:
                read(client.get(PATH, {"type": "invoices"}))
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestRefusals:
    def test_a_year_with_bounds_and_a_reversed_period(self, client: BillingClient) -> None:
        problem(client.get(PATH, {"year": "2023", "start": "2023-01-01"}), "period_invalid", 400)
        problem(client.get(PATH, {"start": "2023-02-01", "end": "2023-01-01"}), "period_invalid", 400)
        problem(client.get(PATH, {"type": "secrets"}), "validation_failed", 400)

    def test_strangers(self, client: BillingClient) -> None:
        problem(client.get("/api/v1/billing/tenants/nobody/export"), "not_found", 404)
        problem(make_client("public", "stranger").get(PATH), "account_forbidden", 403)
        world.open_account("other")
        own = make_client("public", "other")
        assert (
            parse(read(own.get("/api/v1/billing/tenants/other/export", {"type": "invoices", "format": "csv"})))[1:]
            == []
        )


def test_days_and_names(account: Account) -> None:
    with pytest.raises(PeriodNotValid):
        choose_days(year=2023, start=None, end=date(2023, 2, 1))
    assert name_export("usage", "csv", at=NOW) == "billing_usage_20231205_093007.csv"
    open_days = choose_days(year=None, start=None, end=None)
    assert len(list(list_usage(account, open_days, now=NOVEMBER + timedelta(days=5)).rows)) == 0
    assert len(list(list_usage_events(account, open_days, now=NOW).rows)) == 3
