"""The refund doors, by real requests: create, list, show, repeats, and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.queries.proof import prove_ledger
from billing_site.platform.models import Approval
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.port import ProviderUnavailable
from invoicing.models import CreditNote, Refund
from tests.support import world
from tests.support.api import BillingClient, make_client
from tests.support.card_payments import make_card_paid, pay_by_card
from tests.support.payments import bill
from tests.support.problems import problem

pytestmark = pytest.mark.django_db
REFUNDS = "/api/v1/billing/refunds"


@pytest.fixture
def client() -> BillingClient:
    return make_client()


class TestCreating:
    def test_of_an_invoice(self, client: BillingClient) -> None:
        invoice, intent = make_card_paid()
        body = {"invoice_id": invoice.public_id, "amount": 400, "reason": "duplicate", "metadata": {"case": "7"}}
        answer = client.post(REFUNDS, body)
        assert answer.status_code == 201
        found, refund = answer.json(), Refund.objects.get()
        shown = ("id", "amount", "currency", "status", "reason", "destination", "payment_intent_id", "invoice_id")
        assert [found[name] for name in shown] == [
            *(refund.public_id, 400, "usd", "succeeded", "duplicate", "provider", intent.public_id, invoice.public_id),
        ]
        assert (found["metadata"], found["receipt_number"]) == ({"case": "7"}, refund.receipt_number)
        assert found["credit_note_id"] == CreditNote.objects.get().public_id
        assert (found["group"], found["group_amount"], found["approval_id"]) == (refund.public_id, 400, None)
        assert prove_ledger().holds

    def test_by_lines_and_by_the_printed_number(self, client: BillingClient) -> None:
        invoice, _ = make_card_paid()
        lines = [{"invoice_line_id": invoice.lines.get().public_id, "amount": 250}]
        found = client.post(REFUNDS, {"invoice_id": "inv-0001", "line_items": lines}).json()
        assert (found["amount"], CreditNote.objects.get().lines.get().amount) == (250, 250)

    def test_of_a_payment_all_of_it(self, client: BillingClient) -> None:
        intent = pay_by_card(world.open_account(), 700)
        found = client.post(REFUNDS, {"payment_intent_id": intent.public_id}).json()
        assert (found["amount"], found["invoice_id"], found["credit_note_id"]) == (700, None, None)

    def test_above_the_limit_is_a_request(self, client: BillingClient, settings: Any) -> None:
        settings.BILLING_REFUND_APPROVAL_LIMITS = {"default": 399}
        invoice, _ = make_card_paid()
        answer = client.post(REFUNDS, {"invoice_id": invoice.public_id, "amount": 400})
        assert answer.status_code == 201
        found = answer.json()
        assert (found["status"], found["awaits_approval"]) == ("pending", True)
        assert found["approval_id"] == Approval.objects.get().public_id

    def test_that_fails_at_the_provider_is_answered_all_the_same(self, client: BillingClient) -> None:
        invoice, _ = make_card_paid(card="refundfails")
        answer = client.post(REFUNDS, {"invoice_id": invoice.public_id, "amount": 400})
        assert answer.status_code == 201
        assert (answer.json()["status"], answer.json()["failure_reason"]) == ("failed", "lost_or_stolen_card")

    def test_happens_once_per_key(self, client: BillingClient) -> None:
        invoice, _ = make_card_paid()
        body, headers = {"invoice_id": invoice.public_id, "amount": 400}, {"Idempotency-Key": "back-1"}
        first = client.post(REFUNDS, body, headers=headers)
        again = client.post(REFUNDS, body, headers=headers)
        assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (201, first.json(), "true")
        problem(client.post(REFUNDS, {**body, "amount": 401}, headers=headers), "idempotency_key_reused", 422)
        assert Refund.objects.count() == 1

    def test_a_timeout_leaves_it_pending_and_a_repeat_goes_on(
        self, client: BillingClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        invoice, intent = make_card_paid()
        body, headers = {"invoice_id": invoice.public_id, "amount": 400}, {"Idempotency-Key": "back-2"}
        refund_there = LocalGateway.refund

        def lose_the_answer(self: LocalGateway, **options: Any) -> Any:
            refund_there(self, **options)
            raise ProviderUnavailable

        with monkeypatch.context() as broken:
            broken.setattr(LocalGateway, "refund", lose_the_answer)
            problem(client.post(REFUNDS, body, headers=headers), "provider_unavailable", 503)
        assert Refund.objects.get().status == "pending"
        assert client.post(REFUNDS, body, headers=headers).json()["status"] == "succeeded"
        assert LocalGateway().fetch_payment(payment_ref=intent.provider_ref).amount_refunded == 400
        assert prove_ledger().holds


class TestCreatingIsRefused:
    @pytest.mark.parametrize("names", [[], ["invoice_id", "payment_intent_id"]])
    def test_with_neither_or_both_references(self, client: BillingClient, names: list[str]) -> None:
        problem(client.post(REFUNDS, dict.fromkeys(names, "x")), "validation_failed", 400)

    def test_for_what_is_not_there(self, client: BillingClient) -> None:
        problem(client.post(REFUNDS, {"invoice_id": "INV-9999"}), "not_found", 404)
        problem(client.post(REFUNDS, {"payment_intent_id": "pi_unknown"}), "not_found", 404)
        invoice, _ = make_card_paid()
        problem(make_client(org="elsewhere").post(REFUNDS, {"invoice_id": invoice.public_id}), "not_found", 404)

    def test_for_what_is_not_paid(self, client: BillingClient) -> None:
        world.publish()
        invoice = bill(world.open_account())
        answer = client.post(REFUNDS, {"invoice_id": invoice.public_id})
        assert problem(answer, "invalid_state", 409)["current_status"] == "open"

    def test_beyond_what_was_received(self, client: BillingClient) -> None:
        invoice, _ = make_card_paid()
        answer = client.post(REFUNDS, {"invoice_id": invoice.public_id, "amount": 1001})
        assert problem(answer, "amount_exceeds_refundable", 422)["refundable"] == 1000
        assert not CreditNote.objects.exists()

    @pytest.mark.parametrize(
        "body", [{"amount": -1}, {"amount": 1, "reason": "because"}, {"amount": 1, "colour": "red"}]
    )
    def test_for_what_cannot_be_understood(self, client: BillingClient, body: dict[str, Any]) -> None:
        invoice, _ = make_card_paid()
        problem(client.post(REFUNDS, {"invoice_id": invoice.public_id, **body}), "validation_failed", 400)

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"audience": "public", "subject": "acme"}, "audience_rejected"),
            ({"scopes": ["billing:read"]}, "scope_missing"),
        ],
    )
    def test_without_the_right_token(self, options: dict[str, Any], code: str) -> None:
        invoice, _ = make_card_paid()
        problem(make_client(**options).post(REFUNDS, {"invoice_id": invoice.public_id}), code, 403)


class TestReading:
    def test_customers_see_their_own(self, client: BillingClient) -> None:
        invoice, intent = make_card_paid()
        made = client.post(REFUNDS, {"invoice_id": invoice.public_id, "amount": 400}).json()
        own = make_client(audience="public", subject="acme", scopes=["billing:read"])
        assert [row["id"] for row in own.get(REFUNDS).json()["items"]] == [made["id"]]
        assert own.get(f"{REFUNDS}/{made['id']}").json()["amount"] == 400
        world.open_account("other")
        stranger = make_client(audience="public", subject="other", scopes=["billing:read"])
        assert stranger.get(REFUNDS).json()["items"] == []
        problem(stranger.get(f"{REFUNDS}/{made['id']}"), "not_found", 404)
        for name, value in (("invoice_id", invoice.public_id), ("payment_intent_id", intent.public_id)):
            assert len(client.get(REFUNDS, {name: value}).json()["items"]) == 1
            assert client.get(REFUNDS, {name: "x_unknown"}).json()["items"] == []
