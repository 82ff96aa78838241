"""
Where an account stands for one scope, in one prepared statement: what `load_standing` says, at the price of a look-up.

The rules are those of `quotas` and `quota_sources`, written once more in SQL because entitlement checks run before
every piece of work; a test compares both over generated situations. What the statement does not answer (accounts on a
test clock, limits of gauges and of distinct counts, billing periods that do not begin with an hour) it leaves to them.
Source: ADR 0032.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec
from django.conf import settings

from accounts.models import Account
from billing_site.kernel.statements import prepared_cursor
from metering.queries.resources import is_gauge
from metering.rating.entitlements import HardLimit, Standing

ZERO: Final = Decimal(0)
_ADDING_UP: Final = ("sum", "count", "max")

# Subscriptions that give access. Plan quotas of every one of them count, whichever grants the scope.
_ACCESS: Final = """
    SELECT s.id, s.plan_version_id, p.key AS plan, s.status = 'past_due' AS is_late,
           s.current_period_start AS starts_at, s.current_period_end AS ends_at,
           CASE WHEN coalesce(jsonb_typeof(s.provider_features), 'null') <> 'null'
                THEN s.status <> 'past_due' AND s.provider_features ? %(scope)s::text
                ELSE EXISTS (SELECT FROM plan_version_features l JOIN features f ON f.id = l.feature_id
                             WHERE l.plan_version_id = v.id AND f.key = %(scope)s::text) END AS grants
    FROM account a
    JOIN subscriptions s ON s.account_id = a.id
    JOIN plan_versions v ON v.id = s.plan_version_id
    JOIN plans p ON p.id = v.plan_id
    WHERE s.status IN ('active', 'trialing')
       OR (s.status = 'past_due'
           AND %(at)s::timestamptz < s.current_period_start + make_interval(days => %(grace)s::int))
"""
_RULES: Final = """
    SELECT r.id, s.id AS sub, f.key AS feature, r.meter_id, r."window", r."limit", r.enforcement = 'hard' AS is_hard,
           s.starts_at, s.ends_at
    FROM access s
    JOIN quota_rules r ON r.plan_version_id = s.plan_version_id
    JOIN features f ON f.id = r.feature_id
"""
# An account's own limit belongs to its scope, else to those under which its plans limit the meter, else to its meter
# alone. Its billing period is that of the subscription that limits the meter, by the same window rather than another.
_OWN: Final = """
    SELECT q.id, q.meter_id, q."window", q."limit", q.is_hard, q.feature AS stated,
           CASE WHEN q.feature <> '' THEN q.feature
                WHEN EXISTS (SELECT FROM rules r WHERE r.meter_id = q.meter_id AND r.feature = %(scope)s::text)
                THEN %(scope)s::text
                WHEN NOT EXISTS (SELECT FROM rules r WHERE r.meter_id = q.meter_id) THEN '' END AS feature
    FROM account a JOIN account_quotas q ON q.account_id = a.id
    WHERE q.is_active
"""
_OWN_IN_FORCE: Final = """
    SELECT o.id, NULL::uuid AS sub, o.stated, o.feature, o.meter_id, o."window", o."limit", p.starts_at, p.ends_at
    FROM own o
    CROSS JOIN LATERAL (
        SELECT s.starts_at, s.ends_at FROM access s
        LEFT JOIN rules r ON r.sub = s.id AND r.meter_id = o.meter_id
        ORDER BY r.id IS NULL, r."window" <> o."window", CASE WHEN r.id IS NULL THEN s.id END, s.id DESC LIMIT 1
    ) p
    WHERE o.is_hard AND o."limit" IS NOT NULL AND o.feature IN (%(scope)s::text, '')
"""
_PLAN_IN_FORCE: Final = """
    SELECT r.id, r.sub, '', r.feature, r.meter_id, r."window", r."limit", r.starts_at, r.ends_at
    FROM rules r
    WHERE r.is_hard AND r.feature = %(scope)s::text
      AND NOT EXISTS (SELECT FROM own o WHERE o.meter_id = r.meter_id AND o."window" = r."window")
"""
# A calendar window has a counter; a billing period is whole days, and whole hours before and after them.
_USED: Final = """
    SELECT sum(c.total) AS total, sum(c.events) AS events, max(c.highest) AS highest
    FROM (VALUES (q."window", q.opens_at, q.opens_at + interval '1 microsecond'),
                 ('day', q.first_day, q.end_day),
                 ('hour', q.first_hour, least(q.first_day, q.end_hour)),
                 ('hour', greatest(q.first_day, q.end_day), q.end_hour)) AS w (span, lower, upper)
    CROSS JOIN LATERAL (
        SELECT sum(total) AS total, sum(events) AS events, max(highest) AS highest FROM usage_counters
        WHERE account_id = a.id AND meter_id = q.meter_id AND span = w.span
          AND starts_at >= w.lower AND starts_at < w.upper
    ) c
"""
_HELD: Final = """
    SELECT sum(quantity) AS held FROM quota_reservations
    WHERE account_id = a.id AND meter_id = q.meter_id AND status = 'open' AND expires_at > %(at)s::timestamptz
"""
_LIMITS: Final = f"""
    SELECT json_agg(json_build_array(
        q.id, q.feature, m.event_name, q."window", q."limit"::text,
        CASE m.aggregation WHEN 'count' THEN u.events WHEN 'max' THEN u.highest ELSE u.total END::text, h.held::text,
        CASE q."window" WHEN 'total' THEN NULL WHEN 'billing_period' THEN q.ends_at
             ELSE (q.opens_at AT TIME ZONE 'UTC' + ('1 ' || q."window")::interval) AT TIME ZONE 'UTC' END,
        m.aggregation,
        coalesce(q.first_hour = date_trunc('hour', q.first_hour, 'UTC')
                 AND q.end_hour = date_trunc('hour', q.end_hour, 'UTC'), true)
    ) ORDER BY q.sub DESC NULLS FIRST, q.stated, CASE WHEN q.sub IS NULL THEN m.event_name END, q."window", q.id)
    FROM (
        SELECT f.*, b.*,
               CASE f."window" WHEN 'total' THEN '1970-01-01Z'::timestamptz WHEN 'billing_period' THEN NULL
                               ELSE date_trunc(f."window", %(at)s::timestamptz, 'UTC') END AS opens_at
        FROM ({_OWN_IN_FORCE} UNION ALL {_PLAN_IN_FORCE}) f
        LEFT JOIN LATERAL (
            SELECT f.starts_at AS first_hour, f.ends_at AS end_hour,
                   date_trunc('day', f.starts_at + interval '1 day' - interval '1 microsecond', 'UTC') AS first_day,
                   date_trunc('day', f.ends_at, 'UTC') AS end_day
        ) b ON f."window" = 'billing_period'
    ) q
    JOIN meters m ON m.id = q.meter_id
    CROSS JOIN LATERAL ({_USED}) u
    CROSS JOIN LATERAL ({_HELD}) h
"""  # noqa: S608 - constants of this module
_STATEMENT: Final = f"""
    WITH account AS (
        SELECT a.id, a.test_clock_id IS NOT NULL AS is_clocked FROM accounts a
        WHERE {{which}} AND (%(org)s::text IS NULL OR a.org_id = %(org)s::text)
    ),
    access AS ({_ACCESS}),
    rules AS ({_RULES}),
    own AS ({_OWN})
    SELECT a.is_clocked, best.plan, best.grants, CASE WHEN best.grants THEN ({_LIMITS}) END::text
    FROM account a
    LEFT JOIN LATERAL (SELECT plan, grants FROM access ORDER BY grants DESC, is_late, id DESC LIMIT 1) best ON true
"""  # noqa: S608 - constants of this module


_VALUES: Final = ("account", "org", "scope", "at", "grace")


def _write(which: str) -> str:
    """Return the statement with its values numbered."""
    text = _STATEMENT.format(which=which)
    for number, name in enumerate(_VALUES, 1):
        text = text.replace(f"%({name})s", f"${number}")
    return text


_BY_KEY: Final = _write("a.id = %(account)s::uuid")
_BY_HANDLE: Final = _write("lower(a.external_id) = lower(%(account)s::text)")


class _Limit(NamedTuple):
    id: str
    feature: str
    meter_event_name: str
    window: str
    limit: Decimal
    used: Decimal | None
    reserved: Decimal | None
    resets_at: datetime | None
    aggregation: str
    is_whole: bool


_limits: Final = msgspec.json.Decoder(list[_Limit])


def read_standing(*, org: str | None, reference: str, scope: str, at: datetime) -> Standing | None:
    """
    Return where the account stands for `scope`, or None where plain queries have to say.

    `reference` is a public id or an external id, in any case; with `org`, accounts of others are unknown.
    """
    key = Account.parse_id(reference)
    account = reference.strip() if key is None else key
    with prepared_cursor(numbered=True) as cursor:
        cursor.execute(
            _BY_HANDLE if key is None else _BY_KEY, [account, org, scope, at, settings.BILLING_PAST_DUE_GRACE_DAYS]
        )
        row = cursor.fetchone()
    if row is None:
        return Standing()
    is_clocked, plan, is_granted, text = row
    if is_clocked:
        return None
    if not is_granted:
        return Standing(plan)
    limits = _limits.decode(text) if text else []
    if not all(map(_is_answered, limits)):
        return None
    return Standing(plan, True, tuple(map(_read_limit, limits)))


def _is_answered(limit: _Limit) -> bool:
    """Tell whether counters say how much of the limit is used."""
    if limit.aggregation not in _ADDING_UP or is_gauge(
        event_name=limit.meter_event_name, aggregation=limit.aggregation
    ):
        return False
    return limit.is_whole


def _read_limit(limit: _Limit) -> HardLimit:
    return HardLimit(
        id=limit.id,
        feature=limit.feature,
        meter_event_name=limit.meter_event_name,
        window=limit.window,
        limit=limit.limit,
        used=limit.used or ZERO,
        reserved=limit.reserved or ZERO,
        resets_at=limit.resets_at,
    )
