"""Where the money of a charge comes from: prepaid money, then the daily credit, then debt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditLot, LedgerEntry, LedgerKind, Posting
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.queries.tiers import list_tiers, sum_daily_credit
from accounts.services.corrections import correct_movement
from accounts.services.deposits import deposit, expire_deposits
from accounts.services.holds import create_hold
from accounts.services.usage_charges import RequestIdReused, UsageCharge, charge_prepaid_usage
from billing_site.kernel.errors import AmountNotPositive, CurrencyUnsupported
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db

DAILY = 100  # minor units usd a day on the tier free


def give(account: Account, amount: int, **values: Any) -> None:
    deposit(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})


def charge(account: Account, amount: int, *, key: str = "usage:1", tier: str = "free", **values: Any) -> UsageCharge:
    terms: dict[str, Any] = {"currency": "usd", "at": AT, "actor": ACTOR, **values}
    return charge_prepaid_usage(account=account, amount=amount, key=key, tier=list_tiers()[tier], **terms)


def posted(account: Account) -> int:
    return get_balance(account_id=account.pk, currency="usd").balance


def sum_pot(kind: LedgerKind) -> int:
    return sum(Posting.objects.filter(ledger_account__kind=kind).values_list("amount", flat=True))


class TestMoney:
    def test_is_prepaid_first(self) -> None:
        account = make_account()
        give(account, 500)
        made = charge(account, 120)
        assert (made.amount, made.currency, made.daily_credit_used, made.created) == (120, "usd", 0, True)
        assert posted(account) == 380
        assert sum_daily_credit(account=account, at=AT) == 0
        assert sum_pot(LedgerKind.REVENUE) == -120
        assert prove_ledger().holds

    def test_of_the_daily_credit_covers_the_shortfall_only(self) -> None:
        account = make_account()
        give(account, 40)
        assert charge(account, 70).daily_credit_used == 30  # 70 - 40
        assert posted(account) == 0
        assert sum_pot(LedgerKind.PROMOTIONS) == 30
        assert sum_pot(LedgerKind.REVENUE) == -70
        assert not CreditLot.objects.filter(remaining__gt=0).exists()
        assert prove_ledger().holds

    def test_past_the_daily_credit_is_debt(self) -> None:
        account = make_account()
        assert charge(account, 130).daily_credit_used == DAILY
        assert posted(account) == -30  # 100 - 130
        assert charge(account, 5, key="usage:2").daily_credit_used == 0
        assert posted(account) == -35
        assert prove_ledger().holds

    def test_owed_from_yesterday_is_not_paid_by_the_daily_credit_of_today(self) -> None:
        account = make_account()
        charge(account, 150)
        tomorrow = AT + timedelta(days=1)
        assert charge(account, 60, key="usage:2", at=tomorrow).daily_credit_used == 60
        assert posted(account) == -50
        assert sum_daily_credit(account=account, at=tomorrow) == 60
        assert prove_ledger().holds

    def test_under_a_hold_is_left_to_it(self) -> None:
        account = make_account()
        give(account, 100)
        create_hold(account=account, amount=80, currency="usd", at=AT, actor=ACTOR)
        assert charge(account, 50).daily_credit_used == 30  # 50 - (100 - 80)
        assert get_balance(account_id=account.pk, currency="usd").available == 0
        assert posted(account) == 80
        assert prove_ledger().holds

    def test_that_ended_is_not_spent(self) -> None:
        account = make_account()
        give(account, 100, expires_in=1)
        later = AT + timedelta(days=2)
        assert charge(account, 60, at=later).daily_credit_used == 60
        assert posted(account) == 0
        assert prove_ledger().holds

    @pytest.mark.parametrize(("tier", "currency"), [("pro", "usd"), ("free", "eur")])
    def test_is_not_covered_on_a_tier_without_daily_credit_or_in_another_currency(
        self, tier: str, currency: str
    ) -> None:
        account = make_account()
        assert charge(account, 60, tier=tier, currency=currency).daily_credit_used == 0
        assert get_balance(account_id=account.pk, currency=currency).balance == -60


class TestDay:
    def test_is_the_utc_day_whatever_the_order_of_booking(self) -> None:
        account = make_account()
        noon, evening = datetime(2026, 3, 15, 12, tzinfo=UTC), datetime(2026, 3, 15, 23, 59, 59, tzinfo=UTC)
        assert charge(account, 80, key="usage:late", at=evening).daily_credit_used == 80
        assert charge(account, 80, key="usage:early", at=noon).daily_credit_used == 20
        assert charge(account, 80, key="usage:next", at=evening + timedelta(seconds=1)).daily_credit_used == 80

    def test_ends_what_a_correction_gave_back(self) -> None:
        account = make_account()
        made = charge(account, 60)
        correct_movement(
            account=account,
            amount=60,
            currency="usd",
            original_transaction_id=made.entry.public_id,
            at=AT,
            actor=ACTOR,
        )
        assert posted(account) == 60
        expire_deposits(at=AT + timedelta(days=1))
        assert posted(account) == 0
        assert prove_ledger().holds


class TestKey:
    def test_seen_before_answers_the_first_charge(self) -> None:
        account = make_account()
        give(account, 40)
        first = charge(account, 70)
        again = charge(account, 9999)
        assert (again.entry, again.amount, again.daily_credit_used, again.created) == (first.entry, 70, 30, False)
        assert posted(account) == 0

    def test_of_another_account_is_refused(self) -> None:
        charge(make_account(), 70)
        other = make_account()
        with pytest.raises(RequestIdReused):
            charge(other, 70)
        assert posted(other) == 0


class TestBooks:
    def test_tell_what_it_was(self) -> None:
        account = make_account()
        made = charge(account, 130, description="API usage: model-a (12 tokens)", metadata={"model": "model-a"})
        withdrawal, daily = made.entry, LedgerEntry.objects.get(tags="daily-credit")
        assert (withdrawal.key, withdrawal.tags) == ("usage:1", "api-usage")
        assert withdrawal.metadata == {"model": "model-a", "daily_credit_used": 100}
        assert (daily.key, daily.type) == ("daily-credit:usage:1", "deposit")
        assert daily.metadata == {"charge": "usage:1"}
        assert daily.expires_at == datetime(2026, 3, 16, tzinfo=UTC)
        told = {event.type: event.data for event in Event.objects.filter(account_id=account.pk)}
        assert told["usage.charged"]["amount"] == 130
        assert told["usage.charged"]["daily_credit_used"] == 100
        assert told["balance.deposited"]["amount"] == 100

    def test_take_a_closed_account_too(self) -> None:
        account = make_account()
        Account.objects.filter(pk=account.pk).update(status="closed")
        assert charge(account, 10).created

    @pytest.mark.parametrize(
        ("amount", "currency", "refusal"), [(0, "usd", AmountNotPositive), (5, "xxx", CurrencyUnsupported)]
    )
    def test_refuse_what_is_no_amount(self, amount: int, currency: str, refusal: type[Exception]) -> None:
        with pytest.raises(refusal):
            charge(make_account(), amount, currency=currency)
