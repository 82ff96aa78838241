"""Credit above the limit needs a second person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditGrant
from accounts.services.accounts import update_account
from accounts.services.approval_limits import SecondPersonNeeded
from accounts.services.credit_approvals import grant_or_request
from accounts.services.credit_grants import GRANT_KIND, grant_credit
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, ValidationFailed
from billing_site.platform.models import Approval, Event
from billing_site.platform.services.approvals import (
    ApprovalAlreadyPending,
    ApprovalSelfDecision,
    approve,
    reject,
)
from tests.factories.accounts import ACTOR, AT, make_account, publish_catalog

pytestmark = pytest.mark.django_db
BOB = Actor("staff", "bob")
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _limit(settings: Any) -> None:
    settings.BILLING_APPROVAL_LIMIT = 1000


def ask(account: Account, amount: int = 5000, **values: Any) -> CreditGrant | Approval:
    terms = {"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, "reason": "goodwill"}
    return grant_or_request(**{**terms, **values})


def request(account: Account, amount: int = 5000, **values: Any) -> Approval:
    found = ask(account, amount, **values)
    assert isinstance(found, Approval)
    return found


class TestGrantOrRequest:
    def test_gives_what_is_within_the_limit(self) -> None:
        assert isinstance(ask(make_account(), 1000), CreditGrant)
        assert not Approval.objects.exists()

    def test_asks_for_everything_with_a_limit_of_zero(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 0
        assert request(make_account(), 1).amount == 1

    def test_leaves_services_to_their_own_review(self) -> None:
        assert isinstance(ask(make_account(), 10**9, actor=Actor("token", "svc")), CreditGrant)

    def test_is_the_only_way_for_a_person(self) -> None:
        with pytest.raises(SecondPersonNeeded):
            grant_credit(account=make_account(), amount=1001, currency="usd", at=AT, actor=ACTOR)

    def test_asks_for_what_is_above(self) -> None:
        account = make_account(name="Acme")
        approval = request(account, 1001, expires_at=AT + DAY, tags="trial")
        assert (approval.kind, approval.amount, approval.currency) == (GRANT_KIND, 1001, "usd")
        assert approval.title == "Grant 10.01 USD of credit to Acme"
        assert approval.payload["tags"] == "trial"
        assert not CreditGrant.objects.exists()

    def test_refuses_at_once_what_could_never_be_given(self) -> None:
        account = make_account()
        for values in ({"eligibility": ["nope"]}, {"currency": "xyz"}, {"expires_at": AT}, {"priority": 10**9}):
            with pytest.raises(DomainError):
                ask(account, **values)
        assert not Approval.objects.exists()

    def test_asks_once_at_a_time(self) -> None:
        account = make_account()
        request(account)
        with pytest.raises(ApprovalAlreadyPending):
            ask(account)


class TestApproving:
    def test_gives_exactly_what_was_asked_for(self) -> None:
        publish_catalog()
        account = make_account()
        approval = request(account, expires_at=AT + 30 * DAY, eligibility=["tokens"], priority=-2, name="Sorry")
        approve(approval_id=approval.pk, at=AT + DAY, actor=BOB)
        grant = CreditGrant.objects.get()
        assert (grant.amount, grant.priority, grant.name) == (5000, -2, "Sorry")
        assert (grant.effective_at, grant.expires_at) == (AT + DAY, AT + 30 * DAY)
        assert [limit.meter.event_name for limit in grant.limits.all()] == ["tokens"]
        assert grant.metadata == {"approval_id": approval.public_id, "requested_by": "staff:tester"}
        event = Event.objects.get(type="credit_grant.created")
        assert (event.actor_id, event.reason) == ("bob", "goodwill")

    def test_is_not_for_the_person_who_asked(self) -> None:
        approval = request(make_account())
        with pytest.raises(ApprovalSelfDecision):
            approve(approval_id=approval.pk, at=AT, actor=ACTOR)
        assert not CreditGrant.objects.exists()

    def test_stays_open_when_it_cannot_be_given_any_more(self) -> None:
        account = make_account()
        approval = request(account, expires_at=AT + DAY)
        with pytest.raises(ValidationFailed):
            approve(approval_id=approval.pk, at=AT + 2 * DAY, actor=BOB)
        update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        with pytest.raises(InvalidState):
            approve(approval_id=approval.pk, at=AT, actor=BOB)
        approval.refresh_from_db()
        assert approval.is_pending

    def test_gives_nothing_when_refused(self) -> None:
        account = make_account()
        approval = request(account)
        reject(approval_id=approval.pk, at=AT, actor=BOB, comment="too much")
        assert not CreditGrant.objects.exists()
        assert request(account).pk != approval.pk  # may be asked for again
