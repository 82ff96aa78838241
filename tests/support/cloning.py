"""
Many subscriptions that are due, copied inside the database from one that the product itself started.

Every row is what the services wrote for the first account, with ids of its own; so the copies are billed like any other
subscription, and a hundred thousand of them take seconds. Their usage is totals, as events of whole days leave them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection

from accounts.models import Account
from catalog.models import Plan
from catalog.services.publishing import publish_document
from tests.support import world

START: Final = datetime(2024, 3, 1, tzinfo=UTC)
END: Final = datetime(2024, 4, 1, tzinfo=UTC)
_METERS: Final = ("input_tokens", "output_tokens", "images")

# Ids of version 7 in the order of the numbers, as the product would have made them one after the other.
_FUNCTIONS: Final = """
    CREATE FUNCTION pg_temp.clone_id(number bigint, kind text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex(1709251200000 + number / 16), 12, '0') || '7' || lpad(to_hex(number %% 16 * 256), 3, '0')
                || '8' || substr(md5(number || kind), 1, 15))::uuid
    $$
"""
_ACCOUNTS: Final = """
    INSERT INTO accounts
    SELECT r.* FROM generate_series(1, %(copies)s) n, accounts t, LATERAL jsonb_populate_record(t, jsonb_build_object(
        'id', pg_temp.clone_id(n, %(handle)s), 'external_id', %(handle)s || '-' || n, 'name', 'Customer ' || n)) r
    WHERE t.id = %(account)s
"""
_SUBSCRIPTIONS: Final = """
    INSERT INTO subscriptions
    SELECT r.* FROM generate_series(1, %(copies)s) n, subscriptions t, LATERAL jsonb_populate_record(t,
        jsonb_build_object('id', pg_temp.clone_id(n, %(handle)s || 'subscription'),
                           'account_id', pg_temp.clone_id(n, %(handle)s))) r
    WHERE t.id = %(subscription)s
"""
_ITEMS: Final = """
    INSERT INTO subscription_items
    SELECT r.* FROM generate_series(1, %(copies)s) n,
        (SELECT i, row_number() OVER (ORDER BY i.id) AS place FROM subscription_items i
         WHERE i.subscription_id = %(subscription)s) t,
        LATERAL jsonb_populate_record(t.i, jsonb_build_object(
            'id', pg_temp.clone_id(n, %(handle)s || 'item' || t.place),
            'subscription_id', pg_temp.clone_id(n, %(handle)s || 'subscription'))) r
"""
_POTS: Final = """
    INSERT INTO ledger_accounts
    SELECT r.* FROM generate_series(1, %(copies)s) n, ledger_accounts t, LATERAL jsonb_populate_record(t,
        jsonb_build_object('id', pg_temp.clone_id(n, %(handle)s || t.kind),
                           'account_id', pg_temp.clone_id(n, %(handle)s), 'balance', 0)) r
    WHERE t.account_id = %(account)s
"""
_CHAINS: Final = """
    INSERT INTO event_chains (key, last_sequence, last_hash)
    SELECT pg_temp.clone_id(n, %(handle)s)::text, 0, '' FROM generate_series(1, %(copies)s) n
"""
_COUNTERS: Final = """
    INSERT INTO usage_counters (account_id, meter_id, span, starts_at, shard, total, events, charged_total,
                                charged_events, highest, last_event_at, last_recorded_at)
    SELECT a.id, m.id, s.span, s.starts_at, 0, s.factor * (100000 + a.number * 7 %% 90001 + m.place), s.factor, 0, 0, 0,
           s.last_at, s.last_at
    FROM (SELECT %(account)s::uuid AS id, 0 AS number
          UNION ALL SELECT pg_temp.clone_id(n, %(handle)s), n FROM generate_series(1, %(copies)s) n) a
    CROSS JOIN (SELECT id, row_number() OVER (ORDER BY event_name) AS place FROM meters) m
    CROSS JOIN (
        SELECT p.span, d + p.moved AS starts_at, 1 AS factor, d + interval '5 hours' AS last_at
        FROM generate_series(%(start)s::timestamptz, %(last_day)s, '1 day') d
        CROSS JOIN (VALUES ('day', interval '0'), ('hour', interval '5 hours')) AS p (span, moved)
        UNION ALL
        SELECT 'month', %(start)s, %(days)s, %(last_day)s::timestamptz + interval '5 hours'
        UNION ALL
        SELECT 'total', '1970-01-01Z', %(days)s, %(last_day)s::timestamptz + interval '5 hours'
    ) s (span, starts_at, factor, last_at)
"""


def publish_plan() -> None:
    """Publish `team`: a fee in advance by the month, and three meters."""
    usage = [
        {"currency": "usd", "interval": "month", "meter": name, "model": "per_unit", "unit_amount": amount}
        for name, amount in zip(_METERS, ("0.00005", "0.00015", "0.002"), strict=True)
    ]
    document = {
        "version": 1,
        "products": [{"id": "llm", "name": "Language models"}],
        "meters": [{"name": name, "unit": "units", "display_name": name.replace("_", " ")} for name in _METERS],
        "plans": [
            {
                "id": "team",
                "product_id": "llm",
                "name": "Team",
                "prices": [{"currency": "usd", "interval": "month", "unit_amount": 2900}, *usage],
            }
        ],
    }
    publish_document(org_id="default", document=document, at=START - timedelta(days=1), actor=world.TESTER)


def clone_subscriptions(count: int, *, days_of_usage: int = 3) -> None:
    """
    Make `count` accounts with a monthly subscription, due on 1 April 2024, and usage on the first days of March.

    Into an empty database. The first account is the product's own work, and has its first invoice.
    """
    publish_plan()
    clone_more(count, days_of_usage=days_of_usage)


def clone_more(count: int, *, days_of_usage: int = 3) -> None:
    """Make `count` further accounts as `clone_subscriptions` does, which is for an empty database."""
    if not Plan.objects.filter(key="team").exists():
        publish_plan()
    handle = f"customer-{Account.objects.count()}"
    account = world.open_account(handle, at=START)
    subscription = world.subscribe(account, "team", at=START)
    values: dict[str, Any] = {
        "copies": count - 1,
        "handle": handle,
        "account": account.pk,
        "subscription": subscription.pk,
        "start": START,
        "last_day": START + timedelta(days=days_of_usage - 1),
        "days": days_of_usage,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FUNCTIONS, {})
        for statement in (_ACCOUNTS, _SUBSCRIPTIONS, _ITEMS, _POTS, _CHAINS, _COUNTERS):
            cursor.execute(statement, values)
        cursor.execute("DROP FUNCTION pg_temp.clone_id(bigint, text)")
        cursor.execute(
            "ANALYZE accounts, subscriptions, subscription_items, ledger_accounts, event_chains, usage_counters, prices"
        )
