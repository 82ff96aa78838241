"""The sidebar: every registered page the person may see, grouped by app."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Catalog", ("catalog",)),
    ("Accounts", ("accounts",)),
    ("Usage", ("metering",)),
    ("Invoicing", ("invoicing",)),
    ("Provider's copy", ("djstripe",)),
    ("Platform", ("platform", "auth", "django_celery_beat")),
)
ICONS: Final[dict[str, str]] = {
    "catalogdraft": "edit_document",
    "catalogrevision": "library_books",
    "product": "inventory_2",
    "plan": "sell",
    "planversion": "new_releases",
    "price": "price_change",
    "meter": "speed",
    "feature": "extension",
    "account": "domain",
    "member": "group",
    "subscription": "autorenew",
    "creditgrant": "redeem",
    "ledgeraccount": "account_balance_wallet",
    "ledgerentry": "menu_book",
    "testclock": "schedule",
    "usageevent": "monitoring",
    "usagerollup": "bar_chart",
    "usageimport": "upload_file",
    "invoice": "receipt_long",
    "invoiceline": "list_alt",
    "billingrun": "play_circle",
    "billingrunoutcome": "rule",
    "seller": "store",
    "numberseries": "pin",
    "event": "history",
    "idempotencykey": "key",
}


class NavPage(NamedTuple):
    """A page beside the list of a model, with an entry of its own before the list's."""

    title: str
    icon: str
    url_name: str


def build_navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return Unfold's sidebar structure: the overview, then one group per part of the product."""
    overview = {"title": "Overview", "icon": "space_dashboard", "link": reverse("admin:index")}
    navigation: list[dict[str, Any]] = [{"title": "", "items": [overview, *_list_items(request, None)]}]
    for title, labels in GROUPS:
        if items := _list_items(request, labels):
            navigation.append({"title": title, "separator": False, "collapsible": False, "items": items})
    return navigation


def _list_items(request: HttpRequest, labels: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """Return the entries of some apps' pages, or (None) of the pages that stand above all groups."""
    pages = [
        (getattr(page, "nav_order", 100), str(model._meta.verbose_name_plural), model, page)
        for model, page in admin.site._registry.items()
        if (_stands_above(page) if labels is None else model._meta.app_label in labels and not _stands_above(page))
        and not getattr(page, "nav_hidden", False)
    ]
    items: list[dict[str, Any]] = []
    for _, plural, model, page in sorted(pages, key=lambda entry: entry[:2]):
        if not page.has_view_permission(request):
            continue
        try:
            link = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        except NoReverseMatch:
            continue
        extras = [
            {"title": extra.title, "icon": extra.icon, "link": reverse(extra.url_name)}
            for extra in getattr(page, "nav_pages", ())
        ]
        items += extras
        title = getattr(page, "nav_title", "") or plural[:1].upper() + plural[1:]
        icon = getattr(page, "nav_icon", "") or ICONS.get(model._meta.model_name or "", "table_rows")
        item = {"title": title, "icon": icon, "link": link}
        if extras:
            # The addresses of further pages begin with that of the list.
            is_extra = any(request.path.startswith(extra["link"]) for extra in extras)
            item["active"] = request.path.startswith(link) and not is_extra
        if badge := getattr(page, "nav_badge", _no_badge)(request):
            item |= {"badge": badge, "badge_variant": "warning"}
        items.append(item)
    return items


def _stands_above(page: Any) -> bool:
    return bool(getattr(page, "nav_top", False))


def _no_badge(_request: HttpRequest) -> str:
    return ""
