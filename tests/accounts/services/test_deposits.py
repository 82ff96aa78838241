"""Deposits and their end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditLot, LedgerAccount, LedgerEntry
from accounts.queries.ledger import get_balance, list_movements
from accounts.queries.proof import prove_ledger
from accounts.services.accounts import update_account
from accounts.services.deposits import deposit, expire_deposits
from accounts.services.spending import spend_prepaid
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from accounts.tasks.deposits import expire_deposits as expire_task
from billing_site.kernel.errors import AmountNotPositive, CurrencyUnsupported, InvalidState, ValidationFailed
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db


def give(account: Account, amount: int = 1000, **values: Any) -> LedgerEntry:
    return deposit(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})


def platform(kind: str) -> int:
    return LedgerAccount.objects.get(kind=kind, account=None, currency="usd").balance


class TestDeposit:
    def test_books_cash_against_the_prepaid_balance(self) -> None:
        account = make_account()
        entry = give(account, 2500, notes="wire", tags="manual", metadata={"po": 7})
        assert get_balance(account_id=account.pk, currency="usd").balance == 2500
        assert platform("cash") == 2500
        assert (entry.description, entry.tags, entry.metadata) == ("wire", "manual", {"po": 7})
        lot = CreditLot.objects.get(entry=entry)
        assert (lot.amount, lot.remaining, lot.promotional, lot.expires_at) == (2500, 2500, False, None)

    def test_tells_what_happened_and_why(self) -> None:
        account = make_account()
        entry = give(account, 2500, reason="settled ticket 12")
        event = Event.objects.get(type="balance.deposited")
        assert (event.account_id, event.actor_id, event.reason) == (account.pk, "tester", "settled ticket 12")
        assert event.data["amount"] == 2500
        assert event.data["transaction_id"] == entry.public_id

    @pytest.mark.parametrize("tags", ["promotion", "spring, promo", "PROMOTIONAL campaign"])
    def test_of_promotional_money_is_an_expense(self, tags: str) -> None:
        give(make_account(), 1000, tags=tags)
        assert platform("promotions") == 1000
        assert CreditLot.objects.get().promotional

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"expires_in": 30}, AT + timedelta(days=30)),
            ({"expires_in": 0}, None),
            ({"expires_at": datetime(2027, 1, 1, tzinfo=UTC)}, datetime(2027, 1, 1, tzinfo=UTC)),
            ({"expires_in": 0, "expires_at": datetime(2027, 1, 1, tzinfo=UTC)}, datetime(2027, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_counts_its_end_in_days_or_takes_an_instant(self, given: dict[str, Any], expected: datetime | None) -> None:
        assert give(make_account(), **given).expires_at == expected

    def test_happens_once_per_key(self) -> None:
        account = make_account()
        assert give(account, 100, key="topup:1").pk == give(account, 100, key="topup:1").pk
        assert get_balance(account_id=account.pk, currency="usd").balance == 100
        assert CreditLot.objects.count() == 1

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"amount": 0}, AmountNotPositive),
            ({"amount": -5}, AmountNotPositive),
            ({"amount": 10**16}, ValidationFailed),
            ({"currency": "xyz"}, CurrencyUnsupported),
            ({"expires_in": -1}, ValidationFailed),
            ({"expires_at": AT}, ValidationFailed),
            ({"expires_in": 3, "expires_at": AT + timedelta(days=9)}, ValidationFailed),
        ],
    )
    def test_refuses_what_makes_no_sense_and_writes_nothing(
        self, given: dict[str, Any], error: type[Exception]
    ) -> None:
        account = make_account()
        with pytest.raises(error):
            give(account, **given)
        assert not LedgerEntry.objects.exists()

    def test_refuses_a_closed_account(self) -> None:
        account = make_account()
        update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        assert account.status == "active"  # read before it was closed
        with pytest.raises(InvalidState):
            give(account)


class TestExpireDeposits:
    def test_returns_only_what_is_left(self) -> None:
        account = make_account()
        entry = give(account, 1000, expires_in=10)
        give(account, 50)
        spend_prepaid(account=account, amount=700, currency="usd", key="usage:1", at=AT, actor=ACTOR)
        assert CreditLot.objects.get(entry=entry).remaining == 300
        assert expire_deposits(at=AT + timedelta(days=10)).lots == 1
        assert get_balance(account_id=account.pk, currency="usd").balance == 50  # 1000 + 50 - 700 - 300
        newest = list_movements(account=account).movements[0]
        assert (newest.type, newest.amount, newest.tags) == ("withdraw", 300, "expired")
        assert platform("promotions") == -300
        assert prove_ledger().holds

    def test_leaves_what_has_not_ended(self) -> None:
        give(make_account(), expires_in=10)
        assert expire_deposits(at=AT + timedelta(days=10) - timedelta(seconds=1)).lots == 0

    def test_expires_nothing_twice(self) -> None:
        account = make_account()
        give(account, 1000, expires_in=10)
        at = AT + timedelta(days=11)
        assert [expire_deposits(at=at).lots, expire_deposits(at=at).lots] == [1, 0]
        assert get_balance(account_id=account.pk, currency="usd").balance == 0
        assert Event.objects.filter(type="balance.expired").count() == 1

    def test_works_through_more_than_one_chunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("accounts.services.deposits.SWEEP_CHUNK", 3)
        accounts = [make_account() for _ in range(4)]
        for account in accounts * 2:
            give(account, 10, expires_in=1)
        assert expire_deposits(at=AT + timedelta(days=2)).lots == 8
        assert all(get_balance(account_id=account.pk, currency="usd").balance == 0 for account in accounts)

    def test_counts_by_the_test_clock_of_the_account(self) -> None:
        clock = create_test_clock(name="fast", now_at=AT, at=AT, actor=ACTOR)
        account = make_account(test_clock=clock)
        give(account, expires_in=10)
        assert expire_deposits(at=AT + timedelta(days=400)).lots == 0
        advance_test_clock(clock_id=clock.pk, to=AT + timedelta(days=11), at=AT, actor=ACTOR)
        assert expire_deposits(at=AT).lots == 1
        assert LedgerEntry.objects.get(type="expiry").created_at == AT + timedelta(days=11)

    def test_is_what_the_task_does(self) -> None:
        give(make_account(), expires_at=AT + timedelta(days=1))
        lot = CreditLot.objects.get()
        CreditLot.objects.filter(pk=lot.pk).update(expires_at=datetime(2026, 3, 16, tzinfo=UTC))
        from billing_site.kernel import clock

        with clock.travel(datetime(2026, 3, 17, tzinfo=UTC)):
            assert expire_task() == 1
