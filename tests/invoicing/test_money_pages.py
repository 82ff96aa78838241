"""Bank transfers, payments by hand and payouts in the admin: what is shown, what is done, who may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from accounts.services.settlements import get_settlement_balance
from billing_site.kernel import clock
from billing_site.platform.models import Approval, WorkItem
from invoicing.models import BankTransfer, BankTransferInstruction, Invoice, ManualPayment, Payout
from tests.support import world
from tests.support.bank_transfer_states import issue_reference, tell_transfer
from tests.support.manual_payments import AT
from tests.support.payouts import attach_bank_account, make_payee

pytestmark = pytest.mark.django_db
WHY = {"reason": "seen with my own eyes", "_confirmed": "1"}


@pytest.fixture(autouse=True)
def _later() -> Iterator[None]:
    with clock.travel(AT):
        yield


def sign_in(role: str, name: str = "ada") -> Client:
    user = User.objects.create_user(f"{name}-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def act(browser: Client, action: str, row: Any, **fields: Any) -> Any:
    """Post the confirmed form of an action of a row."""
    meta = row._meta
    path = reverse(f"admin:{meta.app_label}_{meta.model_name}_{action}", args=[row.pk])
    return browser.post(path, WHY | fields)


def show(browser: Client, row: Any) -> str:
    meta = row._meta
    return browser.get(reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])).content.decode()


class TestBankTransfers:
    def wait(self, **told: Any) -> BankTransfer:
        transfer = tell_transfer("deadbeef", **told).transfer
        assert WorkItem.objects.get(kind="invoicing.bank_transfer_unmatched").is_open
        return transfer

    def test_candidates_are_shown_by_what_stands_in_it(self) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        reference = issue_reference(world.open_account("beta")).reference
        world.open_account("gamma")
        transfer = self.wait(amount=1000, text=f"for inv-0001, not {reference}", payer_name="gamma")
        page = show(sign_in("billing"), transfer)
        assert page.index("Beta") < page.index("Acme") < page.index("Gamma")
        for reason in (f"its reference {reference} (active)", "INV-0001 is named", "exactly this remains", "its name"):
            assert reason in page
        assert BankTransfer.objects.get().status == "unmatched"

    def test_one_is_matched_by_hand(self) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        transfer = self.wait(amount=1200)
        assert act(sign_in("billing"), "match", transfer, account="ACME", apply_to_invoices="on").status_code == 302
        transfer.refresh_from_db()
        assert (transfer.status, Invoice.objects.get().status) == ("matched", "paid")
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 200
        assert WorkItem.objects.get(kind="invoicing.bank_transfer_unmatched").status == "done"
        assert prove_ledger().holds

    def test_above_the_limit_another_person_matches(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 100
        account = world.open_account()
        transfer = self.wait()
        act(sign_in("billing"), "match", transfer, account="acme")
        approval = Approval.objects.get()
        lead = sign_in("finance_lead", "bob")
        assert "become invoice credit of" in show(lead, approval)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 0
        act(lead, "approve_request", approval)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 700

    def test_an_unknown_account_is_refused(self) -> None:
        transfer = self.wait()
        page = act(sign_in("billing"), "match", transfer, account="nobody").content.decode()
        assert "There is no account with this id" in page

    def test_one_is_dismissed_and_put_back(self) -> None:
        transfer, browser = self.wait(), sign_in("billing")
        act(browser, "dismiss", transfer)
        transfer.refresh_from_db()
        assert (transfer.status, transfer.dismiss_reason) == ("dismissed", WHY["reason"])
        act(browser, "restore", transfer)
        transfer.refresh_from_db()
        assert transfer.status == "unmatched"
        assert WorkItem.objects.filter(kind="invoicing.bank_transfer_unmatched", status="open").count() == 1

    @pytest.mark.parametrize("action", ["match", "dismiss"])
    def test_others_may_not(self, action: str) -> None:
        world.open_account()
        transfer = self.wait()
        assert act(sign_in("support"), action, transfer, account="acme").status_code == 403
        transfer.refresh_from_db()
        assert transfer.status == "unmatched"

    def test_a_reference_expires(self) -> None:
        instruction = issue_reference(world.open_account())
        act(sign_in("finance_lead"), "expire", instruction)
        assert BankTransferInstruction.objects.get().status == "expired"


class TestPaymentsByHand:
    def test_one_is_recorded_on_invoices_and_taken_back(self) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        fields = {"method": "cheque", "amount": "12.00", "received_on": "2023-11-14", "invoice_1": "10.00"}
        assert act(sign_in("billing"), "record_payment", account, **fields).status_code == 302
        payment = ManualPayment.objects.get()
        assert (payment.amount, payment.amount_credited, Invoice.objects.get().status) == (1200, 200, "paid")
        lead = sign_in("finance_lead")
        assert "INV-0001" in show(lead, payment)
        act(lead, "reverse", payment)
        assert Invoice.objects.get().status == "open"
        assert prove_ledger().holds

    def test_an_amount_that_is_none_is_said_at_its_field(self) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "pro")
        fields = {"method": "cheque", "amount": "twelve", "received_on": "2023-11-14", "invoice_1": "1.005"}
        page = act(sign_in("billing"), "record_payment", account, **fields).content.decode()
        assert page.count("is no amount of USD") == 2
        assert not ManualPayment.objects.exists()


class TestPayouts:
    def test_from_an_empty_balance_to_a_payout_by_two_people(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 1000
        account = world.open_account()
        method = attach_bank_account(account, confirmed=False)
        lead, other = sign_in("finance_lead"), sign_in("finance_lead", "bob")
        act(lead, "confirm", method)
        act(lead, "credit_settlement", account, amount="50.00", currency="", source="received")
        assert Approval.objects.count() == 2
        for approval in Approval.objects.order_by("id"):
            assert approval.title.split()[0] in ("Confirm", "Credit")
            assert "payee" in show(other, approval)
            answer = act(other, "approve_request", approval)
            assert answer.status_code == 302, answer.content.decode()[:20000]
        assert get_settlement_balance(account=account, currency="usd") == 5000
        fields = {"amount": "20.00", "destination": method.public_id, "description": "October"}
        assert act(lead, "pay_out", account, **fields).status_code == 302
        payout = Payout.objects.get()
        assert (payout.status, payout.amount) == ("pending", 2000)
        assert payout.approval is not None
        assert "The money is held already" in show(other, payout.approval)
        assert "October" in show(other, payout)
        act(other, "approve_request", payout.approval)
        assert prove_ledger().holds

    def test_one_is_canceled(self) -> None:
        account, method = make_payee()
        lead = sign_in("finance_lead")
        act(lead, "pay_out", account, amount="5.00", destination=method.public_id, description="")
        act(lead, "cancel", Payout.objects.get())
        assert Payout.objects.get().status == "canceled"
        assert get_settlement_balance(account=account, currency="usd") == 5000

    @pytest.mark.parametrize("action", ["credit_settlement", "pay_out"])
    def test_others_may_not(self, action: str) -> None:
        account, method = make_payee()
        answer = act(sign_in("billing"), action, account, amount="5.00", destination=method.public_id, source="share")
        assert answer.status_code == 403
        assert not Payout.objects.exists()
