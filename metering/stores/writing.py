"""
Writing events: keys claimed, events stored, roll-ups and counters raised, in one statement.

What a row is given by is decided per column: one value where all rows share it, an array of values where they differ.
Reading arrays is a third of the work, and most columns of a batch hold one value. See ADR 0030.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import transaction

from billing_site.kernel.statements import prepared_cursor
from metering.stores.rows import (
    EventRow,
    as_json,
    hash_claims,
    write_instants,
    write_objects,
    write_optional_uuids,
    write_plain,
    write_texts,
    write_uuids,
)

# An advisory lock: writers share it, whoever opens a new generation of keys holds it alone.
KEYS_LOCK: Final = 730_582_001
SHARDS: Final = 8
_NEWS: Final = "10 minutes"  # minutes of older events are not counted: no quota looks back so far


class _Column(NamedTuple):
    name: str
    type: str
    write_array: Callable[[Any], str]
    write_one: Callable[[Any], Any]


def _as_is(value: Any) -> Any:
    return value


_COLUMNS: Final = (
    _Column("account_id", "uuid", write_uuids, _as_is),
    _Column("meter_id", "uuid", write_uuids, _as_is),
    _Column("idempotency_key", "text", write_texts, _as_is),
    _Column("value", "numeric", write_plain, _as_is),
    _Column("timestamp", "timestamptz", write_instants, _as_is),
    _Column("recorded_at", "timestamptz", write_instants, _as_is),
    _Column("resource_id", "text", write_texts, _as_is),
    _Column("resource_type", "text", write_texts, _as_is),
    _Column("actor_id", "text", write_texts, _as_is),
    _Column("dimensions", "jsonb", write_objects, as_json),
    _Column("metadata", "jsonb", write_objects, as_json),
    _Column("cost_center_id", "uuid", write_optional_uuids, _as_is),
    _Column("charged", "bool", write_plain, _as_is),
    _Column("weight", "smallint", write_plain, _as_is),
    _Column("corrects", "uuid", write_optional_uuids, _as_is),
    _Column("rolled", "jsonb", write_objects, as_json),
)
_STORED: Final = ", ".join(["id", *(column.name for column in _COLUMNS[:-1])])

# Claims first: whoever sends the same key waits there for the other's commit. Rows are claimed in the order of their
# ids and totals raised in the order of their keys, so that parallel batches wait for each other and do not deadlock.
# The subquery with OFFSET stays a look-up by key in every closed generation, whatever the statistics say.
_STATEMENT: Final = """
WITH input AS MATERIALIZED (
    SELECT u.*, {constants} FROM unnest({arrays}) AS u ({names})
),
claimed AS (
    INSERT INTO usage_keys (id, generation, timestamp, recorded_on)
    SELECT i.id, g.number, i.timestamp, %s::date
    FROM input i
    CROSS JOIN (SELECT coalesce(max(number) FILTER (WHERE is_open), 1) AS number FROM usage_key_generations) g
    WHERE NOT EXISTS (
        SELECT FROM usage_keys k WHERE k.id = i.id AND k.generation <> g.number AND k.recorded_on > %s::date OFFSET 0
    )
    ON CONFLICT (id, generation) DO NOTHING
    RETURNING id
),
fresh AS MATERIALIZED (SELECT i.* FROM input i JOIN claimed USING (id)),
stored AS (INSERT INTO usage_events ({stored}) SELECT {stored} FROM fresh),
hours AS MATERIALIZED (
    SELECT account_id, meter_id, date_trunc('hour', timestamp, 'UTC') AS starts_at, rolled, cost_center_id, charged,
           sum(value) AS total, sum(weight) AS events, max(value) AS highest, max(timestamp) AS last_event_at,
           max(recorded_at) AS last_recorded_at
    FROM fresh GROUP BY account_id, meter_id, 3, rolled, cost_center_id, charged
),
rolled_up AS (
    INSERT INTO usage_rollups (account_id, meter_id, span, starts_at, dimension_set, cost_center_id, charged, shard,
                               dimensions, total, events, highest, last_event_at, last_recorded_at)
    SELECT account_id, meter_id, s.span, date_trunc(s.span, starts_at, 'UTC') AS bucket,
           md5(rolled::text)::uuid AS hash,
           coalesce(cost_center_id, '00000000-0000-0000-0000-000000000000'::uuid) AS center, charged,
           pg_backend_pid() %% {shards}, rolled, sum(total), sum(events), max(highest), max(last_event_at),
           max(last_recorded_at)
    FROM hours CROSS JOIN (VALUES ('hour'), ('day')) AS s (span)
    GROUP BY account_id, meter_id, s.span, bucket, rolled, center, charged
    ORDER BY account_id, meter_id, s.span, bucket, hash, center, charged
    ON CONFLICT (account_id, meter_id, span, starts_at, dimension_set, cost_center_id, charged, shard) DO UPDATE SET
        total = usage_rollups.total + excluded.total,
        events = usage_rollups.events + excluded.events,
        highest = greatest(usage_rollups.highest, excluded.highest),
        last_event_at = greatest(usage_rollups.last_event_at, excluded.last_event_at),
        last_recorded_at = greatest(usage_rollups.last_recorded_at, excluded.last_recorded_at)
),
spans AS (
    SELECT account_id, meter_id, s.span,
           CASE s.span WHEN 'total' THEN '1970-01-01Z'::timestamptz ELSE date_trunc(s.span, starts_at, 'UTC') END
               AS bucket, total, events, charged, highest, last_event_at, last_recorded_at
    FROM hours CROSS JOIN (VALUES ('hour'), ('day'), ('week'), ('month'), ('total')) AS s (span)
    UNION ALL
    SELECT account_id, meter_id, 'minute', date_trunc('minute', timestamp, 'UTC'), value, weight, charged, value,
           timestamp, recorded_at
    FROM fresh WHERE timestamp > recorded_at - interval '{news}'
),
counted AS (
    INSERT INTO usage_counters (account_id, meter_id, span, starts_at, shard, total, events, charged_total,
                                charged_events, highest, last_event_at, last_recorded_at)
    SELECT account_id, meter_id, span, bucket, pg_backend_pid() %% {shards}, sum(total), sum(events),
           coalesce(sum(total) FILTER (WHERE charged), 0), coalesce(sum(events) FILTER (WHERE charged), 0),
           max(highest), max(last_event_at), max(last_recorded_at)
    FROM spans
    GROUP BY account_id, meter_id, span, bucket
    ORDER BY account_id, meter_id, span, bucket
    ON CONFLICT (account_id, meter_id, span, starts_at, shard) DO UPDATE SET
        total = usage_counters.total + excluded.total,
        events = usage_counters.events + excluded.events,
        charged_total = usage_counters.charged_total + excluded.charged_total,
        charged_events = usage_counters.charged_events + excluded.charged_events,
        highest = greatest(usage_counters.highest, excluded.highest),
        last_event_at = greatest(usage_counters.last_event_at, excluded.last_event_at),
        last_recorded_at = greatest(usage_counters.last_recorded_at, excluded.last_recorded_at)
),
joined AS (
    INSERT INTO usage_members (account_id, meter_id, day, member)
    SELECT DISTINCT f.account_id, f.meter_id, (f.timestamp AT TIME ZONE 'UTC')::date AS day,
           coalesce(nullif(f.actor_id, ''), f.resource_id) AS member
    FROM fresh f JOIN meters m ON m.id = f.meter_id
    WHERE m.aggregation = 'unique' AND f.weight = 1 AND coalesce(nullif(f.actor_id, ''), f.resource_id) <> ''
    ORDER BY f.account_id, f.meter_id, day, member
    ON CONFLICT DO NOTHING
)
SELECT id FROM input EXCEPT ALL SELECT id FROM claimed
"""


@lru_cache(maxsize=256)
def _make_statement(varying: frozenset[str]) -> str:
    """Return the statement that takes arrays for `varying` columns and single values for the others."""
    arrays = [column for column in _COLUMNS if column.name in varying]
    constants = [column for column in _COLUMNS if column.name not in varying]
    return _STATEMENT.format(
        arrays=", ".join(["%s::uuid[]", *(f"%s::{column.type}[]" for column in arrays)]),
        names=", ".join(["id", *(column.name for column in arrays)]),
        constants=", ".join([f"%s::{column.type} AS {column.name}" for column in constants] or ["0 AS nothing"]),
        stored=_STORED,
        shards=SHARDS,
        news=_NEWS,
    )


def write_batch(rows: Sequence[EventRow], ids: Sequence[str], *, at: datetime) -> tuple[str, list[Any]]:
    """Return the statement that stores `rows`, which have these ids, all different and in order, and its values."""
    arrays: list[str] = [f"{{{','.join(ids)}}}"]
    constants: list[Any] = []
    varying = set()
    for column, values in zip(_COLUMNS, zip(*rows, strict=True), strict=True):
        first = values[0]
        if values.count(first) == len(values):
            constants.append(column.write_one(first))
        else:
            arrays.append(column.write_array(values))
            varying.add(column.name)
    since = at.date() - timedelta(days=settings.BILLING_USAGE_LOOKBACK_DAYS)
    return _make_statement(frozenset(varying)), [*constants, *arrays, at.date(), since]


def insert_events(
    rows: Sequence[EventRow], *, at: datetime | None = None, ids: Sequence[str] | None = None
) -> list[bool]:
    """
    Write the rows whose key is free and tell for each, in order, whether it was written. Raises their totals.

    Of rows with the same account, meter and key the first is written. A key is taken from when it was recorded until
    `BILLING_USAGE_LOOKBACK_DAYS` later, whatever time a repeat says it is from; `at` (default: the latest
    `recorded_at`) is when these are, `ids` those of `hash_claims` when they are known already. Two statements whatever
    the number of rows, in the caller's transaction; without one, in one of its own.
    """
    if not rows:
        return []
    first: dict[str, int] = {}
    ids = ids or hash_claims([row[:3] for row in rows])
    for position, id_ in enumerate(ids):
        first.setdefault(id_, position)
    ordered = sorted(first)
    statement, values = write_batch(
        [rows[first[id_]] for id_ in ordered], ordered, at=at or max(row.recorded_at for row in rows)
    )
    with transaction.atomic(savepoint=False), prepared_cursor() as cursor:
        # Taken before the statement looks at the generations of keys: a new one cannot open in between.
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s::bigint)", [KEYS_LOCK])
        cursor.execute(statement, values)
        taken = {id_.hex for (id_,) in cursor.fetchall()}
    return [first[id_] == position and id_ not in taken for position, id_ in enumerate(ids)]
