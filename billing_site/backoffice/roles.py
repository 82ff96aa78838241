"""
Who may do what in the admin: five roles, as groups.

The matrix is declared here and written to the database after every migrate, because Django makes permissions there.
A permission that a service action asks for is created if no model declares it. One that no role below names is held by
`admin` alone, so a new action is closed until somebody opens it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from django.apps import AppConfig, apps
from django.db import DEFAULT_DB_ALIAS

if TYPE_CHECKING:
    from django.contrib.auth.models import Permission

VIEWER: Final = "viewer"
SUPPORT: Final = "support"
BILLING: Final = "billing"
FINANCE_LEAD: Final = "finance_lead"
ADMIN: Final = "admin"

DOMAIN_APPS: Final = ("catalog", "accounts", "metering", "invoicing", "platform")


@dataclass(frozen=True, slots=True)
class Role:
    """Patterns of `app.codename`; `*` matches anything. `includes` are roles whose permissions come along."""

    title: str
    patterns: tuple[str, ...]
    includes: tuple[str, ...] = field(default=())


# What becomes of subscriptions, at published prices.
_SUBSCRIPTIONS: Final = (
    "accounts.start_subscription",
    "accounts.change_subscription",
    "accounts.pause_subscription",
    "accounts.end_subscription",
    "accounts.redeem_coupon",
)

ROLES: Final[dict[str, Role]] = {
    VIEWER: Role("Looks at everything, changes nothing", tuple(f"{app}.view_*" for app in DOMAIN_APPS)),
    SUPPORT: Role(
        "Serves customers: subscriptions and coupons, and small credits; larger ones wait for a second person",
        (
            *_SUBSCRIPTIONS,
            "accounts.adjust_credit",
            "accounts.grant_credit",
            "invoicing.issue_credit_note",
            "invoicing.create_refund",
            "invoicing.answer_dispute",
            "invoicing.send_document",
            "metering.dismiss_*",
            "platform.cancel_*",
        ),
        (VIEWER,),
    ),
    BILLING: Role(
        "Runs billing from day to day: drafts, accounts, usage, billing runs, issuing",
        (
            "catalog.add_catalogdraft",
            "catalog.change_catalogdraft",
            "catalog.discard_*",
            "catalog.submit_*",
            "accounts.add_*",
            "accounts.change_*",
            "accounts.renew_subscription",
            "metering.add_accountquota",
            "metering.change_accountquota",
            "metering.release_*",
            "metering.import_*",
            "metering.record_*",
            "metering.retry_*",
            "metering.dismiss_*",
            "invoicing.run_*",
            "invoicing.start_*",
            "invoicing.retry_*",
            "invoicing.finalize_*",
            "invoicing.edit_*",
            "invoicing.release_*",
            "invoicing.render_*",
            "invoicing.add_dunningcampaign",
            "invoicing.change_dunningcampaign",
            "invoicing.send_*",
            "invoicing.match_*",
            "invoicing.dismiss_*",
            "invoicing.record_*",
            "invoicing.collect_*",
            "invoicing.settle_*",
            "invoicing.capture_*",
            "invoicing.cancel_payment",
            "invoicing.create_refund",
            "invoicing.answer_dispute",
            "platform.cancel_*",
            "platform.handle_*",
            *_SUBSCRIPTIONS,
        ),
        (VIEWER,),
    ),
    FINANCE_LEAD: Role(
        "Decides: approves what others ask for, publishes the catalog, voids documents, adjusts money",
        (
            "*.approve_*",
            "catalog.publish_*",
            "catalog.add_coupon",
            "catalog.add_taxrate",
            "catalog.add_pricingrule",
            "catalog.deactivate_*",
            "catalog.end_*",
            "catalog.close_*",
            "catalog.archive_*",
            "catalog.restore_*",
            "catalog.delete_product",
            "catalog.delete_meter",
            "catalog.delete_coupon",
            "catalog.delete_taxrate",
            "accounts.adjust_*",
            "accounts.negotiate_*",
            "accounts.deposit_*",
            "accounts.grant_*",
            "accounts.cancel_*",
            "accounts.release_*",
            "accounts.suspend_*",
            "accounts.close_*",
            "accounts.advance_*",
            "accounts.assign_*",
            # What is taken back is owed no more.
            "metering.correct_*",
            "invoicing.move_*",
            "invoicing.void_*",
            "invoicing.mark_*",
            "invoicing.cancel_*",
            "invoicing.pay_*",
            "invoicing.reverse_*",
            "invoicing.expire_*",
            "invoicing.create_payout",
            "accounts.credit_*",
            "accounts.confirm_*",
            "platform.decide_*",
        ),
        (BILLING, SUPPORT),
    ),
    ADMIN: Role(
        "Everything above, and people's access",
        (
            *(f"{app}.*" for app in DOMAIN_APPS),
            "auth.add_user",
            "auth.change_user",
            "auth.view_user",
            "auth.view_group",
        ),
        (FINANCE_LEAD,),
    ),
}


def list_patterns(role: str) -> tuple[str, ...]:
    """Return the patterns of a role and of those it includes."""
    declared = ROLES[role]
    return declared.patterns + tuple(pattern for other in declared.includes for pattern in list_patterns(other))


def is_granted(role: str, permission: str) -> bool:
    """Tell whether the matrix gives `app.codename` to the role."""
    return any(fnmatchcase(permission, pattern) for pattern in list_patterns(role))


def sync_roles(using: str = DEFAULT_DB_ALIAS) -> None:
    """Make groups and their permissions what the matrix says; existing members stay."""
    from django.contrib.auth.models import Group, Permission

    create_action_permissions(using)
    permissions = list(
        Permission.objects.using(using)
        .filter(content_type__app_label__in=(*DOMAIN_APPS, "auth"))
        .select_related("content_type")
    )
    for name in ROLES:
        group, _ = Group.objects.using(using).get_or_create(name=name)
        group.permissions.set(_granted(name, permissions))


def _granted(role: str, permissions: Iterable[Permission]) -> list[Permission]:
    return [
        permission
        for permission in permissions
        if is_granted(role, f"{permission.content_type.app_label}.{permission.codename}")
    ]


def create_action_permissions(using: str) -> None:
    """Create the permissions that registered service actions ask for and no model declares."""
    from django.contrib import admin
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType

    for model, model_admin in admin.site._registry.items():
        for permission, description in list_action_permissions(model_admin):
            app_label, codename = permission.split(".")
            if Permission.objects.using(using).filter(content_type__app_label=app_label, codename=codename).exists():
                continue
            Permission.objects.using(using).create(
                content_type=ContentType.objects.db_manager(using).get_for_model(model),
                codename=codename,
                name=f"Can {description[:1].lower()}{description[1:]}"[:255],
            )


def list_action_permissions(model_admin: Any) -> list[tuple[str, str]]:
    """Return (`app.codename`, description) of the service actions an admin class declares."""
    from billing_site.backoffice.actions import find_service_action

    label = model_admin.model._meta.app_label
    found = {}
    for name in dir(type(model_admin)):
        action = find_service_action(getattr(type(model_admin), name, None))
        if action is not None:
            full = action.permission if "." in action.permission else f"{label}.{action.permission}"
            found[full] = action.description
    return sorted(found.items())


def sync_roles_after_migrate(sender: AppConfig, using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Sync once, after the last app: by then every model has its permissions."""
    last = [config for config in apps.get_app_configs() if config.models_module is not None][-1]
    if sender is last or sender.label == last.label:
        sync_roles(using)
