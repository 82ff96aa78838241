"""Credit that pays, and recurring credit that is set back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, CreditBurn, CreditGrant, LedgerAccount, LedgerEntry, Subscription
from accounts.queries.credit_grants import list_available
from accounts.queries.proof import prove_ledger
from accounts.services.credit_burning import BurnedCredit, burn_credits, preview_burn, renew_grants
from accounts.services.credit_grants import Recurring, expire_grants, grant_credit, void_grant
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from accounts.tasks.credit_grants import renew_credit_grants
from accounts.terms.burning import Charge
from billing_site.kernel import clock
from billing_site.kernel.periods import Interval
from billing_site.platform.models import Event
from catalog.services.meters import create_meter
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
APRIL = datetime(2026, 4, 15, tzinfo=UTC)
MONTHLY = Recurring(Interval.parse("month"))


def give(account: Account, amount: int = 1000, **values: Any) -> CreditGrant:
    return grant_credit(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})


def fee(amount: int, **values: Any) -> Charge:
    return Charge(**{"key": "fee", "amount": amount, "currency": "usd", **values})


def pay(account: Account, *charges: Charge, key: str = "in_1", at: datetime = AT, **values: Any) -> BurnedCredit:
    return burn_credits(account=account, charges=charges, key=key, at=at, actor=ACTOR, **values)


def left(*grants: CreditGrant) -> list[int]:
    found = {grant.pk: grant.remaining for grant in CreditGrant.objects.all()}
    return [found[grant.pk] for grant in grants]


def pot(kind: str, account: Account | None = None) -> int:
    return LedgerAccount.objects.get(kind=kind, account=account, currency="usd").balance


@pytest.fixture
def example() -> tuple[Account, list[CreditGrant], list[Charge]]:
    """The example of the contract: C for one meter, A that ends, B; usage 150 and a fee of 500."""
    create_meter(org_id="default", name="m1", event_name="m1", at=AT, actor=ACTOR)
    account = make_account()
    grants = [
        give(account, 200, priority=-1, eligibility=["m1"], name="C"),
        give(account, 300, expires_at=AT + 30 * DAY, name="A"),
        give(account, 1000, name="B"),
    ]
    return account, grants, [Charge("usage", 150, "usd", meter="m1"), fee(500)]


def amounts(account: Account, charges: Sequence[Charge], at: datetime) -> list[tuple[str, int]]:
    burn = preview_burn(account=account, charges=charges, at=at)
    return [(part.charge, part.amount) for part in burn.allocations]


class TestBurnCredits:
    def test_pays_as_the_contract_shows(self, example: tuple[Account, list[CreditGrant], list[Charge]]) -> None:
        account, grants, charges = example
        result = pay(account, *charges)
        assert left(*grants) == [50, 0, 800]
        rows = CreditBurn.objects.order_by("id").values_list("grant__name", "charge", "meter", "amount")
        assert list(rows) == [("C", "usage", "m1", 150), ("A", "fee", "", 300), ("B", "fee", "", 200)]
        assert (result.burn.paid, result.burn.open) == (650, 0)
        assert pot("credit_grants", account) == -850  # 1500 - 650
        assert pot("receivable", account) == -650
        assert prove_ledger().holds

    def test_tells_which_grants_paid(self, example: tuple[Account, list[CreditGrant], list[Charge]]) -> None:
        account, grants, charges = example
        result = pay(account, *charges)
        events = Event.objects.filter(type="credit_grant.burned").order_by("sequence")
        assert [(event.data["id"], event.data["burned"]) for event in events] == [
            (grant.public_id, amount) for grant, amount in zip(grants, [150, 300, 200], strict=True)
        ]
        assert result.entry is not None
        assert events[0].data["transaction_id"] == result.entry.public_id

    def test_happens_once_per_key(self, example: tuple[Account, list[CreditGrant], list[Charge]]) -> None:
        account, grants, charges = example
        assert pay(account, *charges) == pay(account, *charges)
        assert left(*grants) == [50, 0, 800]
        assert LedgerEntry.objects.filter(type="credit_burn").count() == 1

    def test_leaves_open_what_credit_does_not_cover(self) -> None:
        account = make_account()
        grant = give(account, 100)
        result = pay(account, fee(130), settles="revenue")
        assert (result.burn.rest, left(grant)) == ({"fee": 30}, [0])
        assert pot("revenue") == -100

    def test_books_nothing_where_nothing_is_paid(self) -> None:
        account = make_account()
        give(account, 100, effective_at=AT + DAY)
        give(account, 100, currency="eur")
        assert pay(account, fee(130)).entry is None
        assert not LedgerEntry.objects.filter(type="credit_burn").exists()

    def test_never_takes_ended_or_void_credit_or_that_of_others(self) -> None:
        account = make_account()
        give(make_account(), 100)
        give(account, 100, expires_at=AT + DAY)
        void_grant(grant_id=give(account, 100).pk, at=AT, actor=ACTOR)
        assert pay(account, fee(130), at=AT + DAY).burn.paid == 0

    def test_takes_credit_of_the_subscription_first_and_only_for_it(self) -> None:
        publish_catalog()
        account = make_account()
        subscription: Subscription = make_subscription(account)
        general, bound = give(account, 100), give(account, 100, subscription=subscription)
        pay(account, fee(30), key="other")
        pay(account, fee(40, subscription=subscription.public_id), key="own")
        assert left(general, bound) == [70, 60]

    def test_needs_the_same_statements_for_many_grants(self) -> None:
        def count(grants: int) -> int:
            account = make_account()
            for _ in range(grants):
                give(account, 10)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                pay(account, fee(10 * grants), key=f"in_{grants}", settles="revenue")
            return len(queries)

        count(1)  # opens the pots of the platform
        assert count(2) == count(12)


class TestPreviewBurn:
    def test_answers_the_same_and_writes_nothing(
        self, example: tuple[Account, list[CreditGrant], list[Charge]]
    ) -> None:
        account, grants, charges = example
        before = LedgerEntry.objects.count()
        preview = preview_burn(account=account, charges=charges, at=AT)
        assert (left(*grants), LedgerEntry.objects.count()) == ([200, 300, 1000], before)
        assert pay(account, *charges).burn == preview

    def test_counts_a_recurring_grant_as_set_back(self) -> None:
        account = make_account()
        give(account, 1000, recurring=MONTHLY, tags="plan-included")
        give(account, 500)
        pay(account, fee(600))
        expected = [("fee", 1000), ("fee", 300)]
        assert amounts(account, [fee(1300)], APRIL) == expected
        result = pay(account, fee(1300), key="in_2", at=APRIL)
        assert [(part.charge, part.amount) for part in result.burn.allocations] == expected


class TestRenewGrants:
    def test_sets_back_to_the_amount_and_keeps_what_rolls_over(self) -> None:
        account = make_account()
        recurring = Recurring(Interval.parse("month"), rollover_maximum=2000)
        first = give(account, 1000, recurring=recurring)
        pay(account, fee(600), settles="revenue")
        assert renew_grants(at=APRIL) == 1
        second = CreditGrant.objects.get(renewed_from=first)
        assert (second.remaining, second.rolled_over) == (1400, 400)  # 1,000 a month, 600 used, cap 2,000
        assert (second.effective_at, second.expires_at) == (APRIL, datetime(2026, 5, 15, tzinfo=UTC))
        assert left(first) == [0]
        assert pot("credit_grants", account) == -1400
        assert pot("promotions") == 2000  # 1,000 twice: what rolled over was given once
        assert prove_ledger().holds

    def test_keeps_nothing_without_rollover(self) -> None:
        account = make_account()
        give(account, 1000, recurring=MONTHLY)
        renew_grants(at=APRIL)
        assert [each.available for each in list_available(account=account, at=APRIL)] == [1000]

    def test_opens_every_period_that_was_missed_once(self) -> None:
        account = make_account()
        give(account, 1000, recurring=Recurring(Interval.parse("month"), rollover_maximum=1500), priority=4)
        assert [renew_grants(at=APRIL + 61 * DAY), renew_grants(at=APRIL + 61 * DAY)] == [3, 0]
        found = CreditGrant.objects.order_by("period_index").values_list("period_index", "amount", "priority")
        # 1,000; + 1,000; 1,500 of 2,000 stay; 1,500 of 2,500 stay
        assert list(found) == [(0, 1000, 4), (1, 2000, 4), (2, 2500, 4), (3, 2500, 4)]
        assert [each.available for each in list_available(account=account, at=APRIL + 61 * DAY)] == [2500]

    def test_keeps_the_meters(self) -> None:
        publish_catalog()
        account = make_account()
        first = give(account, recurring=MONTHLY, eligibility=["tokens"])
        renew_grants(at=APRIL)
        second = CreditGrant.objects.get(renewed_from=first)
        assert [limit.meter.event_name for limit in second.limits.all()] == ["tokens"]

    def test_stops_when_the_grant_is_voided(self) -> None:
        grant = give(make_account(), recurring=MONTHLY)
        void_grant(grant_id=grant.pk, at=AT, actor=ACTOR)
        assert renew_grants(at=APRIL) == 0

    def test_is_not_overtaken_by_the_sweep_of_ended_credit(self) -> None:
        account = make_account()
        give(account, 1000, recurring=Recurring(Interval.parse("month"), rollover_maximum=400))
        assert expire_grants(at=APRIL).grants == 0
        renew_grants(at=APRIL)
        assert [each.available for each in list_available(account=account, at=APRIL)] == [1400]

    def test_begins_at_midnight_of_the_account(self) -> None:
        account = make_account(timezone="America/New_York")
        give(account, recurring=MONTHLY)
        renew_grants(at=APRIL + timedelta(hours=3))
        assert CreditGrant.objects.count() == 1  # 15 April begins at 04:00 UTC there
        renew_grants(at=APRIL + timedelta(hours=4))
        assert CreditGrant.objects.count() == 2

    def test_counts_by_the_test_clock_of_the_account(self) -> None:
        frozen = create_test_clock(name="slow", now_at=AT, at=AT, actor=ACTOR)
        give(make_account(test_clock=frozen), recurring=MONTHLY)
        assert renew_grants(at=APRIL) == 0
        advance_test_clock(clock_id=frozen.pk, to=APRIL, at=AT, actor=ACTOR)
        assert renew_grants(at=AT) == 1

    def test_works_through_more_than_one_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("accounts.services.credit_burning.SWEEP_BATCH", 2)
        for _ in range(5):
            give(make_account(), recurring=MONTHLY)
        assert renew_grants(at=APRIL) == 5

    def test_may_be_for_one_organization(self) -> None:
        give(make_account("acme/shop"), recurring=MONTHLY)
        give(make_account("globex/shop"), recurring=MONTHLY)
        assert [renew_grants(at=APRIL, org_id="acme") for _ in range(2)] == [1, 0]

    def test_is_what_the_task_does(self) -> None:
        give(make_account(), recurring=MONTHLY)
        with clock.travel(APRIL):
            assert renew_credit_grants() == 1
