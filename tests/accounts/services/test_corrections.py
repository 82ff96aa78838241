"""Overcharges corrected, and the deposits they go back to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditLot, LedgerAccount, LedgerEntry
from accounts.queries.ledger import get_balance, list_movements
from accounts.queries.proof import prove_ledger
from accounts.services.corrections import AmountExceedsRefundable, CurrencyMismatch, correct_movement
from accounts.services.deposits import deposit
from accounts.services.prepaid import InsufficientBalance
from accounts.services.spending import spend_prepaid
from accounts.services.withdrawals import withdraw
from billing_site.kernel.errors import AmountNotPositive, NotFound
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account, make_entry

pytestmark = pytest.mark.django_db


def give(account: Account, amount: int, **values: Any) -> CreditLot:
    entry = deposit(account=account, amount=amount, currency="usd", at=AT, actor=ACTOR, **values)
    return CreditLot.objects.get(entry=entry)


def charge(account: Account, amount: int, **values: Any) -> LedgerEntry:
    key = f"usage:{LedgerEntry.objects.count()}"
    return spend_prepaid(account=account, amount=amount, currency="usd", key=key, at=AT, actor=ACTOR, **values)


def correct(account: Account, original: LedgerEntry, amount: int, **values: Any) -> LedgerEntry:
    given = {"currency": "usd", "at": AT, "actor": ACTOR, "original_transaction_id": original.public_id, **values}
    return correct_movement(account=account, amount=amount, **given)


def left(*lots: CreditLot) -> list[int]:
    for lot in lots:
        lot.refresh_from_db()
    return [lot.remaining for lot in lots]


class TestCorrectMovement:
    def test_gives_back_what_a_charge_took_too_much(self) -> None:
        account = make_account()
        lot = give(account, 1000)
        original = charge(account, 400)
        entry = correct(account, original, 150, notes="billed twice")
        assert (entry.tags, entry.reverses_id) == ("refund", original.pk)
        assert entry.metadata == {
            "refund_type": "billing-correction",
            "original_transaction_id": original.public_id,
        }
        assert get_balance(account_id=account.pk, currency="usd").balance == 750
        assert -LedgerAccount.objects.get(kind="revenue").balance == 250
        assert left(lot) == [750]
        assert list_movements(account=account).movements[0].type == "deposit"
        assert Event.objects.filter(type="balance.deposited").latest("id").data["refund_type"] == "billing-correction"
        assert prove_ledger().holds

    def test_stays_within_the_original_over_all_corrections(self) -> None:
        account = make_account()
        give(account, 1000)
        original = charge(account, 400)
        correct(account, original, 150)
        correct(account, original, 150)
        with pytest.raises(AmountExceedsRefundable) as error:
            correct(account, original, 101)
        assert error.value.members == {"refundable": 100}
        correct(account, original, 100)
        with pytest.raises(AmountExceedsRefundable):
            correct(account, original, 1)
        assert get_balance(account_id=account.pk, currency="usd").balance == 1000

    def test_puts_money_back_into_cash_pots_where_it_came_from(self) -> None:
        account = make_account()
        give(account, 1000)
        original = withdraw(account=account, amount=400, currency="usd", at=AT, actor=ACTOR)
        correct(account, original, 400)
        assert LedgerAccount.objects.get(kind="cash").balance == 1000

    def test_has_nothing_to_correct_on_money_that_came_in(self) -> None:
        account = make_account()
        lot = give(account, 1000)
        with pytest.raises(AmountExceedsRefundable) as error:
            correct(account, lot.entry, 1)
        assert error.value.members == {"refundable": 0}
        correction = correct(account, charge(account, 10), 10)
        with pytest.raises(AmountExceedsRefundable):
            correct(account, correction, 1)

    def test_of_movements_that_are_not_there(self) -> None:
        account, other = make_account(), make_account()
        give(other, 100)
        theirs = charge(other, 50)
        with pytest.raises(NotFound):
            correct(account, theirs, 10)
        for public_id in ("txn_nonsense", "", "hold_00000000000000000000000000"):
            with pytest.raises(NotFound):
                correct(account, theirs, 10, original_transaction_id=public_id)

    def test_is_in_the_currency_of_the_original(self) -> None:
        account = make_account()
        give(account, 100)
        with pytest.raises(CurrencyMismatch):
            correct(account, charge(account, 50), 10, currency="eur")

    def test_refuses_zero_and_repeats_a_key(self) -> None:
        account = make_account()
        give(account, 100)
        original = charge(account, 50)
        with pytest.raises(AmountNotPositive):
            correct(account, original, 0)
        assert correct(account, original, 30, key="r:1").pk == correct(account, original, 30, key="r:1").pk
        assert get_balance(account_id=account.pk, currency="usd").balance == 80


class TestLots:
    def test_get_back_what_was_taken_last(self) -> None:
        account = make_account()
        gift, paid = give(account, 100, tags="promo", expires_in=9), give(account, 100)
        original = charge(account, 180)
        assert left(gift, paid) == [0, 20]
        correct(account, original, 50)
        assert left(gift, paid) == [0, 70]
        correct(account, original, 60)
        assert left(gift, paid) == [30, 100]
        correct(account, original, 70)
        assert left(gift, paid) == [100, 100]
        assert CreditLot.objects.count() == 2
        assert prove_ledger().holds

    def test_that_ended_are_replaced_and_gifts_stay_gifts(self) -> None:
        account = make_account()
        give(account, 100, tags="promo", expires_in=1)
        original = charge(account, 60)
        at = AT + timedelta(days=2)
        correct(account, original, 60, at=at)
        fresh = CreditLot.objects.latest("id")
        assert (fresh.remaining, fresh.promotional, fresh.expires_at) == (60, True, None)
        with pytest.raises(InsufficientBalance):
            withdraw(account=account, amount=1, currency="usd", at=at, actor=ACTOR)
        assert prove_ledger().holds

    def test_pay_debt_first(self) -> None:
        account = make_account()
        lot = give(account, 100)
        original = charge(account, 150, allow_negative=True)
        correct(account, original, 80)  # 50 were owed
        assert left(lot) == [30]
        assert get_balance(account_id=account.pk, currency="usd").balance == 30
        assert prove_ledger().holds

    def test_are_made_for_money_that_came_from_none(self) -> None:
        account = make_account()
        make_entry(account, 100)
        original = charge(account, 100)
        correct(account, original, 40)
        assert CreditLot.objects.get().remaining == 40
        assert prove_ledger().holds
