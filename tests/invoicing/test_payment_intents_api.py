"""Payments through the API: begin, confirm, capture, give up, pay invoices, top up; and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Account, LedgerEntry, Member
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.gateways.local import LocalGateway
from invoicing.models import Invoice, PaymentIntent
from invoicing.services.charging import record_payment
from invoicing.services.settling_sweep import settle_payment
from tests.support import world
from tests.support.api import BillingClient, make_client
from tests.support.payments import attach, bill, renew
from tests.support.problems import problem
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db
INTENTS = "/api/v1/billing/payment-intents"
TOPUP = "/api/v1/billing/topup"


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


@pytest.fixture
def account() -> Account:
    return world.open_account()


@pytest.fixture
def client() -> BillingClient:
    return make_client()


def begin(client: BillingClient, **body: Any) -> dict[str, Any]:
    answer = client.post(INTENTS, {"account": "acme", "amount": 500, **body})
    assert answer.status_code == 201, answer.json()
    return dict(answer.json())


def act(client: BillingClient, intent: dict[str, Any], verb: str, *, key: str = "", **body: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"{INTENTS}/{intent['id']}/{verb}", body, headers=headers)


class TestCreate:
    def test_waits_for_a_method_or_its_confirmation(self, client: BillingClient, account: Account) -> None:
        method = attach(account)
        assert begin(client)["status"] == "requires_payment_method"
        intent = begin(client, payment_method_id=method.public_id, metadata={"order": "7"})
        assert (intent["status"], intent["amount_received"], intent["metadata"]) == (
            *("requires_confirmation", 0, {"order": "7"}),
        )
        assert not LedgerEntry.objects.filter(type="payment").exists()

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"amount": 0}, 400, "amount_not_positive"),
            ({"amount": -5}, 400, "amount_not_positive"),
            ({"payment_method_id": "pm_none"}, 404, "not_found"),
            ({"invoice_id": "in_none"}, 404, "not_found"),
            ({"currency": "xxx"}, 400, "currency_unsupported"),
            ({"description": "4242 4242 4242 4242"}, 400, "validation_failed"),
        ],
    )
    def test_refuses(self, client: BillingClient, account: Account, body: Any, status: int, code: str) -> None:
        answer = client.post(INTENTS, {"account": "acme", "amount": 500, **body})
        problem(answer, code, status)
        assert not PaymentIntent.objects.exists()

    def test_does_not_take_the_method_of_another_account(self, client: BillingClient, account: Account) -> None:
        other = attach(world.open_account("other"))
        answer = client.post(INTENTS, {"account": "acme", "amount": 500, "payment_method_id": other.public_id})
        assert answer.status_code == 404


class TestConfirm:
    def test_charges_and_the_money_is_invoice_credit(self, client: BillingClient, account: Account) -> None:
        intent = begin(client, payment_method_id=attach(account).public_id)
        body = act(client, intent, "confirm").json()
        assert (body["status"], body["amount_received"], body["last_error"]) == ("succeeded", 500, "")
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 500
        assert Event.objects.filter(type="payment_intent.succeeded").count() == 1
        assert prove_ledger().holds

    def test_of_a_decline_goes_back_to_wait_for_a_method(self, client: BillingClient, account: Account) -> None:
        intent = begin(client, payment_method_id=attach(account, "chargecustomerfail").public_id)
        answer = act(client, intent, "confirm")
        problem(answer, "payment_declined", 402)
        assert answer.json()["decline_reason"] == "The card was declined by the bank."
        shown = client.get(f"{INTENTS}/{intent['id']}").json()
        assert (shown["status"], shown["last_error"]) == (
            *("requires_payment_method", "The card was declined by the bank."),
        )
        good = attach(account, "mastercard")
        assert act(client, intent, "confirm", payment_method_id=good.public_id).json()["status"] == "succeeded"

    def test_without_a_method_is_refused(self, client: BillingClient, account: Account) -> None:
        answer = act(client, begin(client), "confirm")
        problem(answer, "payment_method_missing", 422)

    def test_twice_is_refused(self, client: BillingClient, account: Account) -> None:
        intent = begin(client, payment_method_id=attach(account).public_id)
        act(client, intent, "confirm")
        answer = act(client, intent, "confirm")
        problem(answer, "invalid_state", 409)

    def test_repeated_with_its_key_answers_the_same_payment(self, client: BillingClient, account: Account) -> None:
        intent = begin(client, payment_method_id=attach(account).public_id)
        first, again = act(client, intent, "confirm", key="k"), act(client, intent, "confirm", key="k")
        assert first.json() == again.json() and again.status_code == 200
        assert LedgerEntry.objects.filter(type="payment").count() == 1

    def test_of_an_unknown_outcome_stays_processing(self, client: BillingClient, account: Account) -> None:
        intent = begin(client, payment_method_id=attach(account, "succeedslate").public_id)
        answer = act(client, intent, "confirm")
        problem(answer, "provider_unavailable", 503)
        assert client.get(f"{INTENTS}/{intent['id']}").json()["status"] == "processing"
        refused = act(client, intent, "cancel")
        problem(refused, "invalid_state", 409)
        settle_payment(intent_id=PaymentIntent.objects.get().pk, at=clock.now())
        assert client.get(f"{INTENTS}/{intent['id']}").json()["status"] == "succeeded"

    def test_asks_the_card_holder_and_takes_their_answer(self, client: BillingClient, account: Account) -> None:
        intent = begin(client, payment_method_id=attach(account, "authenticationrequired").public_id)
        body = act(client, intent, "confirm").json()
        assert body["status"] == "requires_action" and body["client_secret"]
        row = PaymentIntent.objects.get()
        state = LocalGateway().authenticate(payment_ref=row.provider_ref)
        record_payment(intent_id=row.pk, state=state, at=clock.now(), actor=TESTER)
        record_payment(intent_id=row.pk, state=state, at=clock.now(), actor=TESTER)
        assert client.get(f"{INTENTS}/{intent['id']}").json()["status"] == "succeeded"
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 500


class TestCapture:
    def authorise(self, client: BillingClient, account: Account) -> dict[str, Any]:
        method = attach(account)
        intent = begin(client, payment_method_id=method.public_id, capture_method="manual")
        body = act(client, intent, "confirm").json()
        assert (body["status"], body["amount_capturable"], body["amount_received"]) == ("requires_capture", 500, 0)
        return intent

    def test_takes_a_part_and_releases_the_rest(self, client: BillingClient, account: Account) -> None:
        intent = self.authorise(client, account)
        body = act(client, intent, "capture", amount_to_capture=300).json()
        assert (body["status"], body["amount_received"], body["amount_capturable"]) == ("succeeded", 300, 0)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 300
        again = act(client, intent, "capture")
        problem(again, "invalid_state", 409)

    def test_of_more_than_was_authorised_is_refused(self, client: BillingClient, account: Account) -> None:
        answer = act(client, self.authorise(client, account), "capture", amount_to_capture=501)
        problem(answer, "amount_exceeds_capturable", 422)
        assert answer.json()["capturable"] == 500

    def test_given_up_releases_it(self, client: BillingClient, account: Account) -> None:
        intent = self.authorise(client, account)
        body = act(client, intent, "cancel", cancellation_reason="out of stock").json()
        assert (body["status"], body["cancellation_reason"], body["amount_capturable"]) == (
            *("canceled", "out of stock", 0),
        )
        assert LocalGateway().fetch_payment(payment_ref=PaymentIntent.objects.get().provider_ref).status == "canceled"

    def test_is_for_internal_callers(self, account: Account) -> None:
        Member.objects.get_or_create(
            account=account, user_id="ann", defaults={"role": "owner", "added_at": clock.now()}
        )
        client = make_client("public", "ann")
        intent = begin(client, payment_method_id=attach(account).public_id, capture_method="manual")
        assert act(client, intent, "confirm").status_code == 200
        assert act(client, intent, "capture").status_code == 403


class TestInvoices:
    def test_are_paid_by_a_payment_of_what_is_due(self, client: BillingClient, account: Account) -> None:
        invoice, method = bill(account), attach(account)
        path = f"/api/v1/billing/invoices/{invoice.public_id}/payment-intent"
        first, again = client.post(path, {}), client.post(path, {})
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["id"] == again.json()["id"]
        assert (first.json()["amount"], first.json()["invoice_id"]) == (1000, invoice.public_id)
        assert first.json()["client_secret"]
        assert act(client, first.json(), "confirm", payment_method_id=method.public_id).json()["status"] == "succeeded"
        assert client.get(f"/api/v1/billing/invoices/{invoice.public_id}").json()["status"] == "paid"
        refused = client.post(path, {})
        problem(refused, "invalid_state", 409)

    def test_are_not_paid_twice_by_two_payments(self, client: BillingClient, account: Account) -> None:
        invoice = bill(account)
        slow = attach(account, "succeedslate")
        first = begin(client, amount=1000, invoice_id=invoice.public_id, payment_method_id=slow.public_id)
        assert act(client, first, "confirm").status_code == 503
        answer = client.post(f"/api/v1/billing/invoices/{invoice.public_id}/pay", {})
        problem(answer, "collection_in_progress", 409)

    def test_can_be_paid_together(self, client: BillingClient, account: Account) -> None:
        one, two = bill(account), renew(account)
        body = begin(
            client,
            amount=2200,
            invoice_ids=[one.public_id, two.public_id],
            payment_method_id=attach(account).public_id,
        )
        assert act(client, body, "confirm").json()["status"] == "succeeded"
        assert set(Invoice.objects.values_list("status", flat=True)) == {"paid"}
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 200  # what was too much

    def test_pay_charges_the_card(self, client: BillingClient, account: Account) -> None:
        attach(account)
        invoice = bill(account)
        path = f"/api/v1/billing/invoices/{invoice.public_id}/pay"
        answer = client.post(path, {}, headers={"Idempotency-Key": "k"}).json()
        assert (answer["invoice"]["status"], answer["collection"]["provider_used"]) == ("paid", 1000)
        again = client.post(path, {}, headers={"Idempotency-Key": "k"}).json()
        assert again["invoice"]["status"] == "paid" and again["collection"]["provider_used"] == 1000
        assert PaymentIntent.objects.count() == 1

    def test_finalized_with_collect_are_collected_after_the_answer(
        self, client: BillingClient, account: Account
    ) -> None:
        attach(account)
        body = {"account": "acme", "line_items": [{"description": "Setup", "quantity": "1", "unit_price": "900"}]}
        draft = client.post("/api/v1/billing/invoices", body).json()
        answer = client.post(f"/api/v1/billing/invoices/{draft['id']}/finalize", {"collect": True}).json()
        assert answer["status"] == "open"
        assert Invoice.objects.get().next_attempt_at is not None


class TestTopUps:
    def test_are_deposited_once(self, client: BillingClient, account: Account) -> None:
        method = attach(account)
        body = {"account": "acme", "payment_method_id": method.public_id, "amount_cents": 2500}
        first = client.post(TOPUP, body, headers={"Idempotency-Key": "k"}).json()
        again = client.post(TOPUP, body, headers={"Idempotency-Key": "k"}).json()
        assert first == again
        assert (first["status"], first["balance_cents"], first["client_secret"]) == ("ok", 2500, None)
        entry = LedgerEntry.objects.get(type="deposit")
        assert (entry.public_id, entry.tags) == (first["transaction_id"], "topup")
        intent = PaymentIntent.objects.get()
        assert (intent.call_key, entry.key) == (f"topup:{intent.public_id}", f"topup:{intent.public_id}")
        assert prove_ledger().holds

    def test_of_an_unknown_outcome_are_pending_until_the_sweep(self, client: BillingClient, account: Account) -> None:
        method = attach(account, "succeedslate")
        body = {"account": "acme", "payment_method_id": method.public_id, "amount_cents": 2500}
        answer = client.post(TOPUP, body).json()
        assert (answer["status"], answer["transaction_id"], answer["balance_cents"]) == ("pending", None, 0)
        settle_payment(intent_id=PaymentIntent.objects.get().pk, at=clock.now())
        assert get_balance(account_id=account.pk, currency="usd").balance == 2500

    def test_of_a_token_do_not_store_it(self, client: BillingClient, account: Account) -> None:
        body = {"account": "acme", "source_id": "tok_mastercard", "amount_cents": 900}
        answer = client.post(f"{TOPUP}/token", body).json()
        assert (answer["status"], answer["balance_cents"]) == ("ok", 900)
        intent = PaymentIntent.objects.get()
        assert intent.payment_method is None and "tok_mastercard" not in str(vars(intent))

    def test_of_a_token_that_was_never_answered_are_found_not_repeated(
        self, client: BillingClient, account: Account
    ) -> None:
        body = {"account": "acme", "source_id": "tok_succeedslate", "amount_cents": 900}
        assert client.post(f"{TOPUP}/token", body).json()["status"] == "pending"
        settle_payment(intent_id=PaymentIntent.objects.get().pk, at=clock.now())
        assert get_balance(account_id=account.pk, currency="usd").balance == 900

    @pytest.mark.parametrize(
        ("path", "body", "status", "code"),
        [
            ("", {"amount_cents": 0}, 400, "amount_not_positive"),
            ("", {"amount_cents": 99}, 400, "validation_failed"),
            ("", {"payment_method_id": "pm_none"}, 404, "not_found"),
            ("/token", {"source_id": "4242424242424242"}, 400, "validation_failed"),
            ("/token", {"source_id": "tok_chargeDeclined"}, 402, "payment_declined"),
        ],
    )
    def test_refuse(
        self, client: BillingClient, account: Account, path: str, body: Any, status: int, code: str
    ) -> None:
        named = {} if path else {"payment_method_id": attach(account).public_id}
        answer = client.post(f"{TOPUP}{path}", {"account": "acme", "amount_cents": 500, **named, **body})
        problem(answer, code, status)
        assert "4242424242424242" not in answer.content.decode()
        assert get_balance(account_id=account.pk, currency="usd").balance == 0
