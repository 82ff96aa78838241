"""Coupons of an organization and of the catalog it sells from."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from billing_site.kernel.errors import NotFound
from catalog.models import Coupon
from catalog.queries.revisions import list_owners


def normalise_code(code: str) -> str:
    """Return a code as it is stored: trimmed, in upper case."""
    return code.strip().upper()


def list_coupons(*, org_id: str, active: bool | None = None, code: str = "") -> QuerySet[Coupon]:
    """
    Return the coupons an organization's accounts may meet.

    `active` True leaves out what was deactivated, False shows only that; `code` is compared in any case.
    """
    coupons = Coupon.objects.filter(org_id__in=list_owners(org_id=org_id))
    if active is not None:
        coupons = coupons.filter(is_active=active)
    return coupons.filter(code=normalise_code(code)) if code else coupons


def get_coupon(*, org_id: str, reference: str) -> Coupon:
    """
    Return a coupon by public id or by code in any case. The organization's own comes before a shared one.

    :raises NotFound: if it is unknown or of another organization.
    """
    key = Coupon.parse_id(reference)
    wanted = Q(code=normalise_code(reference)) if key is None else Q(pk=key)
    coupons = Coupon.objects.filter(wanted, org_id__in=list_owners(org_id=org_id))
    found = sorted(coupons, key=lambda coupon: coupon.org_id != org_id)
    if not found:
        raise NotFound("coupon")
    return found[0]


def find_coupon(*, org_id: str, code: str) -> Coupon | None:
    """Return the coupon an account of the organization means by `code`, deactivated or not, or None."""
    coupons = list_coupons(org_id=org_id, code=code) if code.strip() else Coupon.objects.none()
    return next(iter(sorted(coupons, key=lambda coupon: coupon.org_id != org_id)), None)
