"""Balances and movements as people see them."""

from __future__ import annotations

import pytest

from accounts.queries.ledger import Balance, get_balance, list_balances, list_balances_of, list_movements
from accounts.services.ledger import reverse_entry
from tests.factories.accounts import AT, make_account, make_entry

pytestmark = pytest.mark.django_db


class TestBalance:
    def test_is_positive_for_money_of_the_customer(self) -> None:
        account = make_account()
        make_entry(account, 500)
        assert get_balance(account_id=account.pk, currency="usd") == Balance("usd", 500)
        assert get_balance(account_id=account.pk, currency="eur") == Balance("eur", 0)

    @pytest.mark.parametrize(("balance", "holds", "available"), [(500, 200, 300), (100, 200, 0), (-5, 0, 0)])
    def test_has_no_less_than_nothing_available(self, balance: int, holds: int, available: int) -> None:
        assert Balance("usd", balance, holds).available == available

    def test_in_every_currency_ever_held(self) -> None:
        account = make_account()
        entry = make_entry(account, 100, currency="eur")
        reverse_entry(entry=entry, at=AT)
        assert list_balances(account_id=account.pk) == [Balance("eur", 0), Balance("usd", 0)]

    def test_of_many_accounts(self) -> None:
        one, two = make_account(), make_account()
        make_entry(one, 100)
        make_entry(one, 300, currency="jpy")
        assert list_balances_of([one.pk, two.pk]) == {one.pk: [Balance("jpy", 300), Balance("usd", 100)]}


class TestMovements:
    def test_come_newest_first_in_pages_with_the_total(self) -> None:
        account = make_account()
        for amount in (1, 2, 3, 4):
            make_entry(account, amount)
        make_entry(make_account(), 9)
        page = list_movements(account=account, limit=2, offset=1)
        assert [movement.amount for movement in page.movements] == [3, 2]
        assert page.count == 4

    def test_have_a_direction(self) -> None:
        account = make_account()
        entry = make_entry(account, 100)
        reverse_entry(entry=entry, at=AT)
        make_entry(account, 50, type="transfer")
        kinds = [(movement.type, movement.amount) for movement in list_movements(account=account).movements]
        assert kinds == [("transfer", 50), ("withdraw", 100), ("deposit", 100)]

    def test_of_one_currency(self) -> None:
        account = make_account()
        make_entry(account, 100)
        make_entry(account, 5, currency="eur")
        page = list_movements(account=account, currency="eur")
        assert ([movement.amount for movement in page.movements], page.count) == ([5], 1)
