"""The credit note doors, by real requests: issue, list, show, document, void, and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Member
from accounts.queries.proof import prove_ledger
from accounts.services.adjustments import adjust_invoice_credit
from billing_site.platform.models import Event
from invoicing.models import CreditNote, CreditNoteDocument, Invoice, Refund
from invoicing.services.invoices import void_invoice
from tests.invoicing.test_credit_notes import BY, issue, make_open, make_paid, make_three_lines
from tests.support import world
from tests.support.api import BillingClient, make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db
NOTES = "/api/v1/billing/credit-notes"


@pytest.fixture
def client() -> BillingClient:
    return make_client()


def post(client: BillingClient, invoice: Invoice, **body: Any) -> Any:
    return client.post(NOTES, {"invoice_id": invoice.public_id, **body})


class TestCreating:
    def test_by_an_amount(self, client: BillingClient) -> None:
        answer = post(client, make_open(), amount=300, reason="order_change", memo="As agreed", account="acme")
        assert answer.status_code == 201
        body = answer.json()
        shown = ("number", "status", "amount", "subtotal", "tax", "currency", "reason", "memo", "disposition")
        assert [body[name] for name in shown] == [
            *("CN-0001", "issued", 300, 300, 0, "usd", "order_change", "As agreed", "customer_balance"),
        ]
        assert (body["amount_applied"], body["out_of_band_amount"]) == (300, 0)
        assert (body["credit_balance_transaction"], body["refund_id"]) == (None, None)
        note = CreditNote.objects.get()
        assert body["id"] == note.public_id
        event = Event.objects.get(type="credit_note.created")
        assert (event.actor_id, event.data["total"]) == ("svc", 300)
        assert prove_ledger().holds

    def test_by_lines_and_what_was_paid_outside(self, client: BillingClient) -> None:
        invoice = make_three_lines()
        fee, tokens, _ = invoice.lines.order_by("position")
        lines = [
            {"invoice_line_id": fee.public_id, "description": "Outage", "quantity": "3", "unit_price": "33.5"},
            {"invoice_line_id": tokens.public_id},
        ]
        body = post(client, invoice, line_items=lines, amount=601).json()
        # 3 × 33.5 = 100.5, rounded away from zero; of the tokens everything: 5.00
        assert [(line["description"], line["amount"], line["quantity"]) for line in body["line_items"]] == [
            ("Outage", 101, "3"),
            (tokens.description, 500, None),
        ]
        assert body["line_items"][0]["explanation"][0]["formula"] == "of 10.00 invoiced"

    def test_of_a_paid_invoice_gives_credit_or_was_paid_back(self, client: BillingClient) -> None:
        invoice = make_paid()
        body = post(client, invoice, amount=400, out_of_band_amount=150).json()
        note = CreditNote.objects.get()
        assert (body["amount_applied"], body["out_of_band_amount"]) == (0, 150)
        assert body["credit_balance_transaction"] == note.entry.public_id
        assert post(client, invoice, amount=100, disposition="out_of_band").json()["out_of_band_amount"] == 100

    def test_refunds_into_invoice_credit_what_no_provider_was_paid(self, client: BillingClient) -> None:
        body = post(client, make_paid(), amount=400, disposition="refund").json()
        refund = Refund.objects.get()
        assert (body["refund_id"], body["amount_refunded"]) == (refund.public_id, 0)
        assert (refund.amount, refund.destination) == (400, "customer_balance")

    def test_by_the_printed_number(self, client: BillingClient) -> None:
        make_open()
        assert client.post(NOTES, {"invoice_id": "inv-0001", "amount": 1}).json()["amount"] == 1

    def test_happens_once_per_key(self, client: BillingClient) -> None:
        invoice = make_open()
        body, headers = {"invoice_id": invoice.public_id, "amount": 300}, {"Idempotency-Key": "note-1"}
        first = client.post(NOTES, body, headers=headers)
        again = client.post(NOTES, body, headers=headers)
        assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (201, first.json(), "true")
        problem(client.post(NOTES, {**body, "amount": 301}, headers=headers), "idempotency_key_reused", 422)
        assert CreditNote.objects.count() == 1

    def test_above_the_limit_of_people_needs_no_second_one(self, client: BillingClient, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 1
        assert post(client, make_open(), amount=300).status_code == 201


class TestCreatingIsRefused:
    def test_for_drafts_and_void_invoices(self, client: BillingClient) -> None:
        invoice = make_open()
        draft = world.copy_as_draft(invoice)
        assert problem(post(client, draft, amount=1), "invalid_state", 409)["current_status"] == "draft"
        void_invoice(invoice_id=invoice.pk, **BY)
        assert problem(post(client, invoice, amount=1), "invalid_state", 409)["current_status"] == "void"

    def test_for_nothing(self, client: BillingClient) -> None:
        invoice = make_open()
        problem(post(client, invoice), "amount_not_positive", 400)
        problem(post(client, invoice, line_items=[{"amount": 0}]), "amount_not_positive", 400)

    def test_beyond_the_invoice_or_a_line(self, client: BillingClient) -> None:
        invoice = make_three_lines()
        tokens = invoice.lines.get(position=2)
        assert problem(post(client, invoice, amount=3001), "amount_exceeds_creditable", 422)["creditable"] == 3000
        lines = [{"invoice_line_id": tokens.public_id, "amount": 501}]
        body = problem(post(client, invoice, line_items=lines), "amount_exceeds_creditable", 422)
        assert body["creditable"] == 500
        assert "at most 5.00 USD can be credited there" in body["detail"]

    def test_for_what_is_not_there(self, client: BillingClient) -> None:
        invoice = make_open()
        world.open_account("other")
        problem(client.post(NOTES, {"invoice_id": "INV-9999", "amount": 1}), "not_found", 404)
        problem(post(client, invoice, amount=1, account="other"), "not_found", 404)
        problem(post(make_client(org="elsewhere"), invoice, amount=1), "not_found", 404)

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"amount": 1, "reason": "because"}, "/reason"),
            ({"amount": 1, "disposition": "gift"}, "/disposition"),
            ({"amount": 400, "line_items": [{"amount": 300}]}, "/amount"),
            ({"amount": 300, "out_of_band_amount": 301}, "/out_of_band_amount"),
            ({"line_items": [{"invoice_line_id": "il_unknown"}]}, "/line_items"),
            ({"amount": 1, "colour": "red"}, "/colour"),
        ],
    )
    def test_for_what_cannot_be_understood(self, client: BillingClient, body: dict[str, Any], pointer: str) -> None:
        found = problem(post(client, make_open(), **body), "validation_failed", 400)
        assert [finding["pointer"] for finding in found["errors"]] == [pointer]
        assert not CreditNote.objects.exists()

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"audience": "public", "subject": "acme"}, "audience_rejected"),
            ({"scopes": ["billing:read"]}, "scope_missing"),
        ],
    )
    def test_without_the_right_token(self, options: dict[str, Any], code: str) -> None:
        invoice = make_open()
        client = make_client(**options)
        problem(post(client, invoice, amount=1), code, 403)
        note = issue(invoice, amount=1)
        problem(client.post(f"{NOTES}/{note.public_id}/void"), code, 403)


class TestShowing:
    def test_the_list_newest_first_with_filters(self, client: BillingClient) -> None:
        first = make_open()
        world.subscribe(world.open_account("other"), "pro")
        second = world.list_invoices()[1]
        for invoice in (first, first, second):
            issue(invoice, amount=100)

        def numbers(query: str) -> list[str]:
            return [item["number"] for item in client.get(f"{NOTES}?{query}").json()["items"]]

        assert numbers("") == ["CN-0003", "CN-0002", "CN-0001"]
        assert numbers("account=other") == ["CN-0003"]
        assert numbers(f"invoice_id={first.public_id}") == ["CN-0002", "CN-0001"]
        assert numbers("invoice_id=unknown") == []
        page = client.get(f"{NOTES}?limit=2").json()
        assert page["has_more"] is True
        assert numbers(f"limit=2&cursor={page['next_cursor']}") == ["CN-0001"]
        problem(client.get(f"{NOTES}?account=nobody"), "not_found", 404)

    def test_the_list_needs_as_many_queries_for_many_as_for_one(self, client: BillingClient) -> None:
        invoice = make_open()
        counts = []
        for number in (1, 4):
            for _ in range(number):
                issue(invoice, amount=10)
            with CaptureQueriesContext(connection) as queries:
                client.get(NOTES)
            counts.append(len(queries))
        assert counts[0] == counts[1]

    def test_one_by_id_or_number(self, client: BillingClient) -> None:
        note = issue(make_open(), amount=100)
        by_id = client.get(f"{NOTES}/{note.public_id}").json()
        assert by_id == client.get(f"{NOTES}/cn-0001").json()
        assert (by_id["number"], by_id["invoice_id"]) == ("CN-0001", note.invoice.public_id)
        assert problem(client.get(f"{NOTES}/CN-0002"), "not_found", 404)["object_type"] == "credit_note"

    def test_members_see_their_own(self) -> None:
        note = issue(make_open(), amount=100)
        Member.objects.create(account=note.account, user_id="ann", role="member", added_at=world.NOVEMBER)
        ann, bob = make_client(audience="public", subject="ann"), make_client(audience="public", subject="bob")
        assert [item["number"] for item in ann.get(NOTES).json()["items"]] == ["CN-0001"]
        assert ann.get(f"{NOTES}/{note.public_id}").status_code == 200
        assert ann.get(f"{NOTES}/{note.public_id}/pdf").status_code == 200
        for path in (f"{NOTES}/{note.public_id}", f"{NOTES}/{note.public_id}/pdf"):
            problem(bob.get(path), "not_found", 404)
        problem(bob.get(f"{NOTES}?account=acme"), "account_forbidden", 403)


class TestTheDocument:
    def test_has_the_same_bytes_every_time(self, client: BillingClient) -> None:
        note = issue(make_open(), amount=100)
        path = f"{NOTES}/{note.public_id}/pdf"
        first = client.get(path, headers={"Accept": "application/pdf"})
        assert first["Content-Type"] == "application/pdf"
        assert first["Content-Disposition"] == 'attachment; filename="CN-0001.pdf"'
        assert first.content.startswith(b"%PDF-")
        client.post(f"{NOTES}/{note.public_id}/void")
        assert client.get(f"{NOTES}/CN-0001/pdf").content == first.content
        assert CreditNoteDocument.objects.count() == 1

    def test_of_an_unknown_note_is_a_problem(self, client: BillingClient) -> None:
        problem(client.get(f"{NOTES}/CN-1/pdf", headers={"Accept": "application/pdf"}), "not_found", 404)


class TestVoiding:
    def test_takes_it_back(self, client: BillingClient) -> None:
        note = issue(make_open(), amount=300)
        body = client.post(f"{NOTES}/{note.public_id}/void").json()
        assert (body["status"], body["voided_at"] is not None) == ("void", True)
        note.invoice.refresh_from_db()
        assert note.invoice.amount_remaining == 1000
        assert prove_ledger().holds

    def test_happens_once_per_key(self, client: BillingClient) -> None:
        note = issue(make_open(), amount=300)
        path, headers = f"{NOTES}/{note.public_id}/void", {"Idempotency-Key": "void-1"}
        first = client.post(path, headers=headers)
        again = client.post(path, headers=headers)
        assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (200, first.json(), "true")
        assert problem(client.post(path), "invalid_state", 409)["current_status"] == "void"

    def test_needs_the_credit_to_be_there(self, client: BillingClient) -> None:
        invoice = make_paid()
        note = issue(invoice, amount=250)
        adjust_invoice_credit(account=invoice.account, amount=-1, currency="usd", description="spent", **BY)
        found = problem(client.post(f"{NOTES}/{note.public_id}/void"), "insufficient_balance", 402)
        assert (found["available"], found["required"]) == (249, 250)

    def test_of_an_unknown_note_is_refused(self, client: BillingClient) -> None:
        problem(client.post(f"{NOTES}/CN-7/void"), "not_found", 404)
        problem(client.post(f"{NOTES}/{issue(make_open(), amount=1).invoice.public_id}/void"), "not_found", 404)
