"""Coupons: who sees which."""

from __future__ import annotations

import pytest

from billing_site.kernel.errors import NotFound
from catalog.queries.coupons import find_coupon, get_coupon, list_coupons
from catalog.services.coupons import deactivate_coupon
from tests.factories.catalog import AT, PUBLISHER, make_coupon, publish_catalog

pytestmark = pytest.mark.django_db


class TestGetCoupon:
    def test_finds_by_id_and_by_code_in_any_case(self) -> None:
        coupon = make_coupon()
        for reference in (coupon.public_id, "LAUNCH2026", " launch2026 "):
            assert get_coupon(org_id="default", reference=reference) == coupon

    def test_of_the_default_catalog_are_shared(self) -> None:
        publish_catalog()
        coupon = make_coupon()
        assert get_coupon(org_id="acme", reference="launch2026") == coupon
        publish_catalog(org_id="acme")
        for reference in (coupon.public_id, coupon.code, "nothing", ""):
            with pytest.raises(NotFound):
                get_coupon(org_id="acme", reference=reference)

    def test_an_own_one_comes_first(self) -> None:
        own = make_coupon(org_id="acme")
        publish_catalog()
        shared = make_coupon()
        assert get_coupon(org_id="acme", reference="LAUNCH2026") == own
        assert get_coupon(org_id="acme", reference=shared.public_id) == shared
        assert find_coupon(org_id="acme", code="launch2026") == own


class TestFindCoupon:
    @pytest.mark.parametrize("code", ["", " ", "NOTHING"])
    def test_finds_nothing_under_an_unknown_code(self, code: str) -> None:
        make_coupon()
        assert find_coupon(org_id="default", code=code) is None

    def test_finds_deactivated_ones_too(self) -> None:
        coupon = make_coupon()
        deactivate_coupon(coupon_id=coupon.pk, at=AT, actor=PUBLISHER)
        assert find_coupon(org_id="default", code="launch2026") == coupon


class TestListCoupons:
    def test_filters(self) -> None:
        first, second = make_coupon("FIRST"), make_coupon("SECOND")
        make_coupon("FOREIGN", org_id="acme")
        deactivate_coupon(coupon_id=first.pk, at=AT, actor=PUBLISHER)
        assert set(list_coupons(org_id="default")) == {first, second}
        assert list(list_coupons(org_id="default", active=True)) == [second]
        assert list(list_coupons(org_id="default", active=False)) == [first]
        assert list(list_coupons(org_id="default", code="second")) == [second]
