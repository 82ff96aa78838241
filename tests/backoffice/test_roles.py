"""The five roles and what they hold."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission

from billing_site.backoffice.roles import (
    ADMIN,
    BILLING,
    FINANCE_LEAD,
    ROLES,
    SUPPORT,
    VIEWER,
    is_granted,
    sync_roles,
)


def held(role: str) -> set[str]:
    group = Group.objects.get(name=role)
    rows = group.permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


@pytest.mark.django_db
class TestGroups:
    def test_they_exist_after_migrating(self) -> None:
        assert set(ROLES) <= set(Group.objects.values_list("name", flat=True))

    def test_a_viewer_only_views(self) -> None:
        sync_roles()
        assert {"invoicing.view_invoice", "accounts.view_account", "catalog.view_plan"} <= held(VIEWER)
        assert not [permission for permission in held(VIEWER) if not permission.split(".")[1].startswith("view_")]

    def test_each_role_holds_more_than_the_one_before(self) -> None:
        sync_roles()
        assert held(VIEWER) < held(BILLING) <= held(FINANCE_LEAD) < held(ADMIN)
        assert held(VIEWER) < held(SUPPORT) < held(FINANCE_LEAD)

    def test_support_gives_credit_and_those_who_bill_do_not(self) -> None:
        sync_roles()
        credit = {"accounts.adjust_credit", "accounts.grant_credit", "invoicing.issue_credit_note"}
        assert credit <= held(SUPPORT)
        assert not credit & held(BILLING)
        assert not {"accounts.deposit_money", "accounts.grant_subscription", "platform.decide_approval"} & held(SUPPORT)
        assert not [name for name in held(SUPPORT) if "approve" in name]

    def test_only_an_admin_manages_people(self) -> None:
        sync_roles()
        assert "auth.change_user" in held(ADMIN)
        assert "auth.change_user" not in held(FINANCE_LEAD)

    def test_syncing_takes_back_what_somebody_added_by_hand(self) -> None:
        extra = Permission.objects.get(codename="delete_user")
        Group.objects.get(name=VIEWER).permissions.add(extra)
        sync_roles()
        assert "auth.delete_user" not in held(VIEWER)


class TestMatrix:
    @pytest.mark.parametrize(
        ("permission", "first"),
        [
            ("invoicing.view_invoice", VIEWER),
            ("accounts.change_subscription", BILLING),
            ("accounts.start_subscription", BILLING),
            ("accounts.adjust_credit", FINANCE_LEAD),
            ("accounts.change_account", BILLING),
            ("accounts.deposit_money", FINANCE_LEAD),
            ("accounts.grant_discount", FINANCE_LEAD),
            ("accounts.grant_subscription", FINANCE_LEAD),
            ("accounts.cancel_creditgrant", FINANCE_LEAD),
            ("catalog.change_catalogdraft", BILLING),
            ("invoicing.run_billing", BILLING),
            ("metering.import_usage", BILLING),
            ("catalog.submit_catalogdraft", BILLING),
            ("metering.dismiss_costalert", BILLING),
            ("catalog.publish_catalogdraft", FINANCE_LEAD),
            ("catalog.approve_catalog", FINANCE_LEAD),
            ("invoicing.approve_refund", FINANCE_LEAD),
            ("platform.decide_approval", FINANCE_LEAD),
            ("invoicing.void_invoice", FINANCE_LEAD),
            ("invoicing.issue_credit_note", FINANCE_LEAD),
            ("invoicing.approve_credit_note", FINANCE_LEAD),
            ("invoicing.void_credit_note", FINANCE_LEAD),
            ("invoicing.move_subscriptions", FINANCE_LEAD),
            ("accounts.negotiate_price", FINANCE_LEAD),
            ("catalog.view_coupon", VIEWER),
            ("catalog.add_coupon", FINANCE_LEAD),
            ("catalog.deactivate_coupon", FINANCE_LEAD),
            ("catalog.add_taxrate", FINANCE_LEAD),
            ("catalog.end_taxrate", FINANCE_LEAD),
            ("catalog.add_pricingrule", FINANCE_LEAD),
            ("catalog.close_pricingrule", FINANCE_LEAD),
            ("catalog.archive_product", FINANCE_LEAD),
            ("catalog.restore_meter", FINANCE_LEAD),
            ("catalog.delete_coupon", FINANCE_LEAD),
            ("catalog.delete_plan", ADMIN),
            ("invoicing.something_new", ADMIN),
        ],
    )
    def test_a_permission_begins_with_its_role(self, permission: str, first: str) -> None:
        order = [VIEWER, BILLING, FINANCE_LEAD, ADMIN]
        assert [is_granted(role, permission) for role in order] == [
            position >= order.index(first) for position in range(len(order))
        ]
