"""Which deposits give, and what happens past them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditLot, LedgerAccount, LedgerEntry, LotTaking
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from accounts.services.prepaid import InsufficientBalance
from accounts.services.spending import spend_prepaid
from billing_site.kernel.errors import AmountNotPositive, CurrencyUnsupported
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account, make_entry

pytestmark = pytest.mark.django_db


def give(account: Account, amount: int, **values: Any) -> CreditLot:
    entry = deposit(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})
    return CreditLot.objects.get(entry=entry)


def spend(account: Account, amount: int, **values: Any) -> LedgerEntry:
    key = f"usage:{LedgerEntry.objects.count()}"
    return spend_prepaid(
        **{"account": account, "amount": amount, "currency": "usd", "key": key, "at": AT, "actor": ACTOR, **values}
    )


def left(*lots: CreditLot) -> list[int]:
    for lot in lots:
        lot.refresh_from_db()
    return [lot.remaining for lot in lots]


def posted(account: Account) -> int:
    return get_balance(account_id=account.pk, currency="usd").balance


class TestOrder:
    def test_is_by_earliest_end_then_undated(self) -> None:
        account = make_account()
        undated, late, soon = give(account, 100), give(account, 100, expires_in=20), give(account, 100, expires_in=10)
        spend(account, 150)
        assert left(soon, late, undated) == [0, 50, 100]
        spend(account, 100)
        assert left(soon, late, undated) == [0, 0, 50]
        assert prove_ledger().holds

    def test_takes_what_was_given_away_first_and_then_the_oldest(self) -> None:
        account = make_account()
        first, second = give(account, 100), give(account, 100)
        promotional = give(account, 100, tags="promo")
        spend(account, 150)
        assert left(promotional, first, second) == [0, 50, 100]

    def test_passes_over_what_has_ended_and_returns_it(self) -> None:
        account = make_account()
        ended, undated = give(account, 100, expires_in=1), give(account, 100)
        spend(account, 30, at=AT + timedelta(days=1))
        assert left(ended, undated) == [0, 70]
        assert posted(account) == 70
        assert LedgerEntry.objects.get(type="expiry").tags == "expired"
        with pytest.raises(InsufficientBalance):
            spend(account, 71, at=AT + timedelta(days=1))

    def test_ends_with_money_outside_deposits(self) -> None:
        account = make_account()
        make_entry(account, 500)
        lot = give(account, 100)
        spend(account, 150)
        assert (left(lot), posted(account)) == ([0], 450)
        assert prove_ledger().holds


class TestSpendPrepaid:
    def test_books_revenue_and_keeps_what_each_deposit_gave(self) -> None:
        account = make_account()
        first, second = give(account, 100, expires_in=3), give(account, 100)
        entry = spend(account, 130, description="May", metadata={"run": 1})
        assert -LedgerAccount.objects.get(kind="revenue", currency="usd").balance == 130
        taken = LotTaking.objects.filter(entry=entry).order_by("id").values_list("lot", "amount")
        assert list(taken) == [(first.pk, 100), (second.pk, 30)]
        event = Event.objects.get(type="balance.charged")
        assert (event.data["amount"], event.data["transaction_id"]) == (130, entry.public_id)

    def test_may_go_into_a_pot_of_the_account(self) -> None:
        account = make_account()
        give(account, 100)
        spend(account, 60, into="receivable")
        assert LedgerAccount.objects.get(kind="receivable", account=account).balance == -60

    def test_happens_once_per_key(self) -> None:
        account = make_account()
        give(account, 100)
        assert spend(account, 60, key="usage:r1").pk == spend(account, 60, key="usage:r1").pk
        assert posted(account) == 40

    def test_refuses_more_than_is_available(self) -> None:
        account = make_account()
        give(account, 100)
        with pytest.raises(InsufficientBalance) as error:
            spend(account, 101)
        assert error.value.members == {"available": 100, "required": 101}
        assert posted(account) == 100

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"amount": 0}, AmountNotPositive),
            ({"amount": -1}, AmountNotPositive),
            ({"currency": "xyz"}, CurrencyUnsupported),
        ],
    )
    def test_refuses_what_makes_no_sense(self, given: dict[str, Any], error: type[Exception]) -> None:
        account = make_account()
        give(account, 100)
        with pytest.raises(error):
            spend(account, **{"amount": 1, **given})
        assert posted(account) == 100


class TestDebt:
    def test_is_made_by_usage_only(self) -> None:
        account = make_account()
        lot = give(account, 100)
        spend(account, 250, allow_negative=True)
        assert (left(lot), posted(account)) == ([0], -150)
        assert get_balance(account_id=account.pk, currency="usd").available == 0
        assert prove_ledger().holds

    def test_is_paid_off_by_the_next_deposits(self) -> None:
        account = make_account()
        spend(account, 150, allow_negative=True)
        first, second = give(account, 100), give(account, 100)
        assert (left(first, second), posted(account)) == ([0, 50], 50)
        spend(account, 50)
        with pytest.raises(InsufficientBalance):
            spend(account, 1)
        assert prove_ledger().holds
