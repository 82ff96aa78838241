"""The usage explorer: what an account used, over time and by its parts, as charts, as a table and as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import slugify

from accounts.models import Account, CostCenter
from accounts.queries.cost_centers import CostCenterNode, load_tree
from billing_site.backoffice.display import format_period
from billing_site.backoffice.page_links import PageLink, register_page_link
from billing_site.kernel import clock
from billing_site.kernel.csv_text import keep_as_text, write_lines
from catalog.models import Meter
from metering.admin.explorer_charts import build_charts, build_rows, is_divided
from metering.admin.explorer_choice import (
    BY_CENTER,
    BY_METER,
    NO_CENTER,
    Choice,
    list_dimensions,
    name_dimension,
    read_account_key,
    read_choice,
)
from metering.admin.quota_gauges import build_gauges
from metering.queries.exploring import View, explore_usage, stream_usage
from metering.queries.meters import list_meters
from metering.queries.periods import list_running_subscriptions
from metering.queries.quotas import list_quota_uses
from metering.stores import SeriesPoint

PERMISSION: Final = "metering.view_usageevent"
_LISTED_ACCOUNTS: Final = 20
_TITLES: Final = (
    ("today", "Today"),
    ("week", "7 days"),
    ("this", "This period"),
    ("last", "Last period"),
    ("month", "This month"),
)
_INDENT: Final = "\N{NO-BREAK SPACE}" * 3


@dataclass(frozen=True, slots=True)
class Option:
    """One thing to choose in the form, or a link that chooses it."""

    value: str
    title: str
    is_chosen: bool
    url: str = ""


def explorer_url(account: Account | None = None, **choice: str) -> str:
    """Return the address of the explorer, of one account and with a choice where they are given."""
    query = QueryDict(mutable=True)
    if account is not None:
        query["account"] = str(account.pk)
    query.update(choice)
    return f"{reverse('admin:metering_usageevent_explore')}{'?' if query else ''}{query.urlencode()}"


def show_explorer(admin: Any, request: HttpRequest) -> HttpResponse:
    """Answer the page; without an account the list to choose one from. A fixed number of queries."""
    _require_permission(request)
    account = _find_account(request)
    if account is None:
        return _show_accounts(admin, request)
    at = clock.now(account)
    subscriptions = list_running_subscriptions(account)
    meters = list_meters(org_id=account.org_id)
    centers = load_tree(account.pk).nodes
    choice = read_choice(
        request.GET,
        account=account,
        subscription=subscriptions[0] if subscriptions else None,
        meters=meters,
        centers=[node.center for node in centers],
        at=at,
    )
    found = explore_usage(account=account, view=choice.view, before=choice.stretch.before)
    names = {str(node.center.pk): node.center.name for node in centers} if choice.view.by_center else {}
    context = {
        **_frame(admin, request, f"Usage of {account}"),
        "account": account,
        "account_url": reverse("admin:accounts_account_change", args=[account.pk]),
        "events_url": f"{reverse('admin:metering_usageevent_changelist')}?account__id__exact={account.pk}",
        "csv_url": f"{reverse('admin:metering_usageevent_explore_csv')}?{request.GET.urlencode()}",
        "choice": choice,
        "period": format_period(choice.view.period.start, choice.view.period.end, account.timezone),
        "before": format_period(choice.stretch.before.start, choice.stretch.before.end, account.timezone),
        "form": _build_form(request, choice, meters, centers),
        "charts": build_charts(found, names=names, zone=account.zone),
        "rows": build_rows(found, names=names),
        "is_divided": is_divided(found),
        "gauges": build_gauges(list_quota_uses(account=account, at=at), meters=meters, zone=account.timezone),
        "is_narrowed": bool(choice.names or choice.center or choice.view.dimension),
        "wide_url": explorer_url(account, range=choice.stretch.name, per=choice.view.bucket),
        "last_url": explorer_url(account, range="last"),
    }
    return TemplateResponse(request, "metering/explorer.html", context)


def download_series(request: HttpRequest) -> HttpResponseBase:
    """Answer what the page shows as CSV, every part in every bucket, as it comes from the database."""
    _require_permission(request)
    account = _find_account(request)
    if account is None:
        return HttpResponse("Which account? Open the explorer and choose one.", status=404, content_type="text/plain")
    at = clock.now(account)
    subscriptions = list_running_subscriptions(account)
    centers = {str(node.center.pk): node.center for node in load_tree(account.pk).nodes}
    choice = read_choice(
        request.GET,
        account=account,
        subscription=subscriptions[0] if subscriptions else None,
        meters=list_meters(org_id=account.org_id),
        centers=centers.values(),
        at=at,
    )
    lines = _list_lines(stream_usage(account=account, view=choice.view), choice.view, centers, account)
    response = StreamingHttpResponse(write_lines(lines), content_type="text/csv; charset=utf-8")
    days = f"{choice.view.period.start.astimezone(account.zone):%Y%m%d}"
    name = f"usage-{slugify(account.external_id or account.public_id)}-{days}-{choice.stretch.name}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _list_lines(
    points: Iterable[SeriesPoint], view: View, centers: Mapping[str, CostCenter], account: Account
) -> Iterator[Sequence[str]]:
    part = "cost_center" if view.by_center else view.dimension
    yield ["start", "start_utc", "meter", "unit", *([part] if part else []), "quantity", "events"]
    meters = {meter.id: meter for meter in view.meters}
    for point in points:
        if point.start is None:
            continue
        value = point.group or ""
        if view.by_center and value in centers:
            value = centers[value].code
        meter = meters[point.meter_id]
        yield [
            point.start.astimezone(account.zone).isoformat(),
            f"{point.start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            keep_as_text(meter.event_name),
            keep_as_text(meter.unit),
            *([keep_as_text(value)] if part else []),
            f"{point.quantity.normalize():f}",
            str(point.event_count),
        ]


def _require_permission(request: HttpRequest) -> None:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied


def _find_account(request: HttpRequest) -> Account | None:
    key = read_account_key(request.GET)
    return None if key is None else Account.objects.select_related("test_clock").filter(pk=key).first()


def _show_accounts(admin: Any, request: HttpRequest) -> HttpResponse:
    """Answer the accounts to choose from: those that match, else the newest."""
    term = request.GET.get("q", "").strip()[:255]
    rows = Account.objects.order_by("-pk")
    if term:
        key = Account.parse_id(term)
        matches = Q(name__icontains=term) | Q(external_id__icontains=term) | Q(email__iexact=term)
        rows = rows.filter(Q(pk=key) if key is not None else matches)
    accounts = list(rows[: _LISTED_ACCOUNTS + 1])
    context = {
        **_frame(admin, request, "Usage explorer"),
        "term": term,
        "accounts": [(account, explorer_url(account)) for account in accounts[:_LISTED_ACCOUNTS]],
        "has_more": len(accounts) > _LISTED_ACCOUNTS,
    }
    return TemplateResponse(request, "metering/explorer_accounts.html", context)


def _frame(admin: Any, request: HttpRequest, title: str) -> dict[str, Any]:
    return {**admin.admin_site.each_context(request), "title": title, "content_title": "Usage explorer"}


def _build_form(
    request: HttpRequest, choice: Choice, meters: Sequence[Meter], centers: Sequence[CostCenterNode]
) -> dict[str, Any]:
    dimensions = list_dimensions(choice.view.meters if choice.names else meters)
    chosen = [meter.display_name for meter in meters if meter.event_name in choice.names]
    return {
        "ranges": [
            Option(value, title, choice.stretch.name == value, _link(request, **_choose_range(value, choice)))
            for value, title in _TITLES
        ],
        "buckets": [
            Option(value, title, choice.view.bucket == value, _link(request, per=value))
            for value, title in (("hour", "Hour"), ("day", "Day"))
            if value == "day" or choice.can_be_hourly
        ],
        "meters": [
            Option(meter.event_name, meter.display_name, meter.event_name in choice.names)
            for meter in meters
            if meter.is_active or meter.event_name in choice.names
        ],
        "meters_title": "All meters" if not chosen else chosen[0] if len(chosen) == 1 else f"{len(chosen)} meters",
        "parts": [
            Option(BY_METER, "Meter", choice.by == BY_METER),
            *(
                Option(name_dimension(name), name.replace("_", " ").capitalize(), choice.by == name_dimension(name))
                for name in dimensions
            ),
            *([Option(BY_CENTER, "Cost center", choice.by == BY_CENTER)] if centers else []),
        ],
        "centers": [
            Option("", "All usage", not choice.center),
            Option(NO_CENTER, "Without a center", choice.center == NO_CENTER),
            *(
                Option(
                    str(node.center.pk),
                    _INDENT * node.depth + node.center.name,
                    choice.center == str(node.center.pk),
                )
                for node in centers
            ),
        ]
        if centers
        else [],
        "first": choice.first if choice.stretch.name == "custom" else None,
        "last": choice.last if choice.stretch.name == "custom" else None,
    }


def _choose_range(name: str, choice: Choice) -> dict[str, str]:
    """Return what a link to a stretch changes: one day is looked at by hour, and others by day again."""
    changes = {"range": name, "from": "", "to": ""}
    return {**changes, "per": ""} if "today" in (name, choice.stretch.name) else changes


def _link(request: HttpRequest, **changes: str) -> str:
    query = request.GET.copy()
    for name, value in changes.items():
        if value:
            query[name] = value
        else:
            query.pop(name, None)
    return f"?{query.urlencode()}"


def _link_from_account(account: Account) -> PageLink:
    return PageLink("Usage", explorer_url(account), icon="query_stats")


register_page_link("accounts.account", _link_from_account, name="metering.explore", permission=PERMISSION)
