"""What was published stays as it is, whoever asks: each test tries it with plain SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from tests.factories.catalog import find_entry, get_version, make_document, publish_catalog

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def catalog() -> None:
    publish_catalog()


@contextmanager
def refused(constraint: str) -> Iterator[None]:
    with pytest.raises(IntegrityError) as failure, transaction.atomic():
        yield
    cause = failure.value.__cause__
    assert cause is not None
    assert (cause.diag.sqlstate, cause.diag.constraint_name) == ("23001", constraint)  # type: ignore[attr-defined]


def settle() -> None:
    """Check deferred keys now: PostgreSQL truncates no table with checks outstanding."""
    run("SET CONSTRAINTS ALL IMMEDIATE")


def run(sql: str, *parameters: UUID) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return int(cursor.rowcount)


APPEND_ONLY = {
    "plan_versions": "name = 'Another'",
    "prices": "unit_amount = 0",
    "quota_rules": '"limit" = 1',
    "plan_version_features": "position = 9",
}


class TestPublishedContent:
    @pytest.mark.parametrize(("table", "assignment"), APPEND_ONLY.items())
    def test_cannot_be_updated(self, table: str, assignment: str) -> None:
        with refused(f"{table}_append_only"):
            run(f"UPDATE {table} SET {assignment}")

    @pytest.mark.parametrize("table", APPEND_ONLY)
    def test_cannot_be_deleted(self, table: str) -> None:
        with refused(f"{table}_append_only"):
            run(f"DELETE FROM {table}")

    @pytest.mark.parametrize("table", APPEND_ONLY)
    def test_cannot_be_truncated(self, table: str) -> None:
        settle()
        with refused(f"{table}_append_only"):
            run(f"TRUNCATE {table} CASCADE")

    @pytest.mark.parametrize("table", APPEND_ONLY)
    def test_no_session_can_ask_to_skip(self, table: str) -> None:
        with refused(f"{table}_append_only"):
            run("SELECT set_config('pgtrigger.ignore', '{all}', true)")
            run(f"DELETE FROM {table}")

    def test_takes_no_further_price(self) -> None:
        with refused("prices_sealed"):
            run(
                "INSERT INTO prices (id, plan_version_id, currency, interval, interval_count, billing_timing, model, "
                "unit_amount, lookup_key) VALUES (gen_random_uuid(), %s, 'gbp', 'month', 1, 'advance', 'flat', 1, 'x')",
                get_version("pro").pk,
            )

    def test_takes_no_further_feature(self) -> None:
        with refused("plan_version_features_sealed"):
            run(
                "INSERT INTO plan_version_features (plan_version_id, feature_id, position) "
                "SELECT %s, id, 9 FROM features WHERE key = 'llm:proxy'",
                get_version("pro").pk,
            )

    def test_takes_no_further_quota_even_when_superseded(self) -> None:
        old = get_version("free")
        document = make_document()
        find_entry(document, "plans", "free")["name"] = "Free for all"
        publish_catalog(document)
        assert get_version("free").version == 2
        with refused("quota_rules_sealed"):
            run(
                'INSERT INTO quota_rules (id, plan_version_id, feature_id, meter_id, "window", "limit", enforcement, '
                "upgrade_plan_key) "
                "SELECT gen_random_uuid(), plan_version_id, feature_id, meter_id, 'day', 1, 'hard', '' "
                "FROM quota_rules WHERE plan_version_id = %s",
                old.pk,
            )


class TestRevisions:
    def test_may_only_become_inactive(self) -> None:
        assert run("UPDATE catalog_revisions SET is_active = false") == 1

    @pytest.mark.parametrize(
        "assignment",
        ["document = '{}'", "revision = 9", "published_by = 'somebody'", "is_active = false, reason = 'x'"],
    )
    def test_keep_everything_else(self, assignment: str) -> None:
        with refused("catalog_revisions_immutable"):
            run(f"UPDATE catalog_revisions SET {assignment}")

    @pytest.mark.parametrize("statement", ["DELETE FROM catalog_revisions", "TRUNCATE catalog_revisions CASCADE"])
    def test_are_never_removed(self, statement: str) -> None:
        settle()
        with refused("catalog_revisions_immutable"):
            run(statement)

    def test_only_one_is_active(self) -> None:
        document = make_document()
        find_entry(document, "plans", "free")["name"] = "Free for all"
        publish_catalog(document)
        with pytest.raises(IntegrityError, match="catalog_revisions_one_active"), transaction.atomic():
            run("UPDATE catalog_revisions SET is_active = true")


class TestPrices:
    """The table refuses what no document can say."""

    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ("'usd', 'month', 1, 'advance', 'flat', -1, NULL", "prices_unit_amount_not_negative"),
            ("'usd', 'month', 0, 'advance', 'flat', 1, NULL", "prices_interval_count_positive"),
            ("'usd', 'month', 1, 'advance', 'percentage', 1, NULL", "prices_usage_in_arrears"),
            ("'usd', 'month', 1, 'advance', 'per_unit', 1, meters.id", "prices_usage_in_arrears"),
            ("'usd', 'month', 1, 'advance', 'package', NULL, NULL", "prices_amount_given"),
        ],
    )
    def test_hold_their_rules(self, values: str, constraint: str) -> None:
        version = "INSERT INTO plan_versions (id, plan_id, version, revision_id, name, description, category, \
            feature_texts, proration, proration_basis, price_per_seat, limits, contact_sales, popular, content_hash, \
            created_at) \
            SELECT gen_random_uuid(), plan_id, version + 1, revision_id, name, description, category, feature_texts, \
            proration, proration_basis, price_per_seat, limits, contact_sales, popular, content_hash, created_at \
            FROM plan_versions \
            WHERE name = 'Pro' RETURNING id"
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(version)
            row = cursor.fetchone()
            assert row is not None
            run(
                "INSERT INTO prices (id, plan_version_id, lookup_key, options, currency, interval, interval_count, "
                "billing_timing, model, unit_amount, meter_id) "
                f"SELECT gen_random_uuid(), %s, 'x', '{{}}', {values} FROM meters WHERE event_name = 'api'",
                row[0],
            )
