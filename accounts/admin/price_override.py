"""Negotiated prices: agree, look, end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.admin.price_override_form import EndForm, PriceOverrideForm, point_to_fields, read_amount
from accounts.models import Account, AccountStatus, PriceOverride
from accounts.services.price_overrides import end_price_override, set_price_override
from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_money,
    format_quantity,
    json_block,
    link_display,
    link_to,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.backoffice.page_links import PageLink, register_page_link
from billing_site.kernel import clock
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import get_exponent
from billing_site.kernel.periods import local_midnight
from catalog.models import Price
from catalog.pricing.terms import to_text

PERMISSION = "accounts.negotiate_priceoverride"


def describe_terms(row: PriceOverride, currency: str | None) -> str:
    """Return what was agreed in a few words: `0.00004 USD per unit`, `graduated, 3 tiers`, with what else it says."""
    parts = []
    if row.unit_amount is not None:
        parts.append(f"{_format_amount(row.unit_amount, currency)} {row.model.replace('_', ' ')}")
    else:
        parts.append(row.model.replace("_", " "))
    if tiers := row.options.get("tiers"):
        parts.append(f"{len(tiers)} tier{'' if len(tiers) == 1 else 's'}")
    parts += [name.replace("_", " ") for name in row.options if name != "tiers"]
    return ", ".join(parts)


def _format_amount(amount: Decimal, currency: str | None) -> str:
    if not currency:
        return f"{format_quantity(amount)} (minor units)"
    if amount == amount.to_integral_value():
        return format_money(int(amount), currency)
    return f"{format_quantity(amount.scaleb(-get_exponent(currency)))} {currency.upper()}"


def with_currency(rows: QuerySet[PriceOverride]) -> QuerySet[PriceOverride]:
    """Annotate each row with the currency of the price it stands for."""
    prices = Price.objects.filter(lookup_key=OuterRef("lookup_key")).order_by("-id").values("currency")[:1]
    return rows.annotate(currency=Subquery(prices)).select_related("account__test_clock")


def get_state(row: PriceOverride) -> tuple[str, str]:
    """Return whether periods that start now have the price, as a word and its tone."""
    now = clock.now(row.account)
    if row.effective_until is not None and row.effective_until <= max(now, row.effective_from):
        return ("withdrawn" if row.effective_until == row.effective_from else "ended"), "neutral"
    return ("in force", "good") if row.effective_from <= now else ("to come", "info")


class PriceOverrideInline(ReadOnlyInline):
    """What was negotiated with an account, newest first, ended ones included."""

    model = PriceOverride
    verbose_name_plural = "Negotiated prices"
    fields = ("price", "agreed", "state", "since", "until", "reason")
    readonly_fields = fields
    ordering = ("-effective_from", "-id")
    per_page = 20
    since = timestamp_display("effective_from", zone="account.timezone", description="For periods from")
    until = timestamp_display("effective_until", zone="account.timezone", description="Until")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PriceOverride]:
        rows: QuerySet[PriceOverride] = super().get_queryset(request)
        return with_currency(rows)

    @admin.display(description="Price")
    def price(self, row: PriceOverride) -> SafeString | str:
        return link_to(row, row.lookup_key)

    @admin.display(description="Agreed")
    def agreed(self, row: Any) -> str:
        return describe_terms(row, row.currency)

    @admin.display(description="State")
    def state(self, row: PriceOverride) -> SafeString:
        return badge(*get_state(row))


@admin.register(PriceOverride)
class PriceOverrideAdmin(BackOfficeAdmin):
    """What single accounts pay instead of a plan's price."""

    form = PriceOverrideForm
    nav_icon = "handshake"
    nav_order = 35
    nav_title = "Negotiated prices"
    empty_title = "No negotiated price yet"
    empty_text = "What one account pays instead of a plan's price. Open the account and choose “Negotiate a price”."
    list_display = ("lookup_key", "account_link", "agreed", "state", "since", "until", "reason")
    list_filter = ("model", "effective_from")
    list_select_related = ("account",)
    search_fields = ("lookup_key", "account__name", "account__external_id__iexact", "reason")
    search_help_text = "Lookup key, account, reason, or an id such as pov_…"
    autocomplete_fields = ("account",)
    actions_detail = ("end",)
    add_fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account", "lookup_key"),
                    ("model", "unit_amount"),
                    "terms",
                    ("effective_from", "effective_until"),
                    "reason",
                )
            },
        ),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("lookup_key", "state"),
                    ("account_link", "agreed"),
                    ("since", "until"),
                    ("created_by", "public_id"),
                    "reason",
                    ("ended_by", "end_reason"),
                )
            },
        ),
        ("Terms", {"fields": ("terms_shown",)}),
        ("Prices it replaces", {"fields": ("base_prices",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        "state",
        "account_link",
        "agreed",
        "since",
        "until",
        "public_id",
        "terms_shown",
        "base_prices",
        "timeline",
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    since = timestamp_display("effective_from", zone="account.timezone", description="For periods from")
    until = timestamp_display("effective_until", zone="account.timezone", description="Until")
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[PriceOverride]:
        rows: QuerySet[PriceOverride] = super().get_queryset(request)
        return with_currency(rows)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Agreeing on a price is a decision of its own, not part of keeping accounts."""
        return bool(request.user.has_perm(PERMISSION))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.add_fieldsets if obj is None else super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else super().get_readonly_fields(request, obj)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"effective_from": clock.now().date(), **super().get_changeform_initial_data(request)}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PriceOverride], search_term: str
    ) -> tuple[QuerySet[PriceOverride], bool]:
        key = PriceOverride.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    def save_with_service(self, request: HttpRequest, form: Any, change: bool) -> PriceOverride:
        values = form.cleaned_data
        account: Account = values["account"]
        price = dict(values["terms"])
        if values["model"]:
            price["model"] = values["model"]
        if values["unit_amount"].strip():
            price["unit_amount"] = read_amount(values["unit_amount"].strip())
        until = values["effective_until"]
        try:
            return set_price_override(
                account=account,
                lookup_key=values["lookup_key"],
                price=price,
                effective_from=local_midnight(values["effective_from"], account.zone),
                effective_until=local_midnight(until, account.zone) if until else None,
                at=clock.now(account),
                actor=staff_actor(request),
                reason=values["reason"],
            )
        except ValidationFailed as refusal:
            raise point_to_fields(refusal) from refusal

    def response_add(self, request: HttpRequest, obj: PriceOverride, post_url_continue: str | None = None) -> Any:
        """Back to the account, where the price shows among the others."""
        if "_save" not in request.POST:
            return super().response_add(request, obj, post_url_continue)
        self.message_user(request, f"{obj.lookup_key} is agreed on with {obj.account}.")
        return HttpResponseRedirect(reverse("admin:accounts_account_change", args=[obj.account_id]))

    @admin.display(description="Agreed")
    def agreed(self, row: Any) -> str:
        return describe_terms(row, getattr(row, "currency", None))

    @admin.display(description="State")
    def state(self, row: PriceOverride) -> SafeString:
        return badge(*get_state(row))

    @admin.display(description="As in a catalog document")
    def terms_shown(self, row: PriceOverride) -> SafeString | str:
        amount = {} if row.unit_amount is None else {"unit_amount": to_text(row.unit_amount)}
        return json_block({"model": row.model, **amount, **row.options})

    @admin.display(description="By version")
    def base_prices(self, row: PriceOverride) -> SafeString | str:
        """The plan's own prices under this key, newest version first."""
        prices = Price.objects.filter(lookup_key=row.lookup_key).select_related("plan_version__plan")
        lines = [
            (
                link_to(price.plan_version, f"{price.plan_version.plan.org_id}: {price.plan_version}"),
                "–" if price.unit_amount is None else _format_amount(price.unit_amount, price.currency),
                price.model.replace("_", " "),
            )
            for price in prices.order_by("-plan_version__version", "-id")[:10]
        ]
        return format_html_join("", '<div>{}: {} <span class="ch-muted">{}</span></div>', lines) or NOTHING

    @service_action(
        description="End this price",
        permission=PERMISSION,
        effect="Billing periods that start from then on have the plan's price again. What is billed stays billed.",
        warnings=lambda rows: [
            f"{row.lookup_key} has not begun: ending it before {row.effective_from:%Y-%m-%d} withdraws it altogether."
            for row in rows
            if get_state(row)[0] == "to come"
        ],
        allowed=lambda row: get_state(row)[0] in ("in force", "to come"),
        form=EndForm,
        describe=lambda row: f"{row.lookup_key}, {row.account}",
        icon="event_busy",
        variant="danger",
    )
    def end(self, request: HttpRequest, row: PriceOverride, call: Call) -> str:
        day = call.data["effective_until"]
        ended = end_price_override(
            override_id=row.pk,
            effective_until=local_midnight(day, row.account.zone) if day else call.at,
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        return f"{ended.lookup_key} holds for periods that start before {ended.effective_until:%Y-%m-%d %H:%M} UTC."


def _link_from_account(account: Account) -> PageLink | None:
    if account.status != AccountStatus.ACTIVE:
        return None
    return PageLink(
        "Negotiate a price", f"{reverse('admin:accounts_priceoverride_add')}?account={account.pk}", "handshake"
    )


register_page_link("accounts.account", _link_from_account, name="accounts.negotiate", permission=PERMISSION)
