"""The journal: balanced row sets with document numbers, in the codes of the seller, and refused when it is not."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.services.deposits import deposit
from billing_site.kernel.errors import ValidationFailed
from invoicing.calculation.credit_facts import Wish
from invoicing.models import Seller
from invoicing.queries.journal import JournalTotals, stream_journal
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import CreditRequest
from invoicing.services.invoices import void_invoice
from invoicing.services.revenue import release_revenue
from invoicing.services.sellers import update_seller
from tests.accounts.queries.test_proof import tamper
from tests.support import world
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
MONTH = date(2023, 11, 1)


@pytest.fixture(autouse=True)
def _world() -> None:
    """An invoice of 10.00 on 1 November, a deposit of 5.00 by =acme, and two days of revenue."""
    world.publish()
    account = world.open_account("=acme")
    world.subscribe(account, "pro")
    at = NOVEMBER + timedelta(days=1)
    deposit(account=account, amount=500, currency="usd", at=at, actor=TESTER)
    release_revenue(at=datetime(2023, 11, 3, 1, tzinfo=UTC))


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def export(path: Path, month: str = "2023-11") -> list[list[str]]:
    call_command("export_journal", month, output=path)
    return read(path.read_text(encoding="utf-8"))


def test_writes_a_balanced_set_for_every_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seller = Seller.objects.get()
    codes = {"revenue": "4400", "deferred_revenue": "3900", "receivable": "1200"}
    update_seller(seller_id=seller.pk, changes={"ledger_codes": codes}, at=NOVEMBER, actor=TESTER)
    head, *rows = export(tmp_path / "journal.csv")
    assert head == ["date", "document", "account", "ledger_account", "debit", "credit", "currency", "text"]
    assert sorted(row[:7] for row in rows if row[1] == "INV-0001") == [
        ["2023-11-01", "INV-0001", "'=acme", "1200", "10.00", "", "USD"],
        ["2023-11-01", "INV-0001", "'=acme", "3900", "", "10.00", "USD"],
    ]
    # 10.00 over 30 days begins with 0.34.
    assert [row[:1] + row[3:7] for row in rows if row[7].startswith("Revenue of")] == [
        ["2023-11-01", "3900", "0.34", "", "USD"],
        ["2023-11-01", "4400", "", "0.34", "USD"],
        ["2023-11-02", "3900", "0.34", "", "USD"],
        ["2023-11-02", "4400", "", "0.34", "USD"],
    ]
    assert {(row[3], row[4], row[5]) for row in rows if row[3] in ("cash", "prepaid")} == {
        ("cash", "5.00", ""),
        ("prepaid", "", "5.00"),
    }
    assert "8 rows, balanced: 15.68 USD" in capsys.readouterr().err


def test_keeps_to_the_month_and_the_organization(tmp_path: Path) -> None:
    assert len(export(tmp_path / "empty.csv", "2023-12")) == 1
    world.publish(org_id="umbrella")
    world.subscribe(world.open_account("umbrella/one"), "pro")
    assert {row.account for row in stream_journal(org_id="umbrella", month=MONTH)} == {"umbrella/one"}
    void_invoice(invoice_id=world.list_invoices()[0].pk, at=NOVEMBER + timedelta(days=40), actor=TESTER)
    december = list(stream_journal(org_id="default", month=date(2023, 12, 1)))
    assert {row.document for row in december} == {"INV-0001"}
    assert sum(row.amount for row in december) == 0


def test_names_credit_notes_by_their_own_number() -> None:
    (invoice,) = world.list_invoices()
    request = CreditRequest(Wish(amount=400))
    note = issue_credit_note(invoice_id=invoice.pk, request=request, at=NOVEMBER + timedelta(days=5), actor=TESTER)
    rows = [row for row in stream_journal(org_id="default", month=MONTH) if row.document == note.number_text]
    # The fee has 9.32 left to earn: all 4.00 come out of what is deferred.
    assert sorted((row.ledger_account, row.amount) for row in rows) == [("deferred_revenue", 400), ("receivable", -400)]
    void_credit_note(credit_note_id=note.pk, at=NOVEMBER + timedelta(days=35), actor=TESTER)
    # It stays in the books of November; December takes it back.
    december = stream_journal(org_id="default", month=date(2023, 12, 1))
    reversed_rows = [(row.ledger_account, row.amount) for row in december if row.document == note.number_text]
    assert ("receivable", 400) in reversed_rows
    assert sum(amount for _, amount in reversed_rows) == 0
    again = [row for row in stream_journal(org_id="default", month=MONTH) if row.document == note.number_text]
    assert again == rows


def test_refuses_what_does_not_balance(tmp_path: Path) -> None:
    tamper("UPDATE ledger_postings SET amount = amount + 1 WHERE amount = 500")
    with pytest.raises(CommandError, match="does not balance: txn_"):
        export(tmp_path / "journal.csv")


def test_takes_no_more_queries_for_more_entries() -> None:
    counts = []
    for number in (0, 5):
        for each in range(number):
            world.subscribe(world.open_account(f"more-{each}"), "pro")
        with CaptureQueriesContext(connection) as queries:
            totals = JournalTotals()
            rows = list(totals.watch(stream_journal(org_id="default", month=MONTH)))
        assert totals.is_balanced
        assert totals.rows == len(rows) == 8 + 2 * number
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("codes", [{"revenues": "1"}, {"revenue": ""}, {"revenue": 4400}, ["revenue"]])
def test_codes_are_of_ledger_accounts(codes: object) -> None:
    with pytest.raises(ValidationFailed):
        update_seller(seller_id=Seller.objects.get().pk, changes={"ledger_codes": codes}, at=NOVEMBER, actor=TESTER)


class TestThePage:
    def sign_in(self, role: str) -> Client:
        user = User.objects.create_user(f"ada-{role}", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        browser = Client()
        browser.force_login(user)
        return browser

    def test_is_downloaded_from_the_seller(self) -> None:
        browser, seller = self.sign_in("viewer"), Seller.objects.get()
        url = reverse("admin:invoicing_seller_journal", args=[seller.pk])
        assert url in browser.get(reverse("admin:invoicing_seller_change", args=[seller.pk])).content.decode()
        answer = browser.get(url, {"month": "2023-11"})
        assert answer.headers["Content-Disposition"] == 'attachment; filename="journal-default-inv-2023-11.csv"'
        assert len(read(b"".join(answer.streaming_content).decode())) == 9  # type: ignore[attr-defined]
        assert browser.get(url, {"month": "november"}).status_code == 400
