"""Money paid out to its owner."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.models import Account, CreditLot, LedgerAccount, LedgerEntry
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.accounts import update_account
from accounts.services.deposits import deposit
from accounts.services.holds import create_hold
from accounts.services.prepaid import InsufficientBalance
from accounts.services.withdrawals import withdraw
from billing_site.kernel.errors import AmountNotPositive, InvalidState
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db


def give(account: Account, amount: int, tags: str = "", expires_in: int | None = None) -> CreditLot:
    entry = deposit(
        account=account, amount=amount, currency="usd", at=AT, actor=ACTOR, tags=tags, expires_in=expires_in
    )
    return CreditLot.objects.get(entry=entry)


def take(account: Account, amount: int, days: int = 0) -> LedgerEntry:
    return withdraw(account=account, amount=amount, currency="usd", at=AT + timedelta(days=days), actor=ACTOR)


class TestWithdraw:
    def test_pays_out_of_cash(self) -> None:
        account = make_account()
        lot = give(account, 100)
        entry = withdraw(account=account, amount=40, currency="usd", at=AT, actor=ACTOR, notes="asked by mail")
        lot.refresh_from_db()
        assert (entry.type, entry.description, lot.remaining) == ("withdraw", "asked by mail", 60)
        assert LedgerAccount.objects.get(kind="cash").balance == 60
        assert Event.objects.get(type="balance.withdrawn").data["amount"] == 40
        assert prove_ledger().holds

    @pytest.mark.parametrize("tags", ["promo", "starter-credit", "daily-credit"])
    def test_never_touches_what_was_given_away(self, tags: str) -> None:
        account = make_account()
        gift, paid = give(account, 500, tags=tags, expires_in=1), give(account, 100)
        with pytest.raises(InsufficientBalance) as error:
            take(account, 101)
        assert error.value.members == {"available": 100, "required": 101}
        take(account, 100)
        gift.refresh_from_db()
        paid.refresh_from_db()
        assert (gift.remaining, paid.remaining) == (500, 0)
        assert prove_ledger().holds

    def test_takes_what_ends_first(self) -> None:
        account = make_account()
        undated, dated = give(account, 100), give(account, 100, expires_in=5)
        take(account, 120)
        undated.refresh_from_db()
        dated.refresh_from_db()
        assert (dated.remaining, undated.remaining) == (0, 80)

    def test_leaves_what_is_held(self) -> None:
        account = make_account()
        give(account, 300)
        create_hold(account=account, amount=200, currency="usd", at=AT, actor=ACTOR)
        with pytest.raises(InsufficientBalance):
            take(account, 101)
        take(account, 100)

    def test_leaves_ended_money_that_a_hold_keeps(self) -> None:
        account = make_account()
        give(account, 300, expires_in=1)
        paid, gift = give(account, 300), give(account, 400, tags="promo")
        create_hold(account=account, amount=800, currency="usd", at=AT, actor=ACTOR)
        with pytest.raises(InsufficientBalance) as error:
            take(account, 201, days=2)  # 1000 posted, 200 end, 800 held
        assert error.value.members["available"] == 0
        paid.refresh_from_db()
        gift.refresh_from_db()
        assert (paid.remaining, gift.remaining) == (300, 400)

    def test_cannot_take_what_has_ended(self) -> None:
        account = make_account()
        give(account, 300, expires_in=1)
        with pytest.raises(InsufficientBalance):
            take(account, 1, days=1)

    def test_refuses_nothing_at_all_and_closed_accounts(self) -> None:
        account = make_account()
        give(account, 300)
        with pytest.raises(AmountNotPositive):
            take(account, 0)
        update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        with pytest.raises(InvalidState):
            take(account, 1)
        assert get_balance(account_id=account.pk, currency="usd").balance == 300
