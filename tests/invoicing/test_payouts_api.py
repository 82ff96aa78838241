"""The payout doors, by real requests, and the way of a payout through provider, webhook and sweep."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import LedgerEntry, PaymentMethod
from accounts.queries.proof import prove_ledger
from accounts.services.payment_methods import NewPaymentMethod
from accounts.services.settlements import get_settlement_balance
from billing_site.kernel import clock
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval, Event, WorkItem
from billing_site.platform.services.approvals import ApprovalSelfDecision, approve, expire_due, reject
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.orders import PayoutState
from invoicing.models import Payout
from invoicing.services.payment_methods import attach_payment_method, detach_payment_method
from invoicing.services.payout_sending import send_payout, sweep_payouts
from invoicing.services.payout_settling import record_payout
from tests.support import world
from tests.support.api import BillingClient, make_client
from tests.support.jobs import recorded
from tests.support.payouts import ADA, AT, BOB, ask_payout, attach_bank_account, make_payee, owe, tell
from tests.support.problems import problem

pytestmark = pytest.mark.django_db
PAYOUTS = "/api/v1/billing/payouts"
SEND = "invoicing.send_payout"


@pytest.fixture
def client() -> BillingClient:
    return make_client()


def post(client: BillingClient, method: PaymentMethod, *, key: str = "", **body: Any) -> Any:
    given = {"amount": 2000, "destination_type": method.type, "destination_id": method.public_id, "account": "acme"}
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(PAYOUTS, {name: value for name, value in (given | body).items() if value}, headers=headers)


def list_legs(entry: LedgerEntry) -> dict[str, int]:
    return {leg.ledger_account.kind: leg.amount for leg in entry.postings.select_related("ledger_account")}


class TestCreating:
    def test_holds_the_money_and_sends_it_after_commit(
        self, client: BillingClient, django_capture_on_commit_callbacks: Any
    ) -> None:
        account, method = make_payee()
        with django_capture_on_commit_callbacks(execute=True):
            answer = post(client, method, description="October", metadata={"batch": "7"})
        assert answer.status_code == 201
        body = answer.json()
        payout = Payout.objects.get()
        assert {name: body[name] for name in ("id", "account_id", "amount", "currency", "status", "metadata")} == {
            "id": payout.public_id,
            "account_id": account.public_id,
            "amount": 2000,
            "currency": "usd",
            "status": "pending",
            "metadata": {"batch": "7"},
        }
        assert (body["destination_type"], body["destination_id"]) == ("bank_account", method.public_id)
        assert get_settlement_balance(account=account, currency="usd") == 3000
        assert list_legs(LedgerEntry.objects.get(key=f"payout:{payout.public_id}")) == {
            "settlement": 2000,
            "cash": -2000,
        }
        assert recorded.of(SEND) == [{"payout_id": str(payout.pk)}]
        assert Event.objects.get(type="payout.created").data["status"] == "pending"
        recorded.run()
        body = client.get(f"{PAYOUTS}/{payout.public_id}").json()
        assert (body["status"], body["arrival_date"]) == ("in_transit", None)
        LocalGateway().arrive(payout_ref=body["provider_ref"])
        assert sweep_payouts(at=clock.now() + timedelta(hours=1)) == 1
        body = client.get(f"{PAYOUTS}/{payout.public_id}").json()
        assert body["status"] == "paid"
        assert body["arrival_date"] == f"{clock.now():%Y-%m-%d}"
        kinds = Event.objects.filter(type__startswith="payout.").order_by("id").values_list("type", flat=True)
        assert list(kinds) == ["payout.created", "payout.in_transit", "payout.paid"]
        assert prove_ledger().holds

    def test_happens_once_per_key(self, client: BillingClient) -> None:
        account, method = make_payee()
        first, again = (post(client, method, key="po-1") for _ in range(2))
        assert again.json() == first.json()
        assert Payout.objects.count() == 1
        assert get_settlement_balance(account=account, currency="usd") == 3000

    def test_to_a_verified_card(self, client: BillingClient) -> None:
        account, _ = make_payee()
        new = NewPaymentMethod(provider_type="local", provider_ref="tok_visa_debit")
        card = attach_payment_method(account=account, new=new, at=AT, actor=ADA).method
        assert post(client, card).json()["destination_type"] == "card"
        problem(post(client, card, destination_type="bank_account"), "not_found", 404)

    def test_to_ourselves_within_the_limit(self, client: BillingClient, settings: Any) -> None:
        house, method = make_payee("house", owed=0)
        problem(post(client, method, account=""), "not_found", 404)
        settings.BILLING_PLATFORM_ACCOUNT, settings.BILLING_PLATFORM_PAYOUT_LIMIT = "house", 3000
        body = post(client, method, account="").json()
        assert body["account_id"] is None
        assert list_legs(LedgerEntry.objects.get(type="payout")) == {"bank": 2000, "cash": -2000}
        found = problem(post(client, method, account="", amount=3001), "insufficient_balance", 402)
        assert (found["available"], found["required"]) == (3000, 3001)
        # a customer's bank account is none of ours
        _, foreign = make_payee()
        problem(post(client, foreign, account=""), "not_found", 404)
        assert house.public_id not in str(body)
        assert prove_ledger().holds


class TestCreatingIsRefused:
    def test_beyond_what_is_owed(self, client: BillingClient) -> None:
        _, method = make_payee()
        found = problem(post(client, method, amount=5001), "insufficient_balance", 402)
        assert (found["available"], found["required"]) == (5000, 5001)
        assert post(client, method, amount=5000).status_code == 201
        problem(post(client, method, amount=1), "insufficient_balance", 402)
        problem(post(client, method, amount=1, currency="eur"), "insufficient_balance", 402)

    def test_to_what_is_not_a_verified_method_of_the_payee(self, client: BillingClient) -> None:
        account, method = make_payee()
        _, foreign = make_payee("other")
        unconfirmed = attach_bank_account(account, "btok_us_verified", confirmed=False)
        for destination in (foreign.public_id, unconfirmed.public_id, "pm_unknown", account.public_id):
            problem(post(client, method, destination_id=destination), "not_found", 404)
        detach_payment_method(method_id=method.pk, at=AT, actor=ADA, force=True, new_default_id=unconfirmed.pk)
        problem(post(client, method), "not_found", 404)
        problem(post(client, method, account="nobody"), "not_found", 404)
        assert not Payout.objects.exists()

    @pytest.mark.parametrize("amount", [-1, 0])
    def test_for_nothing(self, client: BillingClient, amount: int) -> None:
        _, method = make_payee()
        body = {"amount": amount, "destination_type": "bank_account", "destination_id": method.public_id}
        problem(client.post(PAYOUTS, body | {"account": "acme"}), "amount_not_positive", 400)

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [({"destination_type": "cash"}, "/destination_type"), ({"colour": "red"}, "/colour")],
    )
    def test_for_what_cannot_be_understood(self, client: BillingClient, body: dict[str, Any], pointer: str) -> None:
        _, method = make_payee()
        found = problem(post(client, method, **body), "validation_failed", 400)
        assert [each["pointer"] for each in found["errors"]] == [pointer]

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"audience": "public", "subject": "acme"}, "audience_rejected"),
            ({"scopes": ["billing:read"]}, "scope_missing"),
        ],
    )
    def test_without_the_right_token(self, options: dict[str, Any], code: str) -> None:
        account, method = make_payee()
        stranger = make_client(**options)
        problem(post(stranger, method), code, 403)
        payout = ask_payout(account, method)
        problem(stranger.post(f"{PAYOUTS}/{payout.public_id}/cancel"), code, 403)


class TestShowing:
    def test_lists_by_payee_and_status(self, client: BillingClient) -> None:
        payee = make_payee()
        first, second = ask_payout(*payee), ask_payout(*payee)
        other = ask_payout(*make_payee("other"))
        tell(first, "failed")
        listed = client.get(PAYOUTS).json()["items"]
        assert [each["id"] for each in listed] == [other.public_id, second.public_id, first.public_id]
        own = client.get(PAYOUTS, {"account": "acme", "status": "failed"}).json()["items"]
        assert [each["id"] for each in own] == [first.public_id]
        problem(client.get(PAYOUTS, {"status": "lost"}), "validation_failed", 400)

    def test_hides_those_of_other_organizations_and_from_the_public(self, client: BillingClient) -> None:
        payout = ask_payout(*make_payee())
        elsewhere = make_client(org="elsewhere")
        assert elsewhere.get(PAYOUTS).json()["items"] == []
        problem(elsewhere.get(f"{PAYOUTS}/{payout.public_id}"), "not_found", 404)
        problem(elsewhere.post(f"{PAYOUTS}/{payout.public_id}/cancel"), "not_found", 404)
        problem(client.get(f"{PAYOUTS}/po_unknown"), "not_found", 404)
        problem(make_client(audience="public", subject="acme").get(PAYOUTS), "audience_rejected", 403)


class TestApproving:
    @pytest.fixture(autouse=True)
    def _low_limit(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 1999

    def ask(self) -> tuple[Payout, Approval]:
        payout = ask_payout(*make_payee())
        assert payout.approval is not None
        return payout, payout.approval

    def test_nothing_is_sent_before_another_person_allows_it(
        self, client: BillingClient, django_capture_on_commit_callbacks: Any
    ) -> None:
        account, method = make_payee()
        with django_capture_on_commit_callbacks(execute=True):
            body = post(client, method).json()
        payout = Payout.objects.get()
        assert (body["status"], recorded.of(SEND)) == ("pending", [])
        assert get_settlement_balance(account=account, currency="usd") == 3000
        assert not send_payout(payout_id=payout.pk, at=AT)
        assert sweep_payouts(at=clock.now() + timedelta(days=1)) == 0
        assert payout.approval is not None
        with django_capture_on_commit_callbacks(execute=True):
            approve(approval_id=payout.approval.pk, at=AT, actor=BOB)
        recorded.run()
        payout.refresh_from_db()
        assert payout.status == "in_transit"

    def test_up_to_the_limit_nobody_is_asked(self) -> None:
        account, method = make_payee()
        assert ask_payout(account, method, 1999).approval is None

    def test_is_for_another_person(self) -> None:
        _, approval = self.ask()
        with pytest.raises(ApprovalSelfDecision):
            approve(approval_id=approval.pk, at=AT, actor=ADA)

    @pytest.mark.parametrize("how", ["rejected", "expired", "canceled"])
    def test_otherwise_the_money_is_released(self, client: BillingClient, how: str) -> None:
        payout, approval = self.ask()
        if how == "rejected":
            reject(approval_id=approval.pk, at=AT, actor=BOB, comment="who is that?")
        elif how == "expired":
            expire_due(at=approval.expires_at)
        else:
            assert client.post(f"{PAYOUTS}/{payout.public_id}/cancel").json()["status"] == "canceled"
        payout.refresh_from_db()
        approval.refresh_from_db()
        assert (payout.status, approval.status) == ("canceled", how)
        assert payout.account is not None
        assert get_settlement_balance(account=payout.account, currency="usd") == 5000
        assert prove_ledger().holds


class TestCanceling:
    def test_releases_what_was_not_sent(self, client: BillingClient) -> None:
        account, method = make_payee()
        payout = ask_payout(account, method)
        body = client.post(f"{PAYOUTS}/{payout.public_id}/cancel").json()
        assert body["status"] == "canceled"
        assert get_settlement_balance(account=account, currency="usd") == 5000
        assert Event.objects.filter(type="payout.canceled").count() == 1
        assert not send_payout(payout_id=payout.pk, at=AT)
        assert prove_ledger().holds

    def test_happens_once_per_key(self, client: BillingClient) -> None:
        payout = ask_payout(*make_payee())
        path, headers = f"{PAYOUTS}/{payout.public_id}/cancel", {"Idempotency-Key": "c-1"}
        first, again = (client.post(path, headers=headers) for _ in range(2))
        assert (first.status_code, again.json()) == (200, first.json())
        assert problem(client.post(path), "invalid_state", 409)["current_status"] == "canceled"

    def test_calls_back_what_the_provider_still_has(self, client: BillingClient) -> None:
        account, method = make_payee(token="btok_us_pending")
        payout = ask_payout(account, method)
        assert send_payout(payout_id=payout.pk, at=AT)
        payout.refresh_from_db()
        assert (payout.status, bool(payout.provider_ref)) == ("pending", True)
        assert client.post(f"{PAYOUTS}/{payout.public_id}/cancel").json()["status"] == "canceled"
        assert LocalGateway().fetch_payout(payout_ref=payout.provider_ref).status == "canceled"
        assert get_settlement_balance(account=account, currency="usd") == 5000

    def test_is_refused_once_it_has_left(self, client: BillingClient) -> None:
        payout = ask_payout(*make_payee())
        send_payout(payout_id=payout.pk, at=AT)
        found = problem(client.post(f"{PAYOUTS}/{payout.public_id}/cancel"), "invalid_state", 409)
        assert found["current_status"] == "in_transit"

    def test_waits_while_nobody_knows_whether_it_was_sent(self, client: BillingClient) -> None:
        payout = ask_payout(*make_payee(token="btok_us_timeout"))
        assert not send_payout(payout_id=payout.pk, at=AT)
        path, headers = f"{PAYOUTS}/{payout.public_id}/cancel", {"Idempotency-Key": "c-1"}
        problem(client.post(path, headers=headers), "provider_unavailable", 503)
        send_payout(payout_id=payout.pk, at=AT)
        assert problem(client.post(path, headers=headers), "invalid_state", 409)["current_status"] == "in_transit"


class TestSettling:
    def test_an_unknown_outcome_stays_pending_and_is_asked_again(self) -> None:
        account, method = make_payee(token="btok_us_timeout")
        payout = ask_payout(account, method)
        assert not send_payout(payout_id=payout.pk, at=AT)
        payout.refresh_from_db()
        assert (payout.status, payout.call_key) == ("pending", f"payout:{payout.public_id}")
        assert sweep_payouts(at=AT + timedelta(minutes=5)) == 0
        assert sweep_payouts(at=AT + timedelta(minutes=11)) == 1
        payout.refresh_from_db()
        assert payout.status == "in_transit"
        assert get_settlement_balance(account=account, currency="usd") == 3000

    def test_after_a_day_nobody_asks_again_and_operators_are_told(self) -> None:
        payout = ask_payout(*make_payee(token="btok_us_timeout"))
        send_payout(payout_id=payout.pk, at=AT)
        assert not send_payout(payout_id=payout.pk, at=AT + timedelta(hours=24))
        item = WorkItem.objects.get(kind="invoicing.payout_unknown")
        assert (item.severity, item.subject_id) == ("critical", payout.public_id)
        payout.refresh_from_db()
        assert payout.status == "pending"
        tell(payout, "paid")
        item.refresh_from_db()
        assert item.status == "done"

    def test_a_refused_destination_gives_the_money_back(self) -> None:
        account, method = make_payee(token="btok_us_fails")
        payout = ask_payout(account, method)
        assert send_payout(payout_id=payout.pk, at=AT)
        payout.refresh_from_db()
        assert (payout.status, payout.failure_code) == ("failed", "account_closed")
        assert get_settlement_balance(account=account, currency="usd") == 5000
        assert WorkItem.objects.get(kind="invoicing.payout_failed").account_id == account.pk
        assert Event.objects.get(type="payout.failed").data["failure_code"] == "account_closed"
        assert prove_ledger().holds

    def test_a_destination_that_is_gone_is_not_asked_for(self) -> None:
        account, method = make_payee()
        payout = ask_payout(account, method)
        detach_payment_method(method_id=method.pk, at=AT, actor=ADA, force=True)
        assert not send_payout(payout_id=payout.pk, at=AT)
        payout.refresh_from_db()
        assert (payout.status, payout.failure_code) == ("failed", "destination_gone")
        assert get_settlement_balance(account=account, currency="usd") == 5000

    def test_what_the_bank_sends_back_later_is_released_once(self) -> None:
        account, method = make_payee()
        payout = tell(ask_payout(account, method), "paid")
        assert get_settlement_balance(account=account, currency="usd") == 3000
        for _ in range(2):
            payout = tell(payout, "failed", failure_code="account_closed")
        assert payout.status == "failed"
        assert get_settlement_balance(account=account, currency="usd") == 5000
        assert Event.objects.filter(type="payout.failed").count() == 1
        assert prove_ledger().holds

    def test_older_news_change_nothing(self) -> None:
        payout = tell(ask_payout(*make_payee()), "paid")
        assert tell(payout, "in_transit").status == "paid"
        assert tell(payout, "paid").status == "paid"
        assert Event.objects.filter(type="payout.paid").count() == 1

    def test_a_webhook_finds_it_by_our_name(self) -> None:
        payout = ask_payout(*make_payee())
        state = PayoutState(ref="po_1", status="paid", amount=Money(2000, "usd"), reference=payout.public_id)
        assert record_payout(state=state, at=AT, provider_type="local").pk == payout.pk
        again = PayoutState(ref="po_1", status="failed", amount=Money(2000, "usd"))
        assert record_payout(state=again, at=AT, provider_type="local").pk == payout.pk

    def test_the_providers_own_payout_is_kept_as_such(self) -> None:
        state = PayoutState(ref="po_auto", status="paid", amount=Money(900, "usd"), is_automatic=True)
        payout = record_payout(state=state, at=AT, provider_type="stripe")
        assert (payout.origin, payout.account, payout.status) == ("provider", None, "paid")
        assert list_legs(payout.entry) == {"bank": 900, "cash": -900}
        assert record_payout(state=state, at=AT, provider_type="stripe").pk == payout.pk
        gone = PayoutState(ref="po_auto", status="failed", amount=Money(900, "usd"), is_automatic=True)
        record_payout(state=gone, at=AT, provider_type="stripe")
        assert prove_ledger().holds
        assert Payout.objects.count() == 1

    def test_another_amount_is_told_to_operators(self) -> None:
        payout = ask_payout(*make_payee())
        state = PayoutState(ref="po_1", status="paid", amount=Money(1999, "usd"), reference=payout.public_id)
        record_payout(state=state, at=AT, provider_type="local")
        assert WorkItem.objects.get(kind="invoicing.payout_differs").subject_id == payout.public_id


class TestSettlementBalances:
    @pytest.mark.parametrize(("source", "pot"), [("received", "cash"), ("share", "revenue")])
    def test_are_credited_by_two_people(self, source: str, pot: str) -> None:
        account = world.open_account()
        owe(account, 700, source=source)
        assert get_settlement_balance(account=account, currency="usd") == 700
        assert list_legs(LedgerEntry.objects.get(type="settlement")) == {"settlement": -700, pot: 700}
        event = Event.objects.get(type="settlement.adjusted")
        assert (event.data["balance"], event.actor_id) == (700, "bob")
        owe(account, -200, source=source)
        assert get_settlement_balance(account=account, currency="usd") == 500
        assert prove_ledger().holds
