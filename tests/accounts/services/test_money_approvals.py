"""Money above the limit takes two people; below it one person gives a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Account, CreditLot, LedgerEntry
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.ledger import get_balance
from accounts.services.accounts import update_account
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.approval_limits import SecondPersonNeeded
from accounts.services.deposits import deposit
from accounts.services.money_approvals import request_adjustment, request_deposit
from accounts.services.test_clocks import create_test_clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, CurrencyUnsupported, InvalidState, ValidationFailed
from billing_site.platform.models import Approval, ApprovalStatus, Event
from billing_site.platform.services.approvals import (
    ApprovalAlreadyPending,
    ApprovalSelfDecision,
    approve,
    reject,
)
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db
ADA, BOB, SERVICE = Actor("staff", "ada"), Actor("staff", "bob"), Actor("token", "svc")

Book = Callable[..., LedgerEntry]


def put(account: Account, amount: int, actor: Actor = ADA, **values: Any) -> LedgerEntry:
    return deposit(account=account, amount=amount, currency="usd", at=AT, actor=actor, **values)


def adjust(account: Account, amount: int, actor: Actor = ADA, **values: Any) -> LedgerEntry:
    values = {"description": "goodwill", **values}
    return adjust_invoice_credit(account=account, amount=amount, currency="usd", at=AT, actor=actor, **values)


def ask(account: Account, amount: int = 10_001, **values: Any) -> Approval:
    given = {"currency": "usd", "at": AT, "actor": ADA, "reason": "settled dispute", **values}
    return request_deposit(account=account, amount=amount, **given)


class TestLimit:
    @pytest.mark.parametrize("book", [put, adjust])
    def test_stops_one_person_above_it(self, book: Book) -> None:
        account = make_account()
        book(account, 10_000)
        with pytest.raises(SecondPersonNeeded) as error:
            book(account, 10_001)
        assert error.value.members == {"limit": 10_000}
        assert LedgerEntry.objects.count() == 1

    @pytest.mark.parametrize("book", [put, adjust])
    def test_of_zero_stops_every_amount(self, book: Book, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 0
        with pytest.raises(SecondPersonNeeded):
            book(make_account(), 1)

    @pytest.mark.parametrize("book", [put, adjust])
    def test_does_not_stop_services(self, book: Book) -> None:
        book(make_account(), 10_001, SERVICE)

    def test_does_not_stop_debits(self) -> None:
        adjust(make_account(), -10_001, allow_negative=True)

    def test_takes_no_other_approval(self) -> None:
        account, other = make_account(), make_account()
        mine = ask(account)
        pending = Approval.objects.get(pk=mine.pk)
        granted = approve(approval_id=mine.pk, at=AT, actor=BOB)
        for approval, owner, amount, book in (
            (pending, account, 10_001, put),
            (granted, account, 10_002, put),
            (granted, other, 10_001, put),
            (granted, account, 10_001, adjust),
        ):
            with pytest.raises(SecondPersonNeeded):
                book(owner, amount, approval=approval)


class TestRequestDeposit:
    def test_books_nothing_until_another_person_approves(self) -> None:
        account = make_account(name="Acme")
        approval = ask(account, 25_000, tags="manual,promotion", expires_in=30)
        assert (approval.title, approval.amount, approval.currency) == ("Deposit 250.00 USD for Acme", 25_000, "usd")
        assert not LedgerEntry.objects.exists()
        with pytest.raises(ApprovalSelfDecision):
            approve(approval_id=approval.pk, at=AT, actor=ADA)
        done = approve(approval_id=approval.pk, at=AT, actor=BOB, comment="checked")
        entry = LedgerEntry.objects.get()
        assert done.result == {"transaction_id": entry.public_id}
        assert get_balance(account_id=account.pk, currency="usd").balance == 25_000
        assert (entry.description, entry.metadata["requested_by"]) == ("settled dispute", "staff:ada")
        lot = CreditLot.objects.get()
        assert (lot.promotional, lot.expires_at) == (True, entry.expires_at)
        event = Event.objects.get(type="balance.deposited")
        assert (event.actor_id, event.reason) == ("bob", "settled dispute")

    def test_of_a_rejected_one_books_nothing(self) -> None:
        approval = ask(make_account())
        reject(approval_id=approval.pk, at=AT, actor=BOB, comment="no receipt")
        assert not LedgerEntry.objects.exists()

    def test_waits_once_per_account(self) -> None:
        account = make_account()
        ask(account)
        with pytest.raises(ApprovalAlreadyPending):
            ask(account, 20_000)

    def test_stays_open_when_the_account_was_closed_meanwhile(self) -> None:
        account = make_account()
        approval = ask(account)
        update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        with pytest.raises(InvalidState):
            approve(approval_id=approval.pk, at=AT, actor=BOB)
        approval.refresh_from_db()
        assert approval.status == ApprovalStatus.PENDING

    def test_books_by_the_test_clock_of_the_account(self) -> None:
        frozen = create_test_clock(name="c", now_at=AT.replace(year=2020), at=AT, actor=ACTOR)
        approval = ask(make_account(test_clock=frozen))
        approve(approval_id=approval.pk, at=AT, actor=BOB)
        assert LedgerEntry.objects.get().created_at.year == 2020

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"amount": 0}, AmountNotPositive),
            ({"currency": "xyz"}, CurrencyUnsupported),
            ({"expires_in": -1}, ValidationFailed),
            ({"reason": " "}, ValidationFailed),
        ],
    )
    def test_refuses_what_could_not_be_booked(self, given: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            ask(make_account(), **given)
        assert not Approval.objects.exists()


class TestRequestAdjustment:
    def test_books_the_credit_when_approved(self) -> None:
        account = make_account()
        approval = request_adjustment(
            account=account, amount=12_000, currency="usd", at=AT, actor=ADA, reason="outage in May"
        )
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 0
        approve(approval_id=approval.pk, at=AT, actor=BOB)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 12_000
        entry = LedgerEntry.objects.get()
        assert (entry.description, entry.metadata["approval"]) == ("outage in May", approval.public_id)
