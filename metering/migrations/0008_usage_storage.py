"""
Events by day, keys of their own, totals beside them.

The table of events is made anew as a partitioned one and takes over what was stored. See ADR 0030.
"""

from django.db import migrations, models

# An event's id is made of account, meter and key: see metering.stores.make_event_id.
EVENT_ID = """
    encode(substring(sha256(uuid_send(account_id) || uuid_send(meter_id)) for 4) || substring(
        sha256(uuid_send(account_id) || uuid_send(meter_id) || convert_to(idempotency_key, 'UTF8')) for 12
    ), 'hex')::uuid
"""

MAKE_EVENTS = """
    ALTER TABLE usage_events RENAME TO usage_events_before;
    CREATE TABLE usage_events (
        id uuid NOT NULL,
        account_id uuid NOT NULL,
        meter_id uuid NOT NULL,
        idempotency_key varchar(255) NOT NULL,
        value numeric(38, 12) NOT NULL,
        timestamp timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        resource_id varchar(255) NOT NULL,
        resource_type varchar(100) NOT NULL,
        actor_id varchar(255) NOT NULL,
        dimensions jsonb NOT NULL,
        metadata jsonb NOT NULL,
        cost_center_id uuid,
        charged boolean NOT NULL DEFAULT false,
        weight smallint NOT NULL DEFAULT 1,
        corrects uuid,
        CONSTRAINT usage_events_value_not_negative CHECK (
            (value >= 0 AND weight = 1 AND corrects IS NULL) OR (value <= 0 AND weight = -1 AND corrects IS NOT NULL)
        ),
        CONSTRAINT usage_events_key_given CHECK (idempotency_key <> '')
    ) PARTITION BY RANGE (timestamp);
    CREATE TABLE usage_events_default PARTITION OF usage_events DEFAULT;
    CREATE TABLE usage_keys (
        id uuid NOT NULL,
        generation integer NOT NULL,
        timestamp timestamptz NOT NULL,
        recorded_on date NOT NULL,
        PRIMARY KEY (id, generation)
    ) PARTITION BY LIST (generation);
    CREATE TABLE usage_keys_1 PARTITION OF usage_keys FOR VALUES IN (1);
"""

TAKE_OVER = f"""
    UPDATE charge_clients c SET event_id = e.new_id
    FROM (SELECT id, {EVENT_ID} AS new_id FROM usage_events_before WHERE charged) e WHERE e.id = c.event_id;
    INSERT INTO usage_events (id, account_id, meter_id, idempotency_key, value, timestamp, recorded_at, resource_id,
                              resource_type, actor_id, dimensions, metadata, cost_center_id, charged)
    SELECT {EVENT_ID}, account_id, meter_id, idempotency_key, value, timestamp, recorded_at, resource_id,
           resource_type, actor_id, dimensions, metadata, cost_center_id, charged
    FROM usage_events_before;
    INSERT INTO usage_keys (id, generation, timestamp, recorded_on)
    SELECT id, 1, timestamp, (recorded_at AT TIME ZONE 'UTC')::date FROM usage_events;
    INSERT INTO usage_rollups (account_id, meter_id, span, starts_at, dimension_set, cost_center_id, charged, shard,
                               dimensions, total, events, highest, last_event_at, last_recorded_at)
    SELECT account_id, meter_id, span, date_trunc(span, timestamp, 'UTC'), md5(dimensions::text)::uuid, center, charged,
           0, dimensions, sum(value), count(*), max(value), max(timestamp), max(recorded_at)
    FROM (
        SELECT e.account_id, e.meter_id, s.span, e.timestamp, e.value, e.recorded_at, e.charged,
               coalesce(e.cost_center_id, '00000000-0000-0000-0000-000000000000'::uuid) AS center,
               coalesce((SELECT jsonb_object_agg(d.name, e.dimensions -> d.name)
                         FROM jsonb_array_elements_text(m.dimensions) AS d (name)), '{{}}') AS dimensions
        FROM usage_events e JOIN meters m ON m.id = e.meter_id CROSS JOIN (VALUES ('hour'), ('day')) AS s (span)
    ) e
    GROUP BY account_id, meter_id, span, 4, dimensions, center, charged;
    INSERT INTO usage_counters (account_id, meter_id, span, starts_at, shard, total, events, charged_total,
                                charged_events, highest, last_event_at, last_recorded_at)
    SELECT account_id, meter_id, span,
           CASE span WHEN 'total' THEN '1970-01-01Z'::timestamptz ELSE date_trunc(span, timestamp, 'UTC') END, 0,
           sum(value), count(*), coalesce(sum(value) FILTER (WHERE charged), 0), count(*) FILTER (WHERE charged),
           max(value), max(timestamp), max(recorded_at)
    FROM usage_events CROSS JOIN (VALUES ('hour'), ('day'), ('week'), ('month'), ('total')) AS s (span)
    GROUP BY account_id, meter_id, span, 4;
    INSERT INTO usage_members (account_id, meter_id, day, member)
    SELECT DISTINCT e.account_id, e.meter_id, (e.timestamp AT TIME ZONE 'UTC')::date,
           coalesce(nullif(e.actor_id, ''), e.resource_id)
    FROM usage_events e JOIN meters m ON m.id = e.meter_id
    WHERE m.aggregation = 'unique' AND coalesce(nullif(e.actor_id, ''), e.resource_id) <> '';
    DROP TABLE usage_events_before;
"""  # noqa: S608 - a constant of this module

# A partition does not inherit triggers on TRUNCATE: each gets its own.
GUARD = """
    CREATE INDEX usage_events_period ON usage_events (account_id, meter_id, timestamp, id);
    CREATE INDEX usage_events_newest ON usage_events (account_id, timestamp DESC, id DESC);
    CREATE INDEX usage_events_of_center ON usage_events (cost_center_id, timestamp DESC, id DESC)
        WHERE cost_center_id IS NOT NULL;
    CREATE INDEX usage_events_corrections ON usage_events (account_id, meter_id, timestamp, corrects)
        WHERE corrects IS NOT NULL;
    CREATE TRIGGER pgtrigger_append_only_rows_d3c5a BEFORE UPDATE OR DELETE ON usage_events
        FOR EACH ROW EXECUTE FUNCTION pgtrigger_append_only_rows_d3c5a();
    CREATE TRIGGER pgtrigger_append_only_table_30d07 BEFORE TRUNCATE ON usage_events
        FOR EACH STATEMENT EXECUTE FUNCTION pgtrigger_append_only_table_30d07();
    CREATE TRIGGER pgtrigger_append_only_table_30d07 BEFORE TRUNCATE ON usage_events_default
        FOR EACH STATEMENT EXECUTE FUNCTION pgtrigger_append_only_table_30d07();
    COMMENT ON TRIGGER pgtrigger_append_only_rows_d3c5a ON usage_events IS '61c4b793053d1d02160dfbf4e9fcf7155b70ce98';
    COMMENT ON TRIGGER pgtrigger_append_only_table_30d07 ON usage_events IS '8d52674db8a666cd38aa13966625680057732cfb';
    ALTER TABLE usage_rollups SET (fillfactor = 70);
    ALTER TABLE usage_counters SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0017_payment_gated'),
        ('catalog', '0005_plan_proration'),
        ('metering', '0007_usage_feed_and_exports'),
    ]

    operations = [
        migrations.CreateModel(
            name='UsageCounter',
            fields=[
                ('pk', models.CompositePrimaryKey('account_id', 'meter_id', 'span', 'starts_at', 'shard', blank=True, editable=False, primary_key=True, serialize=False)),
                ('account_id', models.UUIDField()),
                ('meter_id', models.UUIDField()),
                ('span', models.CharField(max_length=6)),
                ('starts_at', models.DateTimeField()),
                ('shard', models.SmallIntegerField()),
                ('total', models.DecimalField(decimal_places=12, max_digits=60)),
                ('events', models.BigIntegerField()),
                ('charged_total', models.DecimalField(decimal_places=12, max_digits=60)),
                ('charged_events', models.BigIntegerField()),
                ('highest', models.DecimalField(decimal_places=12, max_digits=38)),
                ('last_event_at', models.DateTimeField()),
                ('last_recorded_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'usage_counters',
            },
        ),
        migrations.CreateModel(
            name='UsageKeyGeneration',
            fields=[
                ('number', models.IntegerField(primary_key=True, serialize=False)),
                ('is_open', models.BooleanField()),
                ('keys', models.BigIntegerField(default=0)),
                ('opened_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'usage_key_generations',
                'ordering': ['number'],
            },
        ),
        migrations.CreateModel(
            name='UsageMember',
            fields=[
                ('pk', models.CompositePrimaryKey('account_id', 'meter_id', 'day', 'member', blank=True, editable=False, primary_key=True, serialize=False)),
                ('account_id', models.UUIDField()),
                ('meter_id', models.UUIDField()),
                ('day', models.DateField()),
                ('member', models.CharField(max_length=255)),
            ],
            options={
                'db_table': 'usage_members',
            },
        ),
        migrations.CreateModel(
            name='UsageRollup',
            fields=[
                ('pk', models.CompositePrimaryKey('account_id', 'meter_id', 'span', 'starts_at', 'dimension_set', 'cost_center_id', 'charged', 'shard', blank=True, editable=False, primary_key=True, serialize=False)),
                ('account_id', models.UUIDField()),
                ('meter_id', models.UUIDField()),
                ('span', models.CharField(max_length=4)),
                ('starts_at', models.DateTimeField()),
                ('dimension_set', models.UUIDField()),
                ('cost_center_id', models.UUIDField()),
                ('charged', models.BooleanField()),
                ('shard', models.SmallIntegerField()),
                ('dimensions', models.JSONField()),
                ('total', models.DecimalField(decimal_places=12, max_digits=60)),
                ('events', models.BigIntegerField()),
                ('highest', models.DecimalField(decimal_places=12, max_digits=38)),
                ('last_event_at', models.DateTimeField()),
                ('last_recorded_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'usage_rollups',
            },
        ),
        migrations.AddIndex(
            model_name='usagecounter',
            index=models.Index(fields=['span', 'starts_at', 'meter_id'], name='usage_counters_when'),
        ),
        migrations.AddConstraint(
            model_name='usagekeygeneration',
            constraint=models.UniqueConstraint(condition=models.Q(('is_open', True)), fields=('is_open',), name='usage_key_generations_one_open'),
        ),
        migrations.AddConstraint(
            model_name='usagekeygeneration',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('is_open', True)), models.Q(('closed_at__isnull', False), ('is_open', False)), _connector='OR'), name='usage_key_generations_closed_at'),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='UsageKey',
                    fields=[
                        ('pk', models.CompositePrimaryKey('id', 'generation', blank=True, editable=False, primary_key=True, serialize=False)),
                        ('id', models.UUIDField()),
                        ('generation', models.IntegerField()),
                        ('timestamp', models.DateTimeField()),
                        ('recorded_on', models.DateField()),
                    ],
                    options={
                        'db_table': 'usage_keys',
                    },
                ),
                migrations.RemoveConstraint(
                    model_name='usageevent',
                    name='usage_events_key_once',
                ),
                migrations.RemoveConstraint(
                    model_name='usageevent',
                    name='usage_events_value_not_negative',
                ),
                migrations.RemoveIndex(
                    model_name='usageevent',
                    name='usage_events_days',
                ),
                migrations.RemoveIndex(
                    model_name='usageevent',
                    name='usage_events_period',
                ),
                migrations.AddField(
                    model_name='usageevent',
                    name='corrects',
                    field=models.UUIDField(blank=True, null=True),
                ),
                migrations.AddField(
                    model_name='usageevent',
                    name='weight',
                    field=models.SmallIntegerField(db_default=1, default=1),
                ),
                migrations.AddIndex(
                    model_name='usageevent',
                    index=models.Index(fields=['account', 'meter', 'timestamp', 'id'], name='usage_events_period'),
                ),
                migrations.AddIndex(
                    model_name='usageevent',
                    index=models.Index(condition=models.Q(('corrects__isnull', False)), fields=['account', 'meter', 'timestamp', 'corrects'], name='usage_events_corrections'),
                ),
                migrations.AddConstraint(
                    model_name='usageevent',
                    constraint=models.CheckConstraint(condition=models.Q(models.Q(('corrects__isnull', True), ('value__gte', 0), ('weight', 1)), models.Q(('corrects__isnull', False), ('value__lte', 0), ('weight', -1)), _connector='OR'), name='usage_events_value_not_negative'),
                ),
            ],
            database_operations=[migrations.RunSQL(MAKE_EVENTS), migrations.RunSQL(TAKE_OVER), migrations.RunSQL(GUARD)],
        ),
    ]
