"""
What is wrong with events and keys themselves, and with days whose events have left: nothing that could be recomputed.
"""

from __future__ import annotations

from typing import Final

from metering.stores.recomputing import ARCHIVED

_MADE_ID: Final = """
    encode(substring(sha256(uuid_send(e.account_id) || uuid_send(e.meter_id)) for 4) || substring(
        sha256(uuid_send(e.account_id) || uuid_send(e.meter_id) || convert_to(e.idempotency_key, 'UTF8')) for 12
    ), 'hex')::uuid
"""
_EVENTS: Final = """
    usage_events e
    WHERE e.account_id = ANY(%(accounts)s::uuid[]) AND e.timestamp >= %(start)s AND e.timestamp < %(end)s
"""

WRONG_IDS: Final = f"""
    SELECT e.account_id, e.meter_id, e.timestamp, e.id, {_MADE_ID} FROM {_EVENTS} AND e.id <> {_MADE_ID}
    ORDER BY 1, 2, 3
"""  # noqa: S608 - constants of this module

# An account on a test clock has its own dates; its keys are looked at the other way round only.
WITHOUT_KEY: Final = f"""
    SELECT e.account_id, e.meter_id, e.timestamp, e.id, e.idempotency_key
    FROM {_EVENTS} AND e.recorded_at >= %(known_since)s
      AND e.account_id NOT IN (SELECT id FROM accounts WHERE test_clock_id IS NOT NULL)
      AND NOT EXISTS (SELECT FROM usage_keys k WHERE k.id = e.id AND k.timestamp = e.timestamp)
    ORDER BY 1, 2, 3
"""  # noqa: S608 - constants of this module

# Events are told apart by where they lie: of one stored twice, each is there.
TWICE: Final = f"""
    SELECT account_id, meter_id, timestamp, id, idempotency_key
    FROM (
        SELECT e.account_id, e.meter_id, e.timestamp, e.id, e.idempotency_key, e.recorded_at,
               lag(e.recorded_at) OVER (PARTITION BY e.id ORDER BY e.recorded_at) AS before
        FROM {_EVENTS}
    ) e
    WHERE (recorded_at AT TIME ZONE 'UTC')::date - (before AT TIME ZONE 'UTC')::date < %(days)s
    ORDER BY 1, 2, 3
"""  # noqa: S608 - constants of this module

CORRECTIONS: Final = f"""
    SELECT account_id, meter_id, timestamp, id,
           CASE WHEN original IS NULL THEN 'there is no such event to correct: ' || corrects
                ELSE 'the event is corrected ' || times || ' times: ' || corrects END
    FROM (
        SELECT e.account_id, e.meter_id, e.timestamp, e.id, e.corrects,
               count(*) OVER (PARTITION BY e.account_id, e.meter_id, e.corrects) AS times,
               (SELECT o.id FROM usage_events o
                WHERE o.account_id = e.account_id AND o.meter_id = e.meter_id AND o.timestamp = e.timestamp
                  AND o.id = e.corrects AND o.weight = 1 AND o.value = -e.value AND o.charged = e.charged
                LIMIT 1) AS original
        FROM {_EVENTS} AND e.corrects IS NOT NULL
    ) c
    WHERE original IS NULL OR times > 1
    ORDER BY 1, 2, 3
"""  # noqa: S608 - constants of this module

ORPHANED_KEYS: Final = f"""
    SELECT k.id, k.timestamp, k.generation
    FROM usage_keys k
    WHERE k.timestamp >= %(start)s AND k.timestamp < %(end)s
      AND NOT EXISTS (SELECT FROM usage_events e WHERE e.id = k.id AND e.timestamp = k.timestamp
                      AND e.timestamp >= %(start)s AND e.timestamp < %(end)s)
      AND (k.timestamp AT TIME ZONE 'UTC')::date NOT IN ({ARCHIVED})
    ORDER BY 2, 1
"""  # noqa: S608 - constants of this module

KEYS_TWICE: Final = """
    SELECT id, timestamp, generation
    FROM (
        SELECT k.id, k.timestamp, k.generation, k.recorded_on,
               lag(k.recorded_on) OVER (PARTITION BY k.id ORDER BY k.recorded_on) AS before
        FROM usage_keys k
    ) k
    WHERE recorded_on - before < %(days)s AND timestamp >= %(start)s AND timestamp < %(end)s
    ORDER BY 2, 1
"""

_PER_METER: Final = """
    SELECT '{name}' AS kept_as, (starts_at AT TIME ZONE 'UTC')::date AS day, meter_id, sum(total) AS total,
           sum(events) AS events
    FROM {table}
    WHERE span = '{span}' AND starts_at >= %(start)s AND starts_at < %(end)s
      AND (starts_at AT TIME ZONE 'UTC')::date IN ({archived})
    GROUP BY 2, 3
"""
_KEPT: Final = " UNION ALL ".join(
    _PER_METER.format(name=f"{span} {name}", table=table, span=span, archived=ARCHIVED)
    for span in ("hour", "day")
    for name, table in (("roll-ups", "usage_rollups"), ("counters", "usage_counters"))
)
# What a day was when it left, and what came late since then.
ARCHIVED_DAYS: Final = f"""
    WITH kept AS ({_KEPT}),
    known AS (
        SELECT n.name AS kept_as, p.day, p.meter_id, sum(p.total) AS total, sum(p.events) AS events
        FROM (
            SELECT day, meter_id, total, events FROM archived_usage_totals
            WHERE day IN ({ARCHIVED}) AND day >= (%(start)s::timestamptz AT TIME ZONE 'UTC')::date
              AND day < (%(end)s::timestamptz AT TIME ZONE 'UTC')::date
            UNION ALL
            SELECT (e.timestamp AT TIME ZONE 'UTC')::date, e.meter_id, e.value, e.weight FROM usage_events e
            WHERE e.timestamp >= %(start)s AND e.timestamp < %(end)s
              AND (e.timestamp AT TIME ZONE 'UTC')::date IN ({ARCHIVED})
        ) p
        CROSS JOIN (VALUES ('hour roll-ups'), ('hour counters'), ('day roll-ups'), ('day counters')) AS n (name)
        GROUP BY 1, 2, 3
    )
    SELECT kept_as, day, meter_id, coalesce(k.total, 0), coalesce(k.events, 0), coalesce(a.total, 0),
           coalesce(a.events, 0)
    FROM kept k FULL JOIN known a USING (kept_as, day, meter_id)
    WHERE coalesce(k.total, 0) <> coalesce(a.total, 0) OR coalesce(k.events, 0) <> coalesce(a.events, 0)
    ORDER BY day, meter_id, kept_as
"""  # noqa: S608 - constants of this module
