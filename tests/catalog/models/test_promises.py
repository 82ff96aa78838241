"""Coupons, tax rates and pricing rules keep what they promised, whoever asks: each test tries it with plain SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from catalog.services.coupons import deactivate_coupon
from catalog.services.pricing_rules import close_pricing_rule
from catalog.services.tax_rates import end_tax_rate
from tests.factories.catalog import AT, PUBLISHER, make_coupon, make_meter, make_rule, make_tax_rate

pytestmark = pytest.mark.django_db


@contextmanager
def refused(constraint: str, state: str = "23001") -> Iterator[None]:
    with pytest.raises(IntegrityError) as failure, transaction.atomic():
        yield
    cause = failure.value.__cause__
    assert cause is not None
    assert (cause.diag.sqlstate, cause.diag.constraint_name) == (state, constraint)  # type: ignore[attr-defined]


def run(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.rowcount)


class TestCoupons:
    @pytest.fixture(autouse=True)
    def coupon(self) -> None:
        make_coupon(max_redemptions=2)
        make_coupon("TENOFF", discount_type="fixed_amount", discount_value=Decimal(1000), currency="usd")

    @pytest.mark.parametrize(
        "assignment",
        [
            "percent_off = 99",
            "code = 'OTHER'",
            "max_redemptions = 9",
            "expires_at = now()",
            "duration_months = 5",
            "applicable_plan_ids = '[\"pro\"]'",
            "is_active = false, deactivated_at = now(), description = 'x'",
        ],
    )
    def test_promises_cannot_be_edited(self, assignment: str) -> None:
        with refused("coupons_promise_kept"):
            run(f"UPDATE coupons SET {assignment} WHERE code = 'LAUNCH2026'")

    def test_uses_are_counted_up_to_the_maximum(self) -> None:
        assert run("UPDATE coupons SET redemption_count = 2 WHERE code = 'LAUNCH2026'") == 1
        with refused("coupons_not_used_too_often", "23514"):
            run("UPDATE coupons SET redemption_count = 3 WHERE code = 'LAUNCH2026'")

    def test_a_deactivated_one_stays_so(self) -> None:
        coupon = make_coupon("BYE")
        deactivate_coupon(coupon_id=coupon.pk, at=AT, actor=PUBLISHER)
        with refused("coupons_promise_kept"):
            run("UPDATE coupons SET is_active = true, deactivated_at = NULL WHERE code = 'BYE'")
        with refused("coupons_promise_kept"):
            run("UPDATE coupons SET deactivated_at = now() WHERE code = 'BYE'")

    def test_only_unused_ones_are_deleted(self) -> None:
        run("UPDATE coupons SET redemption_count = 1 WHERE code = 'LAUNCH2026'")
        with refused("coupons_promise_kept"):
            run("DELETE FROM coupons")
        assert run("DELETE FROM coupons WHERE code = 'TENOFF'") == 1
        run("SET CONSTRAINTS ALL IMMEDIATE")  # or what waits for the commit would refuse the truncation first
        with refused("coupons_promise_kept"):
            run("TRUNCATE coupons CASCADE")

    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ("'lower', 'percentage', 20, NULL, '', NULL, NULL, NULL", "coupons_code_upper_case"),
            ("'NO SPACE', 'percentage', 20, NULL, '', NULL, NULL, NULL", "coupons_code_upper_case"),
            ("'ZERO', 'percentage', 0, NULL, '', NULL, NULL, NULL", "coupons_value_fits_type"),
            ("'MUCH', 'percentage', 100.01, NULL, '', NULL, NULL, NULL", "coupons_value_fits_type"),
            ("'BOTH', 'percentage', 20, 100, '', NULL, NULL, NULL", "coupons_value_fits_type"),
            ("'WITH', 'percentage', 20, NULL, 'usd', NULL, NULL, NULL", "coupons_value_fits_type"),
            ("'NONE', 'fixed_amount', NULL, 100, '', NULL, NULL, NULL", "coupons_value_fits_type"),
            ("'MINUS', 'credit', NULL, -100, 'usd', NULL, NULL, NULL", "coupons_value_fits_type"),
            ("'ODD', 'other', NULL, 100, 'usd', NULL, NULL, NULL", "coupons_value_fits_type"),
            ("'NEVER', 'percentage', 20, NULL, '', 0, NULL, NULL", "coupons_max_redemptions_positive"),
            ("'SHORT', 'percentage', 20, NULL, '', NULL, 0, NULL", "coupons_duration_positive"),
            ("'LONG', 'credit', NULL, 100, 'usd', NULL, 3, NULL", "coupons_duration_positive"),
            ("'PAST', 'percentage', 20, NULL, '', NULL, NULL, '2000-01-01'", "coupons_start_before_expiry"),
        ],
    )
    def test_hold_their_rules(self, values: str, constraint: str) -> None:
        with refused(constraint, "23514"):
            run(
                "INSERT INTO coupons (id, created_at, updated_at, org_id, description, applicable_plan_ids, is_active, "
                "redemption_count, starts_at, code, discount_type, percent_off, amount_off, currency, max_redemptions, "
                "duration_months, expires_at) "
                f"VALUES (gen_random_uuid(), now(), now(), 'default', '', '[]', true, 0, '2020-01-01', {values})"
            )

    def test_a_code_is_there_once_in_an_organization(self) -> None:
        make_coupon(org_id="acme-with-its-own")
        with pytest.raises(IntegrityError, match="coupons_code_once"), transaction.atomic():
            run(
                "INSERT INTO coupons SELECT (jsonb_populate_record(coupons, "
                "jsonb_build_object('id', gen_random_uuid()))).* FROM coupons WHERE code = 'TENOFF'"
            )


class TestTaxRates:
    @pytest.mark.parametrize("assignment", ["rate = 0.07", "country = 'FR'", "valid_to = '2030-01-01'", "name = 'x'"])
    def test_cannot_be_edited(self, assignment: str) -> None:
        make_tax_rate()
        with refused("tax_rates_promise_kept"):
            run(f"UPDATE tax_rates SET {assignment}")

    def test_end_once(self) -> None:
        rate = make_tax_rate()
        end_tax_rate(rate_id=rate.pk, at=AT, actor=PUBLISHER)
        with refused("tax_rates_promise_kept"):
            run("UPDATE tax_rates SET ended_on = NULL")

    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ("'VAT', 1.01, 'DE', NULL, NULL", "tax_rates_rate_is_fraction"),
            ("'VAT', -0.01, 'DE', NULL, NULL", "tax_rates_rate_is_fraction"),
            ("'VAT', 0.19, 'de', NULL, NULL", "tax_rates_country_code"),
            ("'VAT', 0.19, '', NULL, NULL", "tax_rates_country_code"),
            ("'', 0.19, 'DE', NULL, NULL", "tax_rates_name_given"),
            ("'VAT', 0.19, 'DE', '2026-01-02', '2026-01-01'", "tax_rates_valid_in_order"),
        ],
    )
    def test_hold_their_rules(self, values: str, constraint: str) -> None:
        with refused(constraint, "23514"):
            run(
                "INSERT INTO tax_rates (id, created_at, updated_at, org_id, code, state, inclusive, combinable, "
                "is_default, name, rate, country, valid_from, valid_to) "
                f"VALUES (gen_random_uuid(), now(), now(), 'default', '', '', false, true, false, {values})"
            )


class TestPricingRules:
    @pytest.fixture(autouse=True)
    def rule(self) -> None:
        make_meter()
        make_rule("gpu_seconds")

    @pytest.mark.parametrize(
        "assignment", ["unit_price = 9", "currency = 'eur'", "plan_key = 'pro'", "valid_from = now()"]
    )
    def test_cannot_be_edited(self, assignment: str) -> None:
        with refused("pricing_rules_promise_kept"):
            run(f"UPDATE pricing_rules SET {assignment}")

    @pytest.mark.parametrize("statement", ["DELETE FROM pricing_rules", "TRUNCATE pricing_rules CASCADE"])
    def test_are_never_removed(self, statement: str) -> None:
        run("SET CONSTRAINTS ALL IMMEDIATE")  # PostgreSQL truncates no table with checks outstanding
        with refused("pricing_rules_promise_kept"):
            run(statement)

    def test_close_once(self) -> None:
        rule = make_rule("gpu_seconds", currency="eur")
        close_pricing_rule(rule_id=rule.pk, at=AT, actor=PUBLISHER)
        for assignment in ("closed_at = NULL", "closed_at = now()"):
            with refused("pricing_rules_promise_kept"):
                run(f"UPDATE pricing_rules SET {assignment} WHERE currency = 'eur'")

    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ("'per_unit', 'usd', -1, '[]', NULL", "pricing_rules_price_not_negative"),
            ("'per_unit', 'eur', NULL, '[]', NULL", "pricing_rules_price_fits_model"),
            ("'per_unit', 'eur', 1, '[{}]', NULL", "pricing_rules_price_fits_model"),
            ("'tiered', 'eur', NULL, '[]', NULL", "pricing_rules_price_fits_model"),
            ("'volume', 'eur', 1, '[{}]', NULL", "pricing_rules_price_fits_model"),
            ("'per_unit', '', 1, '[]', NULL", "pricing_rules_currency_given"),
            ("'per_unit', 'eur', 1, '[]', '2000-01-01'", "pricing_rules_closed_after_start"),
        ],
    )
    def test_hold_their_rules(self, values: str, constraint: str) -> None:
        with refused(constraint, "23514"):
            run(
                "INSERT INTO pricing_rules (id, created_at, updated_at, org_id, plan_key, valid_from, meter_id, model, "
                "currency, unit_price, tiers, closed_at) "
                f"SELECT gen_random_uuid(), now(), now(), 'default', '', now(), id, {values} FROM meters"
            )

    def test_only_one_is_open(self) -> None:
        with pytest.raises(IntegrityError, match="pricing_rules_one_open"), transaction.atomic():
            run(
                "INSERT INTO pricing_rules SELECT (jsonb_populate_record(pricing_rules, "
                "jsonb_build_object('id', gen_random_uuid()))).* FROM pricing_rules"
            )
