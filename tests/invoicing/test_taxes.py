"""Tax on stored invoices: rates by place and day, kept by rate and by line, fixed and proven."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Posting
from catalog.models import TaxRate
from catalog.queries.references import ObjectInUse
from catalog.services.tax_rates import create_tax_rate, delete_tax_rate, end_tax_rate
from invoicing.models import Invoice, InvoiceTax, Seller
from invoicing.queries.documents import build_invoice_view
from invoicing.queries.previews import preview_subscriptions
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.draft_editing import add_lines, create_invoice
from invoicing.services.given_lines import NewLine
from invoicing.services.invoices import finalize_invoice
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.api import make_client

pytestmark = pytest.mark.django_db
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


def add_rate(percent: str = "19", **terms: Any) -> TaxRate:
    terms = {"name": "VAT", "country": "DE", "org_id": "default", **terms}
    return create_tax_rate(rate=Decimal(percent) / 100, at=world.OCTOBER, actor=world.TESTER, **terms)


def bill(account: Account, **options: Any) -> Invoice:
    """Start `pro`, 10.00 a month in advance, and return its first invoice."""
    world.subscribe(account, **options)
    return Invoice.objects.filter(account=account).latest("id")


@pytest.fixture(autouse=True)
def _catalog(db: None) -> None:
    world.publish()


class TestStoredTax:
    def test_is_kept_by_rate_and_by_line(self) -> None:
        rate = add_rate("8.75", country="US", state="CA", name="Sales tax")
        add_rate("2", country="US", name="Federal levy")
        invoice = bill(world.open_account(country="US", state="CA"))
        rows = invoice.taxes.all()
        assert [(row.name, row.base, row.amount, row.jurisdiction) for row in rows] == [
            ("Federal levy", 1000, 20, "US"),
            ("Sales tax", 1000, 88, "US-CA"),
        ]
        assert rows[1].tax_rate == rate
        (line,) = invoice.lines.all()
        assert (line.tax, line.tax_shares) == (108, [20, 88])
        assert (invoice.subtotal, invoice.tax, invoice.total, invoice.tax_mode) == (1000, 108, 1108, "rate")
        assert verify_invoice(invoice).holds

    def test_is_posted_apart_from_revenue(self) -> None:
        add_rate()
        invoice = bill(world.open_account(country="DE"))
        postings = Posting.objects.filter(entry__key=f"invoice:{invoice.public_id}")
        assert {each.ledger_account.kind: each.amount for each in postings} == {
            "receivable": 1190,
            "deferred_revenue": -1000,
            "tax": -190,
        }

    def test_of_a_price_that_includes_it_is_taken_out(self) -> None:
        add_rate(inclusive=True)
        invoice = bill(world.open_account(country="DE"))
        assert (invoice.subtotal, invoice.tax, invoice.total) == (840, 160, 1000)
        assert verify_invoice(invoice).holds

    def test_is_none_without_an_address_or_a_rate(self) -> None:
        add_rate()
        for handle, country in (("nowhere", ""), ("abroad", "JP")):
            invoice = bill(world.open_account(handle, country=country))
            assert (invoice.tax, invoice.taxes.count()) == (0, 0)
            assert verify_invoice(invoice).holds

    def test_follows_the_sellers_mode(self) -> None:
        add_rate(inclusive=True)
        account = world.open_account(country="DE")
        bill(account)
        Seller.objects.update(tax_mode="keep_gross")
        world.run_cycle(as_of=world.DECEMBER)
        assert list(Invoice.objects.order_by("id").values_list("tax_mode", flat=True)) == ["rate", "keep_gross"]


class TestReasonsForNone:
    def test_a_business_elsewhere_in_the_union_accounts_for_it(self) -> None:
        add_rate()
        bill(world.open_account("first"))
        Seller.objects.update(country="FR")
        invoice = bill(world.open_account("firm", country="DE", tax_id="DE136695976"))
        (row,) = invoice.taxes.all()
        assert (invoice.tax, row.rate, row.base, row.tax_rate) == (0, Decimal(0), 1000, None)
        assert (row.name, row.note) == ("Reverse charge", "Reverse charge: the recipient accounts for the tax.")
        assert bill(world.open_account("person", country="DE")).tax == 190
        assert verify_invoice(invoice).holds

    def test_a_number_that_is_no_vat_number_does_not_reverse_the_charge(self) -> None:
        add_rate()
        bill(world.open_account("first"))
        Seller.objects.update(country="FR")
        assert bill(world.open_account("firm", country="DE", tax_id="18181508155")).tax == 190  # a Steuernummer

    def test_the_union_can_be_another_one(self, settings: Any) -> None:
        settings.BILLING_TAX_UNION = frozenset({"AE", "SA"})
        add_rate(country="SA")
        bill(world.open_account("first"))
        Seller.objects.update(country="AE")
        assert bill(world.open_account("firm", country="SA", tax_id="300000000000003")).tax == 0
        assert bill(world.open_account("person", country="SA")).tax == 190

    def test_an_exempt_account_pays_none(self) -> None:
        add_rate()
        invoice = bill(world.open_account(country="DE", tax_exempt=True))
        assert (invoice.tax, invoice.taxes.get().name) == (0, "Tax exempt")


class TestDays:
    def test_usage_bears_the_rate_of_the_month_in_which_it_was(self) -> None:
        add_rate("16", name="Old", valid_to=date(2023, 11, 30))
        add_rate("19", name="New", valid_from=date(2023, 12, 1))
        account = world.open_account(country="DE")
        bill(account)
        world.use(account, "input_tokens", [20_000_000], at=datetime(2023, 11, 20, tzinfo=UTC))
        world.run_cycle(as_of=JANUARY)
        first, december, january = Invoice.objects.order_by("id")
        assert first.tax == 160
        assert [(row.name, row.base, row.amount) for row in december.taxes.all()] == [
            ("New", 1000, 190),
            ("Old", 1000, 160),
        ]
        assert [row.name for row in january.taxes.all()] == ["New"]
        assert all(verify_invoice(each).holds for each in (first, december, january))

    def test_an_ended_rate_stays_on_what_was_issued(self) -> None:
        rate = add_rate()
        invoice = bill(world.open_account(country="DE"))
        end_tax_rate(rate_id=rate.id, at=datetime(2023, 11, 15, tzinfo=UTC), actor=world.TESTER)
        world.run_cycle(as_of=world.DECEMBER)
        assert Invoice.objects.latest("id").tax == 0
        assert verify_invoice(invoice).holds
        with pytest.raises(ObjectInUse):
            delete_tax_rate(rate_id=rate.id, at=world.DECEMBER, actor=world.TESTER)


class TestEveryDoor:
    def test_what_is_previewed_is_what_is_issued(self) -> None:
        add_rate("7.7", inclusive=True)
        add_rate("1", name="Levy")
        account = world.open_account(country="DE")
        subscription = world.subscribe(account)
        world.use(account, "input_tokens", [3_333_333], at=datetime(2023, 11, 20, tzinfo=UTC))
        (previewed,) = preview_subscriptions(subscription_ids=[subscription.id], as_of=world.DECEMBER)
        world.run_cycle(as_of=world.DECEMBER)
        issued = Invoice.objects.latest("id")
        (draft,) = previewed.drafts
        assert [(each.base, each.amount) for each in draft.taxes] == [
            (row.base, row.amount) for row in issued.taxes.all()
        ]
        assert (draft.subtotal, draft.tax, draft.total) == (issued.subtotal, issued.tax, issued.total)

    def test_a_run_asks_for_rates_once(self) -> None:
        add_rate()
        counts = []
        for number, size in enumerate((1, 4)):
            start = datetime(2023, 11, 1 + number, tzinfo=UTC)
            for index in range(size):
                bill(world.open_account(f"a{number}-{index}", country="DE"), at=start)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                world.run_cycle(as_of=datetime(2023, 12, 1 + number, tzinfo=UTC))
            counts.append(len(queries))
            asked = [each for each in queries.captured_queries if 'FROM "tax_rates"' in each["sql"]]
            written = [each for each in queries.captured_queries if "invoice_taxes" in each["sql"]]
            assert (len(asked), len(written)) == (1, 1)


class TestPromises:
    def test_the_tax_of_an_issued_invoice_cannot_change(self) -> None:
        add_rate()
        bill(world.open_account(country="DE"))
        row = InvoiceTax.objects.get()
        with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
            InvoiceTax.objects.update(amount=1)
        with pytest.raises(IntegrityError, match="cannot change"), transaction.atomic():
            InvoiceTax.objects.filter(pk=row.pk).delete()
        row.pk, row.position = None, 2
        with pytest.raises(IntegrityError, match="cannot change"), transaction.atomic():
            row.save(force_insert=True)

    def test_an_invoice_whose_tax_is_not_that_of_its_rates_is_not_issued(self) -> None:
        add_rate()
        invoice = bill(world.open_account(country="DE"))
        draft = world.copy_as_draft(invoice)
        issued = {name: getattr(invoice, name) for name in ("finalized_at", "issue_date", "due_date", "series")}
        with pytest.raises(IntegrityError, match="that of its rates"), transaction.atomic():
            Invoice.objects.filter(pk=draft.pk).update(status="open", number=99, **issued)


class TestCalculateTax:
    def draft(self, account: Account) -> Invoice:
        line = NewLine(description="Consulting", amount=10000)
        return create_invoice(account=account, lines=[line], at=world.NOVEMBER, actor=world.TESTER)

    def post(self, invoice: Invoice, query: str) -> Any:
        client = make_client(scopes=["billing:invoice:write"])
        return client.post(f"/api/v1/billing/invoices/{invoice.public_id}/calculate-tax?{query}")

    def test_puts_the_tax_of_a_place_on_a_draft(self) -> None:
        rate = add_rate("8.75", country="US", state="CA", name="Sales tax")
        invoice = self.draft(world.open_account())
        for _ in range(2):
            answer = self.post(invoice, "country=us&state=ca&postal_code=94103")
            assert answer.status_code == 200
            assert answer.json()["total_tax"] == 875
            assert answer.json()["tax_lines"] == [
                {
                    "tax_rate_id": rate.public_id,
                    "description": "Sales tax",
                    "rate": "0.0875",
                    "inclusive": False,
                    "jurisdiction": "US-CA",
                    "base": 10000,
                    "amount": 875,
                    "note": "",
                }
            ]
            assert answer.json()["invoice"]["amount_due"] == 10875
            assert answer.json()["invoice"]["tax_percent"] == "8.75"
        invoice.refresh_from_db()
        assert verify_invoice(invoice).holds

    def test_lines_added_later_are_taxed_at_the_same_place(self) -> None:
        add_rate("10", country="JP", name="Consumption tax")
        invoice = self.draft(world.open_account(country="DE"))
        self.post(invoice, "country=JP")
        more = NewLine(description="More", amount=5000)
        add_lines(invoice_id=invoice.pk, lines=[more], at=world.NOVEMBER, actor=world.TESTER)
        issued = finalize_invoice(invoice_id=invoice.pk, at=world.NOVEMBER, actor=world.TESTER)
        assert (issued.tax, issued.total) == (1500, 16500)
        assert verify_invoice(issued).holds

    def test_a_place_without_rates_has_no_tax(self) -> None:
        add_rate()
        invoice = self.draft(world.open_account(country="DE"))
        assert invoice.tax == 1900
        assert self.post(invoice, "country=JP").json()["total_tax"] == 0

    def test_is_refused_without_a_country_and_on_what_is_issued(self) -> None:
        invoice = self.draft(world.open_account())
        for query in ("", "country=XX", "country=Germany"):
            assert self.post(invoice, query).json()["code"] == "validation_failed"
        finalize_invoice(invoice_id=invoice.pk, at=world.NOVEMBER, actor=world.TESTER)
        answer = self.post(invoice, "country=DE")
        assert (answer.status_code, answer.json()["code"]) == (409, "invoice_not_draft")


class TestPaper:
    def test_shows_tax_by_rate_and_why_there_is_none(self) -> None:
        add_rate("20", country="FR", name="TVA", inclusive=True)
        invoice = bill(world.open_account(country="FR"))
        view = build_invoice_view(invoice, list(invoice.lines.all()), taxes=list(invoice.taxes.all()))
        assert [(each.name, each.rate_percent, each.base, each.amount) for each in view.tax_lines] == [
            ("TVA (FR)", Decimal(20), 833, 167)
        ]
        assert view.notes == ("Unit prices include tax; amounts are without it.",)
        exempt = bill(world.open_account("school", country="FR", tax_exempt=True))
        shown = build_invoice_view(exempt, list(exempt.lines.all()), taxes=list(exempt.taxes.all()))
        assert shown.notes == ("The customer is exempt from tax.",)
        assert get_invoice_pdf(exempt).startswith(b"%PDF")
