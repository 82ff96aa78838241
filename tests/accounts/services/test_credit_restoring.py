"""Credit that comes back when what it paid is undone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Account, CreditBurn, CreditGrant, LedgerAccount
from accounts.queries.proof import prove_ledger
from accounts.services.credit_burning import burn_credits
from accounts.services.credit_grants import expire_grants, grant_credit, void_grant
from accounts.services.credit_restoring import restore_burn
from accounts.terms.burning import Charge
from billing_site.kernel.errors import NotFound
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def give(account: Account, amount: int, **values: Any) -> CreditGrant:
    return grant_credit(account=account, amount=amount, currency="usd", at=AT, actor=ACTOR, **values)


def pay(account: Account, key: str = "in_1") -> None:
    charges = [Charge("fee", 500, "usd"), Charge("tax", 95, "usd")]
    burn_credits(account=account, charges=charges, key=key, at=AT, actor=ACTOR)


def pot(kind: str, account: Account | None = None) -> int:
    return LedgerAccount.objects.get(kind=kind, account=account, currency="usd").balance


class TestRestoreBurn:
    def test_gives_each_grant_back_what_it_paid(self) -> None:
        account = make_account()
        first, second = give(account, 300, expires_at=AT + DAY), give(account, 1000)
        pay(account)
        result = restore_burn(key="in_1", at=AT, actor=ACTOR, reason="invoice voided")
        assert (result.restored, result.released) == (595, 0)  # 500 + 95
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.remaining, second.remaining, second.spent) == (300, 1000, 0)
        assert (pot("credit_grants", account), pot("receivable", account)) == (-1300, 0)
        event = Event.objects.filter(type="credit_grant.restored").latest("id")
        assert (event.data["restored"], event.reason) == (295, "invoice voided")
        assert prove_ledger().holds

    def test_happens_once(self) -> None:
        account = make_account()
        grant = give(account, 1000)
        pay(account)
        results = [restore_burn(key="in_1", at=AT, actor=ACTOR) for _ in range(2)]
        assert results[0] == results[1]
        grant.refresh_from_db()
        assert grant.remaining == 1000

    def test_gives_nothing_back_to_what_is_void_or_over(self) -> None:
        account = make_account()
        ended, voided, good = give(account, 100, expires_at=AT + DAY), give(account, 100), give(account, 1000)
        pay(account)
        void_grant(grant_id=voided.pk, at=AT, actor=ACTOR)
        expire_grants(at=AT + DAY)
        result = restore_burn(key="in_1", at=AT + 2 * DAY, actor=ACTOR)
        assert (result.restored, result.released) == (395, 200)  # 595 - 100 - 100
        assert result == restore_burn(key="in_1", at=AT + 2 * DAY, actor=ACTOR)
        for grant in (ended, voided, good):
            grant.refresh_from_db()
        assert [grant.remaining for grant in (ended, voided, good)] == [0, 0, 1000]
        assert [grant.released for grant in (ended, voided, good)] == [100, 100, 0]
        assert pot("promotions") == 1000  # 1200 - 200
        assert prove_ledger().holds

    def test_lets_the_credit_pay_again(self) -> None:
        account = make_account()
        grant = give(account, 600)
        pay(account)
        restore_burn(key="in_1", at=AT, actor=ACTOR)
        pay(account, key="in_2")
        grant.refresh_from_db()
        assert grant.remaining == 5  # 600 - 595
        assert prove_ledger().holds

    def test_refuses_what_never_burned(self) -> None:
        with pytest.raises(NotFound):
            restore_burn(key="in_9", at=AT, actor=ACTOR)

    def test_is_the_only_negative_row(self) -> None:
        account = make_account()
        give(account, 1000)
        pay(account)
        burn = CreditBurn.objects.earliest("id")
        forged = CreditBurn(grant=burn.grant, entry=burn.entry, charge="x", amount=-5, created_at=AT)
        with pytest.raises(IntegrityError, match="credit_burns_sign_tells_reversal"), transaction.atomic():
            forged.save()
