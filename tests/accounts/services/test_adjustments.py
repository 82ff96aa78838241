"""Manual corrections of the invoice credit."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Account, LedgerAccount, LedgerEntry
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from accounts.services.accounts import update_account
from accounts.services.adjustments import AmountZero, adjust_invoice_credit
from accounts.services.prepaid import InsufficientBalance
from billing_site.kernel.errors import CurrencyUnsupported, InvalidState, ValidationFailed
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db


def adjust(account: Account, amount: int, **values: Any) -> LedgerEntry:
    given = {"currency": "usd", "description": "goodwill", "at": AT, "actor": ACTOR, **values}
    return adjust_invoice_credit(account=account, amount=amount, **given)


def credit(account: Account) -> int:
    return get_invoice_credit(account_id=account.pk, currency="usd")


class TestAdjustInvoiceCredit:
    def test_adds_and_takes_credit(self) -> None:
        account = make_account()
        adjust(account, 500)
        entry = adjust(account, -200, description="given twice", reason="ticket 9")
        assert credit(account) == 300
        assert LedgerAccount.objects.get(kind="promotions").balance == 300
        event = Event.objects.get(type="customer_balance.adjusted", object_id=entry.public_id)
        assert (event.data["amount"], event.data["balance"], event.previous_data) == (-200, 300, {"balance": 500})
        assert event.reason == "ticket 9"
        assert prove_ledger().holds

    def test_passes_zero_only_when_allowed(self) -> None:
        account = make_account()
        adjust(account, 100)
        with pytest.raises(InsufficientBalance) as error:
            adjust(account, -101)
        assert error.value.members == {"available": 100, "required": 101}
        adjust(account, -101, allow_negative=True)
        assert credit(account) == -1
        with pytest.raises(InsufficientBalance) as error:
            adjust(account, -1)
        assert error.value.members == {"available": 0, "required": 1}
        adjust(account, 1)
        assert credit(account) == 0

    def test_happens_once_per_key(self) -> None:
        account = make_account()
        assert adjust(account, 5, key="a:1").pk == adjust(account, 5, key="a:1").pk
        assert credit(account) == 5

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"amount": 0}, AmountZero),
            ({"amount": 10**16}, ValidationFailed),
            ({"amount": 5, "description": "  "}, ValidationFailed),
            ({"amount": 5, "currency": "xyz"}, CurrencyUnsupported),
        ],
    )
    def test_refuses_what_makes_no_sense(self, given: dict[str, Any], error: type[Exception]) -> None:
        account = make_account()
        with pytest.raises(error):
            adjust(account, **given)
        assert not LedgerEntry.objects.exists()

    def test_refuses_a_closed_account(self) -> None:
        account = make_account()
        update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        with pytest.raises(InvalidState):
            adjust(account, 5)
