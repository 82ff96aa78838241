"""The doors of bank transfers, by real requests: instructions, the match, and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Account, LedgerEntry, Member
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from billing_site.platform.models import Event
from invoicing.models import BankTransfer, BankTransferInstruction, BankTransferUse, Invoice
from invoicing.services.bank_instructions import expire_instruction
from invoicing.services.uncollectible import mark_uncollectible
from tests.support import world
from tests.support.api import BillingClient, make_client
from tests.support.problems import problem
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
INSTRUCTIONS = "/api/v1/billing/bank-transfer-instructions"
MATCH = f"{INSTRUCTIONS}/reconciliation/match"
ALIAS = "/api/v1/billing/reconciliation/match"
DETAILS = {"type": "sepa", "bank_name": "First Bank", "account_number": "0005 3201 3000"}


@pytest.fixture
def client() -> BillingClient:
    return make_client()


def issue(client: BillingClient, account: str = "acme", **body: Any) -> Any:
    return client.post(INSTRUCTIONS, {"account": account, **DETAILS, **body})


def match(client: BillingClient, reference: str, *, path: str = MATCH, key: str = "", **body: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(path, {"reference": reference, "amount": 2500, **body}, headers=headers)


class TestIssuing:
    def test_shows_the_details_with_a_reference(self, client: BillingClient) -> None:
        account = world.open_account()
        answer = issue(client, iban="de89 3704 0044 0532 0130 00", bic="cobadeffxxx", account_holder="Us Ltd")
        assert answer.status_code == 201
        body = answer.json()
        row = BankTransferInstruction.objects.get()
        assert len(body["reference"]) == 8
        assert int(body["reference"], 16) >= 0
        assert {name: body[name] for name in ("id", "account_id", "status", "currency", "type")} == {
            "id": row.public_id,
            "account_id": account.public_id,
            "status": "active",
            "currency": "usd",
            "type": "sepa",
        }
        assert (body["iban"], body["bic"]) == ("DE89370400440532013000", "COBADEFFXXX")
        assert (body["account_number"], body["account_holder"]) == ("****3000", "Us Ltd")

    def test_keeps_no_more_than_four_characters_of_the_number(self, client: BillingClient) -> None:
        world.open_account()
        issue(client)
        assert "532013" not in str(BankTransferInstruction.objects.values().get())
        assert "532013" not in str(list(Event.objects.values("data")))
        assert issue(client, account_number="1234").json()["account_number"] == "1234"

    def test_happens_once_per_key(self, client: BillingClient) -> None:
        world.open_account()
        body, headers = {"account": "acme", **DETAILS}, {"Idempotency-Key": "bti-1"}
        first = client.post(INSTRUCTIONS, body, headers=headers)
        again = client.post(INSTRUCTIONS, body, headers=headers)
        assert again.json() == first.json()
        assert BankTransferInstruction.objects.count() == 1

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"type": "cheque"}, "/type"),
            ({"bank_name": ""}, "/bank_name"),
            ({"bank_name": "  "}, "/bank_name"),
            ({"account_number": ""}, "/account_number"),
            ({"iban": "DE89370400440532013001"}, "/iban"),
            ({"bic": "NOPE"}, "/bic"),
            ({"currency": "xxx"}, "/currency"),
            ({"colour": "red"}, "/colour"),
        ],
    )
    def test_is_refused_for_what_cannot_be(self, client: BillingClient, body: dict[str, Any], pointer: str) -> None:
        world.open_account()
        answer = issue(client, **body)
        code = "currency_unsupported" if pointer == "/currency" else "validation_failed"
        found = problem(answer, code, 400)
        assert [each["pointer"] for each in found["errors"]] == [pointer]
        assert not BankTransferInstruction.objects.exists()

    def test_is_refused_without_an_account_or_the_scope(self, client: BillingClient) -> None:
        world.open_account()
        problem(client.post(INSTRUCTIONS, DETAILS), "account_required", 400)
        problem(issue(client, account="nobody"), "not_found", 404)
        problem(issue(make_client(audience="public", subject="acme")), "audience_rejected", 403)
        problem(issue(make_client(scopes=["billing:money"])), "scope_missing", 403)


class TestShowing:
    def test_lists_by_account_and_status(self, client: BillingClient) -> None:
        world.open_account()
        world.open_account("other")
        old, new = issue(client).json(), issue(client).json()
        issue(client, account="other")
        expire_instruction(
            instruction_id=BankTransferInstruction.objects.order_by("id")[0].pk, at=NOVEMBER, actor=TESTER
        )
        listed = client.get(INSTRUCTIONS, {"account": "acme"}).json()["items"]
        assert [each["id"] for each in listed] == [new["id"], old["id"]]
        expired = client.get(INSTRUCTIONS, {"status": "expired"}).json()["items"]
        assert [(each["id"], each["status"]) for each in expired] == [(old["id"], "expired")]

    def test_public_callers_see_their_own(self, client: BillingClient) -> None:
        account = world.open_account()
        world.open_account("other")
        Member.objects.create(account=account, user_id="alice", role="member", added_at=NOVEMBER)
        own, foreign = issue(client).json(), issue(client, account="other").json()
        alice = make_client(audience="public", subject="alice")
        assert [each["id"] for each in alice.get(INSTRUCTIONS).json()["items"]] == [own["id"]]
        assert alice.get(f"{INSTRUCTIONS}/{own['id']}").json()["reference"] == own["reference"]
        problem(alice.get(f"{INSTRUCTIONS}/{foreign['id']}"), "not_found", 404)
        problem(alice.get(INSTRUCTIONS, {"account": "other"}), "account_forbidden", 403)

    def test_of_another_organization_are_hidden(self, client: BillingClient) -> None:
        world.open_account()
        found = issue(client).json()
        problem(make_client(org="elsewhere").get(f"{INSTRUCTIONS}/{found['id']}"), "not_found", 404)


class TestMatching:
    @pytest.mark.parametrize("path", [MATCH, ALIAS])
    def test_credits_the_account(self, client: BillingClient, path: str) -> None:
        account = world.open_account()
        reference = issue(client).json()["reference"]
        spoken = f" {reference[:4].upper()} {reference[4:]} "
        answer = match(client, spoken, path=path, bank_transaction_id="B-1")
        assert answer.status_code == 200
        body = answer.json()
        transaction = body.pop("transaction")
        assert body == {
            "matched": True,
            "duplicate": False,
            "account_id": account.public_id,
            "amount": 2500,
            "currency": "usd",
            "reference": spoken.strip(),
            "transfer_type": "sepa",
        }
        assert (transaction["type"], transaction["amount"], transaction["ending_balance"]) == (
            "bank_transfer",
            2500,
            2500,
        )
        assert transaction["description"] == f"Bank transfer {spoken.strip()} (SEPA)"
        entry = LedgerEntry.objects.get(type="bank_transfer")
        legs = {leg.ledger_account.kind: leg.amount for leg in entry.postings.select_related("ledger_account")}
        assert legs == {"cash": 2500, "invoice_credit": -2500}
        event = Event.objects.get(type="bank_transfer.matched")
        assert (event.account_id, event.data["transaction_id"]) == (account.pk, entry.public_id)
        assert prove_ledger().holds

    def test_books_a_bank_transaction_once(self, client: BillingClient) -> None:
        account = world.open_account()
        reference = issue(client).json()["reference"]
        first = match(client, reference, bank_transaction_id="B-1").json()
        again = match(client, reference, bank_transaction_id="B-1", path=ALIAS)
        assert again.json() == {**first, "duplicate": True}
        other = match(client, reference, bank_transaction_id="B-1", amount=9999, key="other").json()
        assert (other["duplicate"], other["amount"]) == (True, 2500)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 2500
        assert BankTransfer.objects.count() == 1

    def test_books_a_keyed_request_once(self, client: BillingClient) -> None:
        account = world.open_account()
        reference = issue(client).json()["reference"]
        first = match(client, reference, key="k-1")
        again = match(client, reference, key="k-1")
        assert (first.json()["duplicate"], again.json()) == (False, {**first.json(), "duplicate": True})
        assert again["Idempotent-Replayed"] == "true"
        problem(match(client, reference, key="k-1", amount=1), "idempotency_key_reused", 422)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 2500

    def test_books_two_without_id_or_key_twice(self, client: BillingClient) -> None:
        account = world.open_account()
        reference = issue(client).json()["reference"]
        assert not match(client, reference).json()["duplicate"]
        assert not match(client, reference).json()["duplicate"]
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 5000

    def test_credits_a_closed_account_too(self, client: BillingClient) -> None:
        account = world.open_account()
        reference = issue(client).json()["reference"]
        Account.objects.filter(pk=account.pk).update(status="closed")
        assert match(client, reference).json()["matched"]


class TestSettling:
    def test_pays_the_oldest_invoices_first(self, client: BillingClient) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        world.run_cycle(as_of=world.DECEMBER)
        reference = issue(client).json()["reference"]
        deposit(account=account, amount=5000, currency="usd", at=NOVEMBER, actor=TESTER)
        body = match(client, reference, amount=1300, apply_to_invoices=True).json()
        # 13.00 pays 10.00 of November and 3.00 of December; what is prepaid is left alone
        november, december = Invoice.objects.order_by("id")
        assert (november.status, november.payment_method, november.amount_paid) == ("paid", "balance", 1000)
        assert (december.status, december.amount_paid, december.amount_remaining) == ("open", 300, 700)
        assert get_balance(account_id=account.pk, currency="usd").balance == 5000
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 0
        assert body["transaction"]["ending_balance"] == 1300
        uses = BankTransferUse.objects.order_by("id").values_list("invoice", "amount")
        assert list(uses) == [(november.pk, 1000), (december.pk, 300)]
        event = Event.objects.get(type="bank_transfer.matched")
        assert event.data["settled"] == {november.public_id: 1000, december.public_id: 300}
        assert prove_ledger().holds

    def test_keeps_what_is_too_much_as_credit(self, client: BillingClient) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        reference = issue(client).json()["reference"]
        match(client, reference, apply_to_invoices=True)
        assert Invoice.objects.get().status == "paid"
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 1500
        assert prove_ledger().holds

    def test_turns_a_subscription_on_that_waited(self, client: BillingClient) -> None:
        world.publish()
        account = world.open_account()
        subscription = world.subscribe(account, "pro", payment_gated=True)
        reference = issue(client).json()["reference"]
        match(client, reference, amount=1000, apply_to_invoices=True)
        subscription.refresh_from_db()
        assert subscription.status == "active"

    def test_pays_what_was_given_up_last(self, client: BillingClient) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        world.run_cycle(as_of=world.DECEMBER)
        november, december = Invoice.objects.order_by("id")
        mark_uncollectible(invoice_id=november.pk, at=world.DECEMBER, actor=TESTER)
        reference = issue(client).json()["reference"]
        match(client, reference, amount=1000, apply_to_invoices=True)
        december.refresh_from_db()
        assert december.status == "paid"
        match(client, reference, amount=1000, apply_to_invoices=True)
        november.refresh_from_db()
        assert november.status == "paid"
        assert prove_ledger().holds

    def test_leaves_invoices_alone_unless_asked(self, client: BillingClient) -> None:
        world.publish()
        world.subscribe(world.open_account(), "pro")
        match(client, issue(client).json()["reference"])
        assert Invoice.objects.get().status == "open"


class TestMatchingIsRefused:
    def test_for_a_reference_nobody_has(self, client: BillingClient) -> None:
        found = problem(match(client, "deadbeef", bank_transaction_id="B-1"), "reference_not_matched", 404)
        transfer = BankTransfer.objects.get()
        assert found["bank_transfer_id"] == transfer.public_id
        assert (transfer.status, transfer.mismatch, transfer.amount) == ("unmatched", "reference_not_matched", 2500)
        assert Event.objects.get(type="bank_transfer.unmatched").data["id"] == transfer.public_id
        problem(match(client, "deadbeef", bank_transaction_id="B-1"), "reference_not_matched", 404)
        assert BankTransfer.objects.count() == Event.objects.filter(type="bank_transfer.unmatched").count() == 1
        assert not LedgerEntry.objects.exists()

    def test_for_an_expired_reference(self, client: BillingClient) -> None:
        world.open_account()
        reference = issue(client).json()["reference"]
        row = BankTransferInstruction.objects.get()
        expire_instruction(instruction_id=row.pk, at=NOVEMBER, actor=TESTER)
        problem(match(client, reference), "reference_not_matched", 404)

    def test_in_another_currency(self, client: BillingClient) -> None:
        world.open_account()
        reference = issue(client).json()["reference"]
        found = problem(match(client, reference, currency="eur"), "currency_mismatch", 422)
        transfer = BankTransfer.objects.get()
        assert (found["expected"], found["bank_transfer_id"]) == ("usd", transfer.public_id)
        assert (transfer.status, transfer.mismatch, transfer.currency) == ("unmatched", "currency_mismatch", "eur")

    def test_with_a_key_and_is_kept_all_the_same(self, client: BillingClient) -> None:
        problem(match(client, "deadbeef", key="k-1"), "reference_not_matched", 404)
        problem(match(client, "deadbeef", key="k-1"), "reference_not_matched", 404)
        assert BankTransfer.objects.count() == 1

    def test_until_the_right_reference_is_told(self, client: BillingClient) -> None:
        account = world.open_account()
        reference = issue(client).json()["reference"]
        problem(match(client, "deadbeef", bank_transaction_id="B-1"), "reference_not_matched", 404)
        # other money under the same name is not booked
        problem(match(client, reference, bank_transaction_id="B-1", amount=1), "reference_not_matched", 404)
        body = match(client, reference, bank_transaction_id="B-1").json()
        assert (body["matched"], body["duplicate"], body["reference"]) == (True, False, reference)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 2500
        assert BankTransfer.objects.count() == 1

    @pytest.mark.parametrize("amount", [0, -1])
    def test_for_nothing(self, client: BillingClient, amount: int) -> None:
        problem(match(client, "deadbeef", amount=amount), "amount_not_positive", 400)
        assert not BankTransfer.objects.exists()

    def test_for_what_cannot_be_understood(self, client: BillingClient) -> None:
        problem(client.post(MATCH, {"amount": 1}), "validation_failed", 400)
        problem(match(client, "x", received_at="yesterday"), "validation_failed", 400)
        problem(match(client, "x", colour="red"), "validation_failed", 400)

    def test_across_organizations(self, client: BillingClient) -> None:
        world.open_account()
        reference = issue(client).json()["reference"]
        stranger = make_client(org="elsewhere")
        problem(match(stranger, reference, bank_transaction_id="B-1"), "reference_not_matched", 404)
        match(client, reference, bank_transaction_id="B-2")
        found = problem(match(stranger, reference, bank_transaction_id="B-2"), "reference_not_matched", 404)
        assert "bank_transfer_id" not in found

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"audience": "public", "subject": "acme"}, "audience_rejected"),
            ({"scopes": ["billing:invoice:write"]}, "scope_missing"),
        ],
    )
    @pytest.mark.parametrize("path", [MATCH, ALIAS])
    def test_without_the_right_token(self, path: str, options: dict[str, Any], code: str) -> None:
        problem(match(make_client(**options), "deadbeef", path=path), code, 403)
        assert not BankTransfer.objects.exists()
