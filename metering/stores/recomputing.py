"""
Totals as the events make them: the statements that the proof compares with what is stored, and that repair writes.

Each statement sees one snapshot, in which events and their totals were committed together; so a proof needs no lock.
"""

from __future__ import annotations

from typing import Final

from metering.stores.quantities import STANDS

NO_CENTER_SQL: Final = "'00000000-0000-0000-0000-000000000000'::uuid"
MEMBER: Final = "coalesce(nullif(e.actor_id, ''), e.resource_id)"
ARCHIVED: Final = "SELECT day FROM archived_usage_days WHERE restored_at IS NULL"
_IN_SCOPE: Final = """
    e.account_id = ANY(%(accounts)s::uuid[]) AND (%(meter)s::uuid IS NULL OR e.meter_id = %(meter)s::uuid)
    AND e.timestamp >= %(start)s AND e.timestamp < %(end)s
"""
_BUCKETS_IN_SCOPE: Final = """
    account_id = ANY(%(accounts)s::uuid[]) AND (%(meter)s::uuid IS NULL OR meter_id = %(meter)s::uuid)
    AND starts_at >= %(start)s AND starts_at < %(end)s
"""
_KEPT_EVENTS: Final = f"{_IN_SCOPE} AND (e.timestamp AT TIME ZONE 'UTC')::date NOT IN ({ARCHIVED})"
_KEPT_BUCKETS: Final = f"{_BUCKETS_IN_SCOPE} AND (starts_at AT TIME ZONE 'UTC')::date NOT IN ({ARCHIVED})"
_HIGHEST: Final = f"max(e.value) FILTER (WHERE m.aggregation = 'max' AND {STANDS})"
_PROJECTED: Final = "coalesce((SELECT jsonb_object_agg(n, {given} -> n) FROM unnest({names}) AS n), '{{}}')"
_DECLARED: Final = "ARRAY(SELECT jsonb_array_elements_text(m.dimensions))"

# What the roll-ups of a span are made of. `common` are the dimensions that all stored rows of a bucket are kept by: a
# meter may have declared others when they were made.
ROLLED: Final = f"""
    SELECT g.account_id, g.meter_id, g.starts_at, p.dimensions, g.center, g.charged, sum(g.total) AS total,
           sum(g.events) AS events, coalesce(max(g.highest), 0) AS highest, max(g.last_event_at) AS last_event_at,
           max(g.last_recorded_at) AS last_recorded_at
    FROM (
        SELECT e.account_id, e.meter_id, date_trunc(%(span)s, e.timestamp, 'UTC') AS starts_at, e.dimensions,
               coalesce(e.cost_center_id, {NO_CENTER_SQL}) AS center, e.charged, sum(e.value) AS total,
               sum(e.weight) AS events, {_HIGHEST} AS highest, max(e.timestamp) AS last_event_at,
               max(e.recorded_at) AS last_recorded_at
        FROM usage_events e JOIN (SELECT id, aggregation FROM meters) m ON m.id = e.meter_id
        WHERE {_KEPT_EVENTS}
        GROUP BY 1, 2, 3, 4, 5, 6, m.aggregation
    ) g
    JOIN meters m ON m.id = g.meter_id
    LEFT JOIN common c USING (account_id, meter_id, starts_at)
    CROSS JOIN LATERAL (
        SELECT {_PROJECTED.format(given="g.dimensions", names=f"coalesce(c.names, {_DECLARED})")} AS dimensions
    ) p
    GROUP BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608 - constants of this module

COMPARE_ROLLUPS: Final = f"""
    WITH rows AS MATERIALIZED (
        SELECT account_id, meter_id, starts_at, dimensions, cost_center_id AS center, charged, sum(total) AS total,
               sum(events) AS events, max(highest) AS highest, max(last_event_at) AS last_event_at,
               max(last_recorded_at) AS last_recorded_at,
               bool_and(dimension_set = md5(dimensions::text)::uuid) AS is_named
        FROM usage_rollups WHERE span = %(span)s AND {_KEPT_BUCKETS}
        GROUP BY 1, 2, 3, 4, 5, 6
    ),
    common AS MATERIALIZED (
        SELECT r.account_id, r.meter_id, r.starts_at,
               coalesce(array_agg(n.name) FILTER (WHERE n.times = r.times), '{{}}') AS names
        FROM (SELECT account_id, meter_id, starts_at, count(*) AS times FROM rows GROUP BY 1, 2, 3) r
        LEFT JOIN (
            SELECT account_id, meter_id, starts_at, k.name, count(*) AS times
            FROM rows CROSS JOIN LATERAL jsonb_object_keys(dimensions) AS k (name) GROUP BY 1, 2, 3, 4
        ) n ON n.account_id = r.account_id AND n.meter_id = r.meter_id AND n.starts_at = r.starts_at
        GROUP BY 1, 2, 3
    ),
    stored AS (
        SELECT r.account_id, r.meter_id, r.starts_at,
               {_PROJECTED.format(given="r.dimensions", names="c.names")} AS dimensions,
               r.center, r.charged, sum(r.total) AS total, sum(r.events) AS events, max(r.highest) AS highest,
               max(r.last_event_at) AS last_event_at, max(r.last_recorded_at) AS last_recorded_at,
               bool_and(r.is_named) AS is_named
        FROM rows r JOIN common c USING (account_id, meter_id, starts_at)
        GROUP BY 1, 2, 3, 4, 5, 6
    ),
    computed AS ({ROLLED})
    SELECT account_id, meter_id, starts_at, dimensions, center, charged,
           s.total, s.events, CASE WHEN m.aggregation = 'max' THEN s.highest END, s.last_event_at, s.last_recorded_at,
           c.total, c.events, CASE WHEN m.aggregation = 'max' THEN c.highest END, c.last_event_at, c.last_recorded_at
    FROM stored s FULL JOIN computed c USING (account_id, meter_id, starts_at, dimensions, center, charged)
    JOIN (SELECT id, aggregation FROM meters) m ON m.id = meter_id
    WHERE coalesce(s.total, 0) <> coalesce(c.total, 0) OR coalesce(s.events, 0) <> coalesce(c.events, 0)
       OR (m.aggregation = 'max' AND c.events > 0 AND s.highest IS DISTINCT FROM c.highest)
       OR s.last_event_at <> c.last_event_at OR s.last_recorded_at <> c.last_recorded_at OR NOT s.is_named
    ORDER BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608 - constants of this module

_COUNTED: Final = f"""
    sum(e.value) AS total, sum(e.weight) AS events, coalesce(sum(e.value) FILTER (WHERE e.charged), 0) AS charged_total,
    coalesce(sum(e.weight) FILTER (WHERE e.charged), 0) AS charged_events, coalesce({_HIGHEST}, 0) AS highest,
    max(e.timestamp) AS last_event_at, max(e.recorded_at) AS last_recorded_at
"""
_SUMMED: Final = """
    sum(total) AS total, sum(events) AS events, sum(charged_total) AS charged_total,
    sum(charged_events) AS charged_events, max(highest) AS highest, max(last_event_at) AS last_event_at,
    max(last_recorded_at) AS last_recorded_at
"""
COUNTED: Final = f"""
    SELECT e.account_id, e.meter_id, %(span)s::text AS span, date_trunc(%(span)s, e.timestamp, 'UTC') AS starts_at,
           {_COUNTED}
    FROM usage_events e JOIN meters m ON m.id = e.meter_id
    WHERE {_KEPT_EVENTS}
    GROUP BY 1, 2, 3, 4, m.aggregation
"""  # noqa: S608 - constants of this module
# A week, a month, or all time: the events there are, and the counted days of those that have left.
_PARTS_OF_LONG: Final = f"""
    SELECT account_id, meter_id, {_SUMMED}
    FROM (
        SELECT e.account_id, e.meter_id, {_COUNTED}
        FROM usage_events e JOIN meters m ON m.id = e.meter_id
        WHERE {_KEPT_EVENTS} GROUP BY 1, 2, m.aggregation
        UNION ALL
        SELECT account_id, meter_id, total, events, charged_total, charged_events, highest, last_event_at,
               last_recorded_at
        FROM usage_counters
        WHERE {_BUCKETS_IN_SCOPE} AND span = 'day' AND (starts_at AT TIME ZONE 'UTC')::date IN ({ARCHIVED})
    ) parts
    GROUP BY 1, 2
"""  # noqa: S608 - constants of this module
COUNTED_LONG: Final = f"""
    SELECT account_id, meter_id, %(span)s::text AS span, %(bucket)s::timestamptz AS starts_at, total, events,
           charged_total, charged_events, highest, last_event_at, last_recorded_at
    FROM ({_PARTS_OF_LONG}) long
"""  # noqa: S608 - constants of this module

_COMPARED: Final = """
    SELECT account_id, meter_id, span, starts_at,
           s.total, s.events, CASE WHEN m.aggregation = 'max' THEN s.highest END, s.last_event_at, s.last_recorded_at,
           s.charged_total, s.charged_events,
           c.total, c.events, CASE WHEN m.aggregation = 'max' THEN c.highest END, c.last_event_at, c.last_recorded_at,
           c.charged_total, c.charged_events
    FROM stored s FULL JOIN computed c USING (account_id, meter_id, span, starts_at)
    JOIN (SELECT id, aggregation FROM meters) m ON m.id = meter_id
    WHERE coalesce(s.total, 0) <> coalesce(c.total, 0) OR coalesce(s.events, 0) <> coalesce(c.events, 0)
       OR coalesce(s.charged_total, 0) <> coalesce(c.charged_total, 0)
       OR coalesce(s.charged_events, 0) <> coalesce(c.charged_events, 0)
       OR (m.aggregation = 'max' AND c.events > 0 AND s.highest IS DISTINCT FROM c.highest)
       OR s.last_event_at <> c.last_event_at OR s.last_recorded_at <> c.last_recorded_at
    ORDER BY 1, 2, 3, 4
"""
COMPARE_COUNTERS: Final = f"""
    WITH stored AS (
        SELECT account_id, meter_id, span, starts_at, {_SUMMED}
        FROM usage_counters WHERE span = %(span)s AND {_KEPT_BUCKETS} GROUP BY 1, 2, 3, 4
    ),
    computed AS ({COUNTED})
    {_COMPARED}
"""  # noqa: S608 - constants of this module
COMPARE_LONG: Final = f"""
    WITH stored AS (
        SELECT account_id, meter_id, span, starts_at, {_SUMMED}
        FROM usage_counters
        WHERE account_id = ANY(%(accounts)s::uuid[]) AND meter_id = %(meter)s AND span = %(span)s
          AND starts_at = %(bucket)s
        GROUP BY 1, 2, 3, 4
    ),
    computed AS ({COUNTED_LONG})
    {_COMPARED}
"""  # noqa: S608 - constants of this module

# Weeks, months and totals against the stored days they are made of: few rows, whatever the number of events.
SUSPECT_LONG: Final = f"""
    WITH stored AS (
        SELECT account_id, meter_id, span, starts_at, {_SUMMED}
        FROM usage_counters
        WHERE account_id = ANY(%(accounts)s::uuid[]) AND span IN ('week', 'month', 'total')
          AND (span = 'total' OR (starts_at < %(end)s AND starts_at + ('1 ' || span)::interval > %(start)s))
        GROUP BY 1, 2, 3, 4
    ),
    computed AS (
        SELECT account_id, meter_id, s.span,
               CASE s.span WHEN 'total' THEN '1970-01-01Z'::timestamptz ELSE date_trunc(s.span, starts_at, 'UTC') END
                   AS starts_at, {_SUMMED}
        FROM usage_counters d CROSS JOIN (VALUES ('week'), ('month'), ('total')) AS s (span)
        WHERE d.account_id = ANY(%(accounts)s::uuid[]) AND d.span = 'day'
          AND (s.span = 'total' OR (date_trunc(s.span, starts_at, 'UTC') < %(end)s
               AND date_trunc(s.span, starts_at, 'UTC') + ('1 ' || s.span)::interval > %(start)s))
        GROUP BY 1, 2, 3, 4
    )
    {_COMPARED}
"""  # noqa: S608 - constants of this module

MEMBERS: Final = f"""
    SELECT DISTINCT e.account_id, e.meter_id, (e.timestamp AT TIME ZONE 'UTC')::date AS day, {MEMBER} AS member
    FROM usage_events e JOIN meters m ON m.id = e.meter_id
    WHERE m.aggregation = 'unique' AND {_KEPT_EVENTS} AND {STANDS} AND {MEMBER} <> ''
"""  # noqa: S608 - constants of this module
_STORED_MEMBERS: Final = f"""
    account_id = ANY(%(accounts)s::uuid[]) AND (%(meter)s::uuid IS NULL OR meter_id = %(meter)s::uuid)
    AND day >= (%(start)s::timestamptz AT TIME ZONE 'UTC')::date
    AND day < (%(end)s::timestamptz AT TIME ZONE 'UTC')::date AND day NOT IN ({ARCHIVED})
"""
COMPARE_MEMBERS: Final = f"""
    SELECT account_id, meter_id, day, member, s.is_there IS NOT NULL
    FROM (SELECT account_id, meter_id, day, member, true AS is_there FROM usage_members WHERE {_STORED_MEMBERS}) s
    FULL JOIN (SELECT *, true AS is_there FROM ({MEMBERS}) m) c USING (account_id, meter_id, day, member)
    WHERE s.is_there IS NULL OR c.is_there IS NULL
    ORDER BY 1, 2, 3, 4
"""  # noqa: S608 - constants of this module

# ---- repair: the same, written down --------------------------------------------------------------------------------
CLEAR_ROLLUPS: Final = f"DELETE FROM usage_rollups WHERE span = %(span)s AND {_KEPT_BUCKETS}"  # noqa: S608
WRITE_ROLLUPS: Final = f"""
    WITH common AS (
        SELECT NULL::uuid AS account_id, NULL::uuid AS meter_id, NULL::timestamptz AS starts_at, NULL::text[] AS names
    )
    INSERT INTO usage_rollups (account_id, meter_id, span, starts_at, dimension_set, cost_center_id, charged, shard,
                               dimensions, total, events, highest, last_event_at, last_recorded_at)
    SELECT account_id, meter_id, %(span)s, starts_at, md5(dimensions::text)::uuid, center, charged, 0, dimensions,
           total, events, highest, last_event_at, last_recorded_at
    FROM ({ROLLED}) computed
"""  # noqa: S608 - constants of this module
CLEAR_COUNTERS: Final = f"DELETE FROM usage_counters WHERE span = %(span)s AND {_KEPT_BUCKETS}"  # noqa: S608
CLEAR_LONG: Final = """
    DELETE FROM usage_counters
    WHERE account_id = ANY(%(accounts)s::uuid[]) AND meter_id = %(meter)s AND span = %(span)s AND starts_at = %(bucket)s
"""
_WRITE_COUNTERS: Final = """
    INSERT INTO usage_counters (account_id, meter_id, span, starts_at, shard, total, events, charged_total,
                                charged_events, highest, last_event_at, last_recorded_at)
    SELECT account_id, meter_id, span, starts_at, 0, total, events, charged_total, charged_events, highest,
           last_event_at, last_recorded_at
    FROM ({computed}) computed
"""
WRITE_COUNTERS: Final = _WRITE_COUNTERS.format(computed=COUNTED)
WRITE_LONG: Final = _WRITE_COUNTERS.format(computed=COUNTED_LONG)
CLEAR_MEMBERS: Final = f"DELETE FROM usage_members WHERE {_STORED_MEMBERS}"  # noqa: S608
WRITE_MEMBERS: Final = f"INSERT INTO usage_members (account_id, meter_id, day, member) {MEMBERS}"
