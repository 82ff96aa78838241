"""What plain SQL against the database cannot do, whoever sends it."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from billing_site.kernel.ids import new_uuid
from invoicing.models import Invoice, InvoiceLine
from invoicing.services.documents import store_documents
from invoicing.services.invoices import void_invoice
from tests.support import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def invoice() -> Invoice:
    """An issued invoice over 10.00 for the fee of November."""
    world.publish()
    world.subscribe(world.open_account(), "pro")
    issued = world.list_invoices()[0]
    assert (issued.status, issued.number_text, issued.total) == ("open", "INV-0001", 1000)
    return issued


def refuses(statement: str, parameters: list[UUID], *, match: str) -> None:
    with pytest.raises(IntegrityError, match=match), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


class TestAnIssuedInvoice:
    @pytest.mark.parametrize(
        "assignment",
        [
            "subtotal = 1, total = 1",
            "amount_due = 0",
            "currency = 'eur'",
            "number = 7",
            "number_text = 'INV-0007'",
            "issue_date = '2020-01-01'",
            "due_date = '2030-01-01'",
            "trace = '{}'",
            "account_snapshot = '{}'",
            "status = 'draft', number = NULL, finalized_at = NULL",
            "period_start = '2020-01-01'",
            "boundary = 5",
        ],
    )
    def test_cannot_be_changed(self, invoice: Invoice, assignment: str) -> None:
        statement = f"UPDATE invoices SET {assignment} WHERE id = %s"
        refuses(statement, [invoice.id], match="INV-0001 (is issued|cannot go)")

    def test_cannot_be_deleted(self, invoice: Invoice) -> None:
        refuses("DELETE FROM invoices WHERE id = %s", [invoice.id], match="is issued and cannot be deleted")

    @pytest.mark.parametrize("table", ["invoices", "invoice_lines", "invoice_documents"])
    def test_cannot_be_truncated_away(self, invoice: Invoice, table: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else PostgreSQL refuses for another reason
        refuses(f"TRUNCATE {table} CASCADE", [], match="truncate|append-only")

    def test_takes_the_columns_of_payment(self, invoice: Invoice) -> None:
        Invoice.objects.filter(id=invoice.id).update(status="paid", paid_at=invoice.finalized_at, amount_paid=1000)
        invoice.refresh_from_db()
        assert invoice.status == "paid"

    def test_once_void_stays_as_it_is(self, invoice: Invoice) -> None:
        void_invoice(invoice_id=invoice.id, at=world.NOVEMBER, actor=world.TESTER, reason="wrong plan")
        refuses("UPDATE invoices SET void_reason = 'other' WHERE id = %s", [invoice.id], match="is void")
        refuses(
            "UPDATE invoices SET status = 'open', voided_at = NULL WHERE id = %s",
            [invoice.id],
            match="cannot go from void to open",
        )

    def test_keeps_its_document(self, invoice: Invoice) -> None:
        store_documents([invoice.id])
        refuses("UPDATE invoice_documents SET content = '' WHERE invoice_id = %s", [invoice.id], match="append-only")
        refuses("DELETE FROM invoice_documents WHERE invoice_id = %s", [invoice.id], match="append-only")


class TestALineOfAnIssuedInvoice:
    @pytest.mark.parametrize(
        "assignment", ["amount = 1", "quantity = 9", "description = 'x'", "trace = '{}'", "is_reversed = true"]
    )
    def test_cannot_be_changed(self, invoice: Invoice, assignment: str) -> None:
        statement = f"UPDATE invoice_lines SET {assignment} WHERE invoice_id = %s"
        refuses(statement, [invoice.id], match="a line of an issued invoice cannot change")

    def test_cannot_be_deleted(self, invoice: Invoice) -> None:
        refuses(
            "DELETE FROM invoice_lines WHERE invoice_id = %s",
            [invoice.id],
            match="a line of an issued invoice cannot be deleted",
        )

    def test_cannot_be_joined_by_another(self, invoice: Invoice) -> None:
        line = invoice.lines.get()
        line.pk, line.position, line.subscription_item = new_uuid(), 2, None
        with pytest.raises(IntegrityError, match="takes no further line"), transaction.atomic():
            line.save(force_insert=True)


class TestAPeriodOfASubscriptionItem:
    """The same fee on another draft: once the same period, then one that only overlaps."""

    @pytest.fixture
    def draft(self, invoice: Invoice) -> Invoice:
        draft = Invoice.objects.get(id=invoice.id)
        draft.pk, draft.status, draft.boundary = new_uuid(), "draft", None
        draft.number = draft.finalized_at = draft.issue_date = draft.due_date = None
        draft.number_text = draft.series = ""
        draft.save(force_insert=True)
        return draft

    def copy_line(self, invoice: Invoice, draft: Invoice, **changes: object) -> InvoiceLine:
        line = InvoiceLine.objects.get(invoice=invoice)
        line.pk, line.invoice, line.is_reversed = new_uuid(), draft, False
        for name, value in changes.items():
            setattr(line, name, value)
        return line

    def test_cannot_be_billed_twice(self, invoice: Invoice, draft: Invoice) -> None:
        with pytest.raises(IntegrityError, match="period_billed_once"), transaction.atomic():
            self.copy_line(invoice, draft).save(force_insert=True)

    def test_cannot_be_billed_twice_even_past_the_trigger(self, invoice: Invoice, draft: Invoice) -> None:
        line = self.copy_line(invoice, draft)
        with (
            pytest.raises(IntegrityError, match="invoice_lines_period_billed_once"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("SET LOCAL session_replication_role = replica")
            line.save(force_insert=True)

    def test_cannot_overlap_a_billed_one(self, invoice: Invoice, draft: Invoice) -> None:
        middle = invoice.period_start.replace(day=15)
        line = self.copy_line(invoice, draft, period_start=middle, period_end=world.DECEMBER.replace(day=15))
        with pytest.raises(IntegrityError, match="billed already"), transaction.atomic():
            line.save(force_insert=True)

    def test_may_touch_a_billed_one(self, invoice: Invoice, draft: Invoice) -> None:
        after = self.copy_line(
            invoice, draft, period_start=world.DECEMBER, period_end=world.DECEMBER.replace(year=2024, month=1)
        )
        after.save(force_insert=True)
        assert draft.lines.count() == 1

    def test_is_free_again_when_the_invoice_is_void(self, invoice: Invoice, draft: Invoice) -> None:
        void_invoice(invoice_id=invoice.id, at=world.NOVEMBER, actor=world.TESTER, reason="billed by mistake")
        self.copy_line(invoice, draft).save(force_insert=True)
        assert InvoiceLine.objects.filter(is_reversed=False).count() == 1
