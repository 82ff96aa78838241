"""Credit that is granted, voided and ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Account, CreditBurn, CreditGrant, LedgerAccount, LedgerEntry
from accounts.queries.proof import prove_ledger
from accounts.services.accounts import update_account
from accounts.services.credit_burning import burn_credits
from accounts.services.credit_grants import AlreadyVoided, expire_grants, grant_credit, void_grant
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from accounts.tasks.credit_grants import expire_credit_grants
from accounts.terms.burning import Charge
from billing_site.kernel import clock
from billing_site.kernel.errors import AmountNotPositive, CurrencyUnsupported, InvalidState, NotFound, ValidationFailed
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def give(account: Account, amount: int = 1000, **values: Any) -> CreditGrant:
    return grant_credit(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})


def spend(account: Account, amount: int, at: datetime = AT, key: str = "in_1") -> None:
    charges = [Charge("fee", amount, "usd")]
    burn_credits(account=account, charges=charges, key=key, at=at, actor=ACTOR, settles="revenue")


def pot(kind: str, account: Account | None = None) -> int:
    return LedgerAccount.objects.get(kind=kind, account=account, currency="usd").balance


class TestGrantCredit:
    def test_owes_the_account_what_was_given_away(self) -> None:
        account = make_account()
        grant = give(account, 2500, name="Welcome", tags="trial", metadata={"campaign": 7})
        assert (pot("credit_grants", account), pot("promotions")) == (-2500, 2500)
        assert (grant.amount, grant.remaining, grant.released, grant.spent) == (2500, 2500, 0, 0)
        assert (grant.promotional, grant.effective_at, grant.expires_at) == (True, AT, None)
        assert (grant.entry.type, grant.entry.metadata) == ("credit_grant", {"credit_grant_id": grant.public_id})
        assert prove_ledger().holds

    @pytest.mark.parametrize("tags", ["paid", "spring, Purchased"])
    def test_books_cash_for_what_was_paid_for(self, tags: str) -> None:
        assert not give(make_account(), 900, tags=tags).promotional
        assert pot("cash") == 900

    def test_tells_what_happened_and_why(self) -> None:
        grant = give(make_account(), reason="outage on Monday")
        event = Event.objects.get(type="credit_grant.created")
        assert (event.data["id"], event.data["amount"], event.reason) == (grant.public_id, 1000, "outage on Monday")

    def test_keeps_meters_by_id_or_event_name_once_each(self) -> None:
        publish_catalog()
        account = make_account()
        first = give(account, eligibility=["tokens"]).limits.get()
        again = give(account, eligibility=["tokens", first.meter.public_id])
        assert [limit.meter for limit in again.limits.all()] == [first.meter]

    def test_happens_once_per_key_and_account(self) -> None:
        account, other = make_account(), make_account()
        assert give(account, once_key="welcome").pk == give(account, 5, once_key="welcome").pk
        give(other, once_key="welcome")
        assert CreditGrant.objects.count() == 2
        assert pot("credit_grants", account) == -1000

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"amount": 0}, AmountNotPositive),
            ({"amount": -1}, AmountNotPositive),
            ({"amount": 10**16}, ValidationFailed),
            ({"currency": "xyz"}, CurrencyUnsupported),
            ({"expires_at": AT}, ValidationFailed),
            ({"effective_at": AT + 3 * DAY, "expires_at": AT + DAY}, ValidationFailed),
            ({"effective_at": AT - 3 * DAY, "expires_at": AT - DAY}, ValidationFailed),
            ({"eligibility": ["no-such-meter"]}, ValidationFailed),
            ({"priority": 10**9}, ValidationFailed),
        ],
    )
    def test_refuses_what_makes_no_sense_and_writes_nothing(
        self, given: dict[str, Any], error: type[Exception]
    ) -> None:
        account = make_account()
        with pytest.raises(error):
            give(account, **given)
        assert not CreditGrant.objects.exists()
        assert not LedgerEntry.objects.exists()

    def test_refuses_a_closed_account(self) -> None:
        account = make_account()
        update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        with pytest.raises(InvalidState):
            give(account)


class TestVoidGrant:
    def test_takes_back_the_rest_and_never_what_was_spent(self) -> None:
        account = make_account()
        grant = give(account, 1000)
        spend(account, 300)
        voided = void_grant(grant_id=grant.pk, at=AT + DAY, actor=ACTOR, reason="wrong account")
        assert (voided.remaining, voided.released, voided.spent) == (0, 700, 300)  # 1000 - 300
        assert (voided.voided_at, voided.voided_by, voided.void_reason) == (AT + DAY, "staff:tester", "wrong account")
        assert (pot("credit_grants", account), pot("promotions"), pot("revenue")) == (0, 300, -300)
        assert Event.objects.get(type="credit_grant.voided").data["released"] == 700
        assert prove_ledger().holds

    def test_works_on_a_spent_grant_and_moves_nothing(self) -> None:
        account = make_account()
        grant = give(account, 300)
        spend(account, 300)
        entries = LedgerEntry.objects.count()
        assert void_grant(grant_id=grant.pk, at=AT, actor=ACTOR).is_voided
        assert LedgerEntry.objects.count() == entries

    def test_happens_once(self) -> None:
        grant = give(make_account())
        void_grant(grant_id=grant.pk, at=AT, actor=ACTOR)
        with pytest.raises(AlreadyVoided):
            void_grant(grant_id=grant.pk, at=AT, actor=ACTOR)

    def test_refuses_an_unknown_grant(self) -> None:
        with pytest.raises(NotFound):
            void_grant(grant_id=make_account().pk, at=AT, actor=ACTOR)


class TestExpireGrants:
    def test_releases_only_what_is_left(self) -> None:
        account = make_account()
        grant = give(account, 1000, expires_at=AT + 10 * DAY)
        give(account, 50)
        spend(account, 600)
        assert expire_grants(at=AT + 10 * DAY).grants == 1
        grant.refresh_from_db()
        assert (grant.remaining, grant.released, grant.spent, grant.expired_at) == (0, 400, 600, AT + 10 * DAY)
        assert (pot("credit_grants", account), pot("promotions")) == (-50, 650)  # 1000 + 50 - 400
        assert Event.objects.get(type="credit_grant.expired").data["released"] == 400
        assert prove_ledger().holds

    def test_ends_nothing_early_and_nothing_twice(self) -> None:
        give(make_account(), expires_at=AT + DAY)
        times = [AT + DAY - timedelta(seconds=1), AT + DAY, AT + 2 * DAY]
        assert [expire_grants(at=at).grants for at in times] == [0, 1, 0]

    def test_may_be_for_one_organization(self) -> None:
        give(make_account("acme/shop"), expires_at=AT + DAY)
        give(make_account("globex/shop"), expires_at=AT + DAY)
        assert [expire_grants(at=AT + DAY, org_id="acme").grants for _ in range(2)] == [1, 0]
        assert CreditGrant.objects.get(remaining=0).account.org_id == "acme"

    def test_works_through_more_than_one_chunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("accounts.services.credit_grants.SWEEP_CHUNK", 3)
        accounts = [make_account() for _ in range(4)]
        for account in accounts * 2:
            give(account, 10, expires_at=AT + DAY)
        assert expire_grants(at=AT + DAY).grants == 8
        assert all(pot("credit_grants", account) == 0 for account in accounts)

    def test_counts_by_the_test_clock_of_the_account(self) -> None:
        frozen = create_test_clock(name="slow", now_at=AT, at=AT, actor=ACTOR)
        give(make_account(test_clock=frozen), expires_at=AT + DAY)
        assert expire_grants(at=AT + 90 * DAY).grants == 0
        advance_test_clock(clock_id=frozen.pk, to=AT + 2 * DAY, at=AT, actor=ACTOR)
        assert expire_grants(at=AT).grants == 1
        assert CreditGrant.objects.get().expired_at == AT + 2 * DAY

    def test_is_what_the_task_does(self) -> None:
        give(make_account(), expires_at=AT + DAY)
        with clock.travel(AT + DAY):
            assert expire_credit_grants() == 1


class TestTable:
    @pytest.mark.parametrize(
        ("change", "constraint"),
        [
            ("remaining = -1", "credit_grants_remaining_in_range"),
            ("remaining = 1001", "credit_grants_remaining_in_range"),
            ("released = 1", "credit_grants_remaining_in_range"),
            ("voided_at = now()", "credit_grants_voided_has_person"),
            ("voided_at = now(), voided_by = 'staff:x'", "credit_grants_voided_has_person"),  # something is left
            ("expired_at = now()", "credit_grants_expired_has_end"),
            ("amount = 5", "credit_grants: UPDATE refused"),
            ("priority = -9", "credit_grants: UPDATE refused"),
            ("expires_at = now()", "credit_grants: UPDATE refused"),
        ],
    )
    def test_refuses_what_no_service_would_write(self, change: str, constraint: str) -> None:
        give(make_account())
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE credit_grants SET {change}")

    @pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
    @pytest.mark.parametrize("table", ["credit_grants", "credit_burns", "credit_grant_meters"])
    def test_loses_no_row(self, table: str, statement: str) -> None:
        publish_catalog()
        account = make_account()
        give(account, eligibility=["tokens"])
        give(account)
        spend(account, 10)
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what was written so far is right
            cursor.execute(statement.format(table))

    def test_never_changes_what_was_paid(self) -> None:
        account = make_account()
        give(account)
        spend(account, 10)
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            CreditBurn.objects.update(amount=1)

    def test_holds_one_grant_per_key(self) -> None:
        account = make_account()
        give(account, once_key="welcome")
        other = give(account)
        with pytest.raises(IntegrityError, match="credit_grants_once_per_account"), transaction.atomic():
            CreditGrant.objects.filter(pk=other.pk).update(once_key="welcome")


def test_a_grant_of_one_subscription_names_it() -> None:
    publish_catalog()
    account = make_account()
    subscription = make_subscription(account)
    grant = give(account, subscription=subscription)
    assert grant.as_burnable().subscription == subscription.public_id
