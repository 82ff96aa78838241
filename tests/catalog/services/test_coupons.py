"""Coupons: defining, deactivating, removing."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.models import Coupon
from catalog.queries.plans import PlanNotFound
from catalog.queries.references import ObjectInUse
from catalog.services.coupons import CouponCodeTaken, deactivate_coupon, delete_coupon
from tests.factories.catalog import AT, PUBLISHER, make_coupon, make_document, publish_catalog

LATER = AT + timedelta(days=30)


@pytest.mark.django_db
class TestCreateCoupon:
    def test_keeps_what_it_promises(self) -> None:
        publish_catalog()
        coupon = make_coupon(
            " launch2026 ",
            max_redemptions=1000,
            duration_months=3,
            applicable_plan_ids=["pro", "free", "pro"],
            starts_at=AT,
            expires_at=LATER,
            description=" For the launch ",
            reason="spring campaign",
        )
        coupon.refresh_from_db()
        assert (coupon.code, coupon.description, coupon.org_id) == ("LAUNCH2026", "For the launch", "default")
        assert (coupon.discount_value, coupon.percent_off) == (Decimal(20), Decimal(20))
        assert (coupon.amount_off, coupon.currency) == (None, "")
        assert (coupon.max_redemptions, coupon.redemption_count, coupon.duration_months) == (1000, 0, 3)
        assert coupon.applicable_plan_ids == ["pro", "free"]
        assert coupon.is_active
        event = Event.objects.get(type="coupon.created")
        assert (event.object_id, event.actor_id, event.reason) == (coupon.public_id, "catalog-tests", "spring campaign")
        assert (event.data["code"], event.data["discount_value"]) == ("LAUNCH2026", "20")
        assert event.created_at == AT

    @pytest.mark.parametrize("kind", ["fixed_amount", "credit"])
    def test_takes_amounts_in_minor_units(self, kind: str) -> None:
        coupon = make_coupon(discount_type=kind, discount_value=Decimal("1500"), currency="USD")
        assert (coupon.amount_off, coupon.percent_off, coupon.currency) == (1500, None, "usd")
        assert coupon.discount_value == 1500

    @pytest.mark.parametrize("percent", ["0.000000000001", "12.5", "100"])
    def test_takes_any_percent_up_to_all(self, percent: str) -> None:
        assert make_coupon(discount_value=Decimal(percent)).percent_off == Decimal(percent)

    @pytest.mark.parametrize(
        ("values", "finding"),
        [
            ({"code": "AB"}, ("/code", "invalid")),
            ({"code": "A" * 65}, ("/code", "invalid")),
            ({"code": "SPRING SALE"}, ("/code", "invalid")),
            ({"code": "PRIX-É"}, ("/code", "invalid")),
            ({"discount_value": Decimal(0)}, ("/discount_value", "out_of_range")),
            ({"discount_value": Decimal("100.01")}, ("/discount_value", "out_of_range")),
            ({"discount_value": Decimal("NaN")}, ("/discount_value", "invalid")),
            ({"discount_value": Decimal("33.3333333333333")}, ("/discount_value", "too_precise")),
            ({"currency": "usd"}, ("/currency", "not_allowed")),
            ({"discount_type": "credit"}, ("/currency", "required")),
            ({"discount_type": "credit", "currency": "xyz"}, ("/currency", "currency_unsupported")),
            (
                {"discount_type": "fixed_amount", "discount_value": Decimal("9.5"), "currency": "usd"},
                ("/discount_value", "out_of_range"),
            ),
            (
                {"discount_type": "fixed_amount", "discount_value": Decimal(0), "currency": "usd"},
                ("/discount_value", "out_of_range"),
            ),
            ({"discount_type": "half"}, ("/discount_type", "invalid_choice")),
            ({"max_redemptions": 0}, ("/max_redemptions", "out_of_range")),
            ({"duration_months": 0}, ("/duration_months", "out_of_range")),
            (
                {"discount_type": "credit", "currency": "usd", "duration_months": 2},
                ("/duration_months", "not_allowed"),
            ),
            ({"starts_at": LATER, "expires_at": LATER}, ("/expires_at", "not_after_start")),
        ],
    )
    def test_refuses_what_makes_no_sense(self, values: dict[str, Any], finding: tuple[str, str]) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            make_coupon(**values)
        assert [(error.pointer, error.code) for error in refusal.value.errors] == [finding]
        assert not Coupon.objects.exists()
        assert not Event.objects.exists()

    def test_names_everything_at_once(self) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            make_coupon("?", discount_value=Decimal(-1), max_redemptions=-1, duration_months=-1, currency="usd")
        assert {error.pointer for error in refusal.value.errors} == {
            "/code",
            "/discount_value",
            "/max_redemptions",
            "/duration_months",
            "/currency",
        }

    def test_plans_must_be_on_offer(self) -> None:
        publish_catalog()
        document = make_document()
        document["plans"] = document["plans"][1:]  # free is retired
        publish_catalog(document)
        with pytest.raises(PlanNotFound) as refusal:
            make_coupon(applicable_plan_ids=["pro", "free", "Pro"])
        assert refusal.value.members["plan_ids"] == ["free", "Pro"]

    @pytest.mark.parametrize("deactivated", [False, True])
    def test_a_code_is_taken_for_good(self, deactivated: bool) -> None:
        coupon = make_coupon()
        if deactivated:
            deactivate_coupon(coupon_id=coupon.pk, at=AT, actor=PUBLISHER)
        with pytest.raises(CouponCodeTaken):
            make_coupon("launch2026")

    def test_organizations_have_codes_of_their_own(self) -> None:
        publish_catalog()
        publish_catalog(org_id="acme")
        make_coupon()
        make_coupon(org_id="acme")
        with pytest.raises(CouponCodeTaken):
            make_coupon(org_id="sells-from-default")  # would hide the shared one


@pytest.mark.django_db(transaction=True)
class TestTogether:
    def test_two_at_once_make_one(self) -> None:
        outcomes: list[str] = []
        ready = threading.Barrier(4)

        def create() -> None:
            try:
                ready.wait(timeout=20)
                make_coupon()
                outcomes.append("made")
            except CouponCodeTaken:
                outcomes.append("taken")
            finally:
                connections.close_all()

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["made", "taken", "taken", "taken"]


@pytest.mark.django_db
class TestDeactivateCoupon:
    def test_stops_it_once(self) -> None:
        coupon = make_coupon()
        stopped = deactivate_coupon(coupon_id=coupon.pk, at=LATER, actor=PUBLISHER, reason="leaked")
        assert (stopped.is_active, stopped.deactivated_at) == (False, LATER)
        again = deactivate_coupon(coupon_id=coupon.pk, at=LATER + timedelta(days=1), actor=PUBLISHER)
        assert again.deactivated_at == LATER
        event = Event.objects.get(type="coupon.deactivated")
        assert (event.reason, event.data["is_active"], event.previous_data) == ("leaked", False, {"is_active": True})

    def test_of_an_unknown_one(self) -> None:
        with pytest.raises(NotFound):
            deactivate_coupon(coupon_id=new_uuid(), at=AT, actor=PUBLISHER)


@pytest.mark.django_db
class TestDeleteCoupon:
    def test_removes_an_unused_one(self) -> None:
        coupon = make_coupon()
        delete_coupon(coupon_id=coupon.pk, at=AT, actor=PUBLISHER, reason="a typing error")
        assert not Coupon.objects.exists()
        assert Event.objects.get(type="coupon.deleted").data["code"] == "LAUNCH2026"
        make_coupon()

    def test_refuses_a_used_one_by_name(self) -> None:
        coupon = make_coupon()
        Coupon.objects.update(redemption_count=2)
        with pytest.raises(ObjectInUse) as refusal:
            delete_coupon(coupon_id=coupon.pk, at=AT, actor=PUBLISHER)
        assert refusal.value.members["uses"][0] == "2 redemptions"
        assert "Deactivate it" in refusal.value.detail
        assert Coupon.objects.exists()
