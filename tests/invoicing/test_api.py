"""The invoice and cycle doors, by real requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import LedgerAccount, Member
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from invoicing.models import BillingRun, Invoice, InvoiceDocument
from tests.support import world
from tests.support.api import BillingClient
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

INVOICES = "/api/v1/billing/invoices"
CYCLE = "/api/v1/billing/cycle"
Clients = Callable[..., BillingClient]


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client()


@pytest.fixture
def invoice() -> Invoice:
    """INV-0001 over 10.00 of the account `acme`."""
    world.publish()
    world.subscribe(world.open_account(email="acme@example.com"), "pro")
    return world.list_invoices()[0]


@pytest.fixture
def draft(invoice: Invoice) -> Invoice:
    """A draft of the same account, without lines that claim anything."""
    draft = Invoice.objects.get(id=invoice.id)
    draft.pk, draft.status, draft.boundary, draft.subscription = new_uuid(), "draft", None, None
    draft.number = draft.finalized_at = draft.issue_date = draft.due_date = None
    draft.number_text = draft.series = ""
    draft.save(force_insert=True)
    return draft


class TestShowing:
    def test_an_invoice_by_id_and_by_number(self, client: BillingClient, invoice: Invoice) -> None:
        by_id = client.get(f"{INVOICES}/{invoice.public_id}").json()
        assert client.get(f"{INVOICES}/inv-0001").json() == by_id
        assert by_id["number_str"] == "INV-0001"
        assert (by_id["subtotal"], by_id["amount_due"], by_id["amount_remaining"]) == (1000, 1000, 1000)
        assert by_id["customer_email"] == "acme@example.com"
        line = by_id["line_items"][0]
        assert (line["type"], line["quantity"], line["unit_price"], line["amount"]) == (
            "subscription",
            "1",
            "1000",
            1000,
        )
        assert line["period_start"] == "2023-11-01T00:00:00Z"
        assert [step["title"] for step in line["explanation"]][-1] == "Rounded once"

    def test_an_unknown_one_is_refused(self, client: BillingClient, invoice: Invoice) -> None:
        assert problem(client.get(f"{INVOICES}/INV-9999"), "not_found", 404)["object_type"] == "invoice"

    def test_the_list_newest_first_with_filters(self, client: BillingClient, invoice: Invoice) -> None:
        world.run_cycle(as_of=world.DECEMBER)
        second = Invoice.objects.get(number=2)

        def numbers(query: str) -> list[str]:
            return [item["number_str"] for item in client.get(f"{INVOICES}?{query}").json()["items"]]

        assert numbers("") == ["INV-0002", "INV-0001"]
        assert numbers("start=2023-12-01") == ["INV-0002"]
        assert numbers("end=2023-11-30") == ["INV-0001"]
        assert numbers("status=pending&number=INV-0002") == ["INV-0002"]
        assert numbers("status=paid") == []
        assert numbers("account=ACME") == ["INV-0002", "INV-0001"]
        assert numbers(f"subscription_id={second.subscription.public_id}&limit=1") == ["INV-0002"]  # type: ignore[union-attr]
        page = client.get(f"{INVOICES}?limit=1").json()
        assert page["has_more"] is True
        assert numbers(f"limit=1&cursor={page['next_cursor']}") == ["INV-0001"]
        assert [item["number_str"] for item in client.get("/api/v1/billing/tenants/acme/invoices").json()["items"]] == [
            "INV-0002",
            "INV-0001",
        ]

    def test_the_list_needs_as_many_queries_for_many_as_for_one(self, client: BillingClient, invoice: Invoice) -> None:
        with CaptureQueriesContext(connection) as one:
            client.get(INVOICES)
        world.run_cycle(as_of=datetime(2024, 6, 1, tzinfo=UTC))
        with CaptureQueriesContext(connection) as many:
            assert len(client.get(INVOICES).json()["items"]) == 8
        assert len(many) == len(one)

    def test_a_member_sees_its_own_without_drafts(self, api_client: Clients, invoice: Invoice, draft: Invoice) -> None:
        Member.objects.create(account=invoice.account, user_id="ann", role="member", added_at=world.NOVEMBER)
        ann, bob = api_client(audience="public", subject="ann"), api_client(audience="public", subject="bob")
        assert [item["id"] for item in ann.get(INVOICES).json()["items"]] == [invoice.public_id]
        problem(ann.get(f"{INVOICES}/{draft.public_id}"), "not_found", 404)
        problem(bob.get(f"{INVOICES}/{invoice.public_id}"), "not_found", 404)
        problem(bob.get("/api/v1/billing/tenants/acme/invoices"), "account_forbidden", 403)

    def test_a_token_of_another_organization_sees_nothing(self, api_client: Clients, invoice: Invoice) -> None:
        other = api_client(org="other")
        assert other.get(INVOICES).json()["items"] == []
        problem(other.get(f"{INVOICES}/{invoice.public_id}"), "not_found", 404)

    def test_camel_case_on_request(self, client: BillingClient, invoice: Invoice) -> None:
        body = client.get(
            f"{INVOICES}/{invoice.public_id}", headers={"Accept": "application/vnd.billing.camel+json"}
        ).json()
        assert (body["numberStr"], body["amountDue"], body["lineItems"][0]["unitPrice"]) == ("INV-0001", 1000, "1000")


class TestTheDocument:
    def test_has_the_same_bytes_every_time(self, client: BillingClient, invoice: Invoice) -> None:
        first = client.get(f"{INVOICES}/{invoice.public_id}/pdf", headers={"Accept": "application/pdf"})
        assert first["Content-Type"] == "application/pdf"
        assert first["Content-Disposition"] == 'attachment; filename="INV-0001.pdf"'
        assert first.content.startswith(b"%PDF-")
        client.post(f"{INVOICES}/{invoice.public_id}/void", {"reason": "wrong plan"})
        assert client.get(f"{INVOICES}/{invoice.public_id}/pdf").content == first.content
        assert InvoiceDocument.objects.count() == 1

    def test_of_a_draft_is_not_stored(self, client: BillingClient, draft: Invoice) -> None:
        assert client.get(f"{INVOICES}/{draft.public_id}/pdf").content.startswith(b"%PDF-")
        assert InvoiceDocument.objects.count() == 0

    def test_of_an_unknown_invoice_is_a_problem(self, client: BillingClient) -> None:
        problem(client.get(f"{INVOICES}/INV-1/pdf", headers={"Accept": "application/pdf"}), "not_found", 404)


class TestFinalizing:
    def test_gives_number_dates_and_an_entry(self, client: BillingClient, draft: Invoice) -> None:
        body = client.post(f"{INVOICES}/{draft.public_id}/finalize", {"due_days": 30}).json()
        assert (body["status"], body["number_str"], body["amount_due"]) == ("open", "INV-0002", 1000)
        issued = datetime.fromisoformat(body["issue_date"])
        assert (datetime.fromisoformat(body["due_date"]) - issued).days == 30
        assert LedgerAccount.objects.get(kind="receivable").balance == 2000

    def test_is_refused_for_an_issued_one(self, client: BillingClient, invoice: Invoice) -> None:
        answer = client.post(f"{INVOICES}/{invoice.public_id}/finalize", {})
        assert problem(answer, "invalid_state", 409)["current_status"] == "open"

    def test_happens_once_per_key(self, client: BillingClient, draft: Invoice) -> None:
        path, headers = f"{INVOICES}/{draft.public_id}/finalize", {"Idempotency-Key": "finalize-1"}
        first = client.post(path, {}, headers=headers)
        again = client.post(path, {}, headers=headers)
        assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (200, first.json(), "true")
        problem(client.post(path, {"due_days": 3}, headers=headers), "idempotency_key_reused", 422)


class TestVoiding:
    def test_reverses_the_entry_and_keeps_the_number(self, client: BillingClient, invoice: Invoice) -> None:
        body = client.post(f"{INVOICES}/{invoice.public_id}/void", {"reason": "wrong plan"}).json()
        assert (body["status"], body["number_str"], body["void_reason"]) == ("void", "INV-0001", "wrong plan")
        assert body["amount_remaining"] == 0
        assert set(LedgerAccount.objects.values_list("balance", flat=True)) == {0}
        event = Event.objects.get(type="invoice.voided")
        assert (event.actor_id, event.reason, event.previous_data) == ("svc", "wrong plan", {"status": "open"})

    def test_gives_back_what_stored_money_paid(self, client: BillingClient, invoice: Invoice) -> None:
        account = invoice.account
        grant_credit(account=account, amount=300, currency="usd", at=world.NOVEMBER, actor=world.TESTER, name="Welcome")
        deposit(account=account, amount=200, currency="usd", at=world.NOVEMBER, actor=world.TESTER)
        adjust_invoice_credit(
            account=account, amount=100, currency="usd", at=world.NOVEMBER, actor=world.TESTER, description="sorry"
        )
        world.run_cycle(as_of=world.DECEMBER)
        issued = Invoice.objects.latest("id")
        body = client.get(f"{INVOICES}/{issued.public_id}").json()
        assert (body["credit_applied"], body["amount_due"]) == (600, issued.total - 600)
        assert [(part["source"], part["description"], part["amount"]) for part in body["credits"]] == [
            ("invoice_credit", "Invoice credit", 100),
            ("grant", "Welcome", 300),
            ("balance", "Prepaid balance", 200),
        ]
        body = client.post(f"{INVOICES}/{issued.public_id}/void", {}).json()
        assert (body["status"], body["amount_remaining"]) == ("void", 0)
        stored = LedgerAccount.objects.filter(kind__in=["invoice_credit", "credit_grants", "prepaid"])
        assert sorted(stored.values_list("balance", flat=True)) == [-300, -200, -100]

    def test_is_refused_the_second_time(self, client: BillingClient, invoice: Invoice) -> None:
        client.post(f"{INVOICES}/{invoice.public_id}/void", {})
        answer = client.post(f"{INVOICES}/{invoice.public_id}/void", {})
        assert problem(answer, "invalid_state", 409)["current_status"] == "void"

    @pytest.mark.parametrize(
        ("options", "code", "status"),
        [
            ({"audience": "public", "subject": "acme"}, "audience_rejected", 403),
            ({"scopes": ["billing:read", "billing:money"]}, "scope_missing", 403),
            ({"secret": "another-secret-of-at-least-32-bytes-length"}, "token_invalid", 401),
        ],
    )
    def test_needs_the_right_token(
        self, api_client: Clients, invoice: Invoice, options: dict[str, str], code: str, status: int
    ) -> None:
        problem(api_client(**options).post(f"{INVOICES}/{invoice.public_id}/void", {}), code, status)
        invoice.refresh_from_db()
        assert invoice.status == "open"


class TestTheCycleDoors:
    def test_run_bills_one_organization(self, client: BillingClient, invoice: Invoice) -> None:
        body = client.post(f"{CYCLE}/run", {"org_id": "default", "at": "2023-12-01"}).json()
        second = Invoice.objects.get(number=2)
        assert (body["processed"], body["remaining"]) == (1, 0)
        assert body["results"] == [
            {
                "account_id": invoice.account.public_id,
                "subscription_id": invoice.subscription.public_id,  # type: ignore[union-attr]
                "invoice_id": second.public_id,
                "success": True,
                "error": None,
            }
        ]

    def test_run_needs_an_organization(self, client: BillingClient) -> None:
        answer = client.post(f"{CYCLE}/run", {})
        assert problem(answer, "validation_failed", 400)["errors"][0]["pointer"] == "/org_id"

    def test_run_of_another_organization_is_refused(self, api_client: Clients) -> None:
        problem(api_client(org="mine").post(f"{CYCLE}/run", {"org_id": "yours"}), "validation_failed", 400)

    def test_run_beside_another_is_refused(self, client: BillingClient, invoice: Invoice) -> None:
        BillingRun.objects.create(
            org_id="default", scope="org", as_of=world.DECEMBER, status="running", requested_by="system:test"
        )
        assert problem(client.post(f"{CYCLE}/run", {"org_id": "default"}), "cycle_in_progress", 409)["retryable"]

    def test_a_repeat_answers_from_the_same_run(self, client: BillingClient, invoice: Invoice) -> None:
        body, headers = {"org_id": "default", "at": "2023-12-01"}, {"Idempotency-Key": "december"}
        first = client.post(f"{CYCLE}/run", body, headers=headers)
        again = client.post(f"{CYCLE}/run", body, headers=headers)
        assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")
        assert (BillingRun.objects.count(), Invoice.objects.count()) == (1, 2)
        changed = client.post(f"{CYCLE}/run", {**body, "at": "2024-01-01"}, headers=headers)
        problem(changed, "idempotency_key_reused", 422)

    def test_a_dry_run_writes_nothing(self, client: BillingClient, invoice: Invoice) -> None:
        body = client.post(f"{CYCLE}/run", {"org_id": "default", "at": "2024-01-01", "dry_run": True}).json()
        # December and January are due: two fees of 10.00
        assert [(result["amount"], result["currency"]) for result in body["results"]] == [(2000, "usd")]
        assert (BillingRun.objects.count(), Invoice.objects.count()) == (0, 1)

    def test_run_user_bills_one_account(self, client: BillingClient, invoice: Invoice) -> None:
        world.subscribe(world.open_account("other"), "pro")
        body = client.post(f"{CYCLE}/run-user", {"account": "acme", "at": "2023-12-01"}).json()
        assert (body["account_id"], body["processed"]) == (invoice.account.public_id, 1)
        problem(client.post(f"{CYCLE}/run-user", {"account": "nobody"}), "not_found", 404)
        problem(client.post(f"{CYCLE}/run-user", {}), "account_required", 400)

    def test_run_all_bills_every_organization(self, client: BillingClient, invoice: Invoice) -> None:
        world.subscribe(world.open_account("second/one"), "pro")
        body = client.post(f"{CYCLE}/run-all", {"at": "2023-12-01"}).json()
        assert (body["orgs"], body["total_processed"]) == (2, 2)
        assert [org["org_id"] for org in body["results"]] == ["default", "second"]

    def test_run_all_needs_a_token_without_organization(self, api_client: Clients) -> None:
        problem(api_client(org="mine").post(f"{CYCLE}/run-all", {}), "audience_rejected", 403)

    def test_they_need_the_scope_for_money(self, api_client: Clients) -> None:
        client = api_client(scopes=["billing:read", "billing:invoice:write"])
        assert problem(client.post(f"{CYCLE}/run-all", {}), "scope_missing", 403)["required_scope"] == "billing:money"
