"""Accounts, members, catalogs to subscribe to, and ledger entries, made through the services."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime
from typing import Any

from accounts.models import Account, LedgerEntry, Member, MemberRole, Subscription
from accounts.services.accounts import create_account
from accounts.services.ledger import NewEntry, PostingSpec, post_entry
from accounts.services.members import add_member
from accounts.services.subscriptions import create_subscription
from billing_site.kernel.actors import Actor
from catalog.models import CatalogRevision
from catalog.services.publishing import publish_document

AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
ACTOR = Actor("staff", "tester")
_numbers = itertools.count(1)

CATALOG: dict[str, Any] = {
    "version": 1,
    "products": [{"id": "platform", "name": "Platform"}, {"id": "ai", "name": "Models"}],
    "meters": [{"name": "tokens", "unit": "tokens"}],
    "plans": [
        {
            "id": "free",
            "product_id": "platform",
            "name": "Free",
            "prices": [{"currency": "usd", "unit_amount": 0, "interval": "month"}],
        },
        {
            "id": "pro",
            "product_id": "platform",
            "name": "Pro",
            "prices": [
                {"currency": "usd", "unit_amount": 4900, "interval": "month"},
                {"currency": "usd", "unit_amount": 49000, "interval": "year"},
                {"currency": "eur", "unit_amount": 4500, "interval": "month"},
            ],
        },
        {
            "id": "enterprise",
            "product_id": "platform",
            "name": "Enterprise",
            "contact_sales": True,
            "prices": [{"currency": "usd", "unit_amount": 990000, "interval": "month", "billing_timing": "arrears"}],
        },
        {
            "id": "trial",
            "product_id": "ai",
            "name": "Team",
            "trial_period_days": 14,
            "prices": [{"currency": "usd", "unit_amount": 2000, "interval": "month"}],
        },
        {
            "id": "payg",
            "product_id": "ai",
            "name": "Pay as you go",
            "prices": [
                {"currency": "usd", "unit_amount": "0.00005", "interval": "month", "meter": "tokens"},
                {"currency": "usd", "unit_amount": "0.00004", "interval": "year", "meter": "tokens"},
            ],
        },
        {
            "id": "mixed",
            "product_id": "ai",
            "name": "Seats and tokens",
            "prices": [
                {"currency": "usd", "unit_amount": 1500, "interval": "month"},
                {"currency": "usd", "unit_amount": 15000, "interval": "year"},
                {"currency": "usd", "unit_amount": "0.5", "interval": "month", "meter": "tokens"},
            ],
        },
    ],
}


def publish_catalog(org_id: str = "default", document: dict[str, Any] | None = None) -> CatalogRevision:
    """Publish a catalog with plans of every kind: free, fee, by the year, usage, both, on trial, contact sales."""
    return publish_document(org_id=org_id, document=document or CATALOG, at=AT, actor=ACTOR).revision


def make_account(external_id: str | None = None, **values: Any) -> Account:
    """Open an account without the default plan. Its owner is the bearer of a token with the external id as subject."""
    number = next(_numbers)
    values = {"name": f"Account {number}", "at": AT, "actor": ACTOR, "with_default_plan": False, **values}
    return create_account(external_id=external_id or f"account-{number}", **values)


def make_member(account: Account, user_id: str, role: str = MemberRole.MEMBER) -> Member:
    """Give a person a role."""
    return add_member(account=account, user_id=user_id, role=role, at=AT, actor=ACTOR)


def make_subscription(account: Account, plan_key: str = "pro", **values: Any) -> Subscription:
    """Start a subscription from the published catalog; nothing is billed."""
    return create_subscription(**{"account": account, "plan_key": plan_key, "at": AT, "actor": ACTOR, **values})


def make_new_entry(account: Account, amount: int = 500, **values: Any) -> NewEntry:
    """Return a movement of `amount` from cash to the prepaid balance, not posted."""
    currency = values.pop("currency", "usd")
    return NewEntry(
        **{
            "key": f"entry-{uuid.uuid4()}",
            "type": "deposit",
            "account_id": account.pk,
            "postings": [
                PostingSpec("cash", None, currency, amount),
                PostingSpec("prepaid", account.pk, currency, -amount),
            ],
            "at": AT,
            "livemode": False,
            **values,
        }
    )


def make_entry(account: Account, amount: int = 500, **values: Any) -> LedgerEntry:
    """Post a movement of `amount` from cash to the prepaid balance."""
    new = make_new_entry(account, amount, **values)
    return post_entry(
        key=new.key, type=new.type, account_id=account.pk, postings=new.postings, at=new.at, livemode=new.livemode
    )
