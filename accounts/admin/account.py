"""Accounts at a glance, the people on them, and deposits."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.admin.cost_center import render_tree
from accounts.admin.credit_grant import CreditGrantInline, GrantCreditAction
from accounts.admin.glance import build_glance
from accounts.admin.inlines import BalanceInline, EntryInline, MemberInline
from accounts.admin.money_actions import MoneyActions
from accounts.admin.payment_actions import PaymentActions
from accounts.admin.payment_method import PaymentMethodInline
from accounts.admin.price_override import PriceOverrideInline
from accounts.admin.seller_choice import SellerChoiceAction
from accounts.admin.subscription_actions import StartAction
from accounts.admin.subscription_grant import GrantPlanAction
from accounts.models import Account, LedgerAccount, LedgerKind, Member, Subscription
from accounts.models.subscription import RUNNING_STATUSES
from accounts.services.accounts import create_account, update_account
from accounts.services.members import add_member, change_member_role, remove_member
from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    link_display,
    money,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import SHOWN_EVENTS, render_timeline
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.queries.glance import get_glance


@admin.register(Account)
class AccountAdmin(
    StartAction, GrantPlanAction, GrantCreditAction, MoneyActions, PaymentActions, SellerChoiceAction, BackOfficeAdmin
):
    """Who is billed: profile, people, subscriptions, money, history."""

    nav_icon = "domain"
    nav_order = 10
    empty_title = "No account yet"
    empty_text = "Add an account here, or let your application create it through the API."
    list_display = ("name", "external_id", "org_id", "shown_currency", "prepaid", "running_plan", "state")
    list_filter = ("status", "tier", "currency", "org_id")
    search_fields = ("name", "external_id", "email")
    search_help_text = "Name, external id, e-mail, or an id such as acc_…"
    actions_detail = (
        "start",
        {
            "title": "Money",
            "icon": "payments",
            "items": [
                *("record_payment", "deposit_money", "adjust_credit", "grant_credit"),
                *("credit_settlement", "pay_out"),
            ],
        },
        "grant_plan",
        "choose_seller",
    )
    change_form_outer_before_template = "accounts/glance.html"
    inlines = (
        PaymentMethodInline,
        PriceOverrideInline,
        MemberInline,
        BalanceInline,
        CreditGrantInline,
        EntryInline,
    )
    autocomplete_fields = ("test_clock",)

    class Media:
        css = {"all": ("backoffice/desk.css", "backoffice/usage.css")}

    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "company"),
                    ("external_id", "org_id"),
                    ("email", "phone"),
                    ("status", "tier"),
                    ("public_id", "opened"),
                )
            },
        ),
        (
            "Address",
            {"fields": ("line1", "line2", ("postal_code", "city"), ("state", "country"), ("tax_id", "tax_exempt"))},
        ),
        (
            "Billing",
            {
                "fields": (
                    ("currency", "timezone"),
                    "language",
                    ("collection_method", "net_terms_days"),
                    ("grace_hours", "billing_threshold"),
                    "invoice_grouping",
                    ("org_name", "test_clock"),
                    "metadata",
                )
            },
        ),
        ("Cost centers", {"fields": ("split_by_cost_center", "cost_centers")}),
    )
    readonly_fields = ("public_id", "opened", "cost_centers")
    state = status_badge()
    opened = timestamp_display("created_at", zone="timezone", description="Opened")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        pot = LedgerAccount.objects.filter(
            account=OuterRef("pk"), kind=LedgerKind.PREPAID, currency=OuterRef("currency")
        )
        running = Subscription.objects.filter(account=OuterRef("pk"), status__in=RUNNING_STATUSES).order_by("-id")
        rows: QuerySet[Account] = super().get_queryset(request).select_related("test_clock")
        return rows.annotate(
            prepaid_balance=-Subquery(pot.values("balance")[:1]),
            plan_name=Subquery(running.values("plan_version__name")[:1]),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> tuple[str, ...]:
        fixed = ("external_id", "org_id") if obj is not None else ("status",)
        return (*self.readonly_fields, *fixed)

    def get_inlines(self, request: HttpRequest, obj: Account | None) -> Any:
        return self.inlines if obj is not None else ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Account], search_term: str
    ) -> tuple[QuerySet[Account], bool]:
        key = Account.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    def save_with_service(self, request: HttpRequest, form: ModelForm[Account], change: bool) -> Account:
        values = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            account = Account.objects.select_related("test_clock").get(pk=form.instance.pk)
            return update_account(
                account_id=account.pk, changes=values, at=clock.now(account), actor=staff_actor(request)
            )
        values = {name: value for name, value in form.cleaned_data.items() if value not in (None, "")}
        return create_account(**values, at=clock.now(), actor=staff_actor(request))

    @admin.display(description="Currency", ordering="currency")
    def shown_currency(self, account: Account) -> str:
        return account.currency.upper()

    @admin.display(description="Prepaid", ordering=F("prepaid_balance"))
    def prepaid(self, account: Account) -> SafeString | str:
        return money(getattr(account, "prepaid_balance", None) or 0, account.currency)

    @admin.display(description="Running plan", ordering=F("plan_name"))
    def running_plan(self, account: Account) -> str:
        return str(getattr(account, "plan_name", None) or NOTHING)

    @admin.display(description="Tree")
    def cost_centers(self, account: Account) -> SafeString | str:
        return NOTHING if account._state.adding else render_tree(account)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Put the account at a glance above its profile."""
        page = super().changeform_view(request, object_id, form_url, extra_context)
        context = getattr(page, "context_data", None)
        if context is not None and context.get("original") is not None:
            # A form that was refused has put what was typed on the row it showed.
            account = Account.objects.select_related("test_clock").get(pk=context["original"].pk)
            context["glance"] = build_glance(request, get_glance(account, at=clock.now(account)))
            events = Event.objects.filter(account_id=account.pk).order_by("-id")[:SHOWN_EVENTS]
            context["glance"]["timeline"] = render_timeline(list(events), zone=account.timezone, links=True)
        return page


@admin.register(Member)
class MemberAdmin(BackOfficeAdmin):
    """Who may act for an account, and how."""

    nav_icon = "group"
    nav_order = 20
    empty_title = "No member yet"
    empty_text = "People who may act for an account appear here."
    list_display = ("__str__", "account_link", "role", "user_id", "email", "since")
    list_filter = ("role",)
    list_select_related = ("account",)
    search_fields = ("user_id", "email", "name")
    autocomplete_fields = ("account",)
    fields = ("account", "user_id", "email", "name", "role")
    actions_detail = ("remove",)
    account_link = link_display("account", description="Account", ordering="account__name")
    since = timestamp_display("added_at", description="Since")

    def get_readonly_fields(self, request: HttpRequest, obj: Member | None = None) -> tuple[str, ...]:
        return () if obj is None else ("account", "user_id", "email", "name")

    def save_with_service(self, request: HttpRequest, form: ModelForm[Member], change: bool) -> Member:
        values = form.cleaned_data
        actor = staff_actor(request)
        if change:
            owner = Account.objects.select_related("test_clock").get(pk=form.instance.account_id)
            return change_member_role(member_id=form.instance.pk, role=values["role"], at=clock.now(owner), actor=actor)
        return add_member(**values, at=clock.now(values["account"]), actor=actor)

    @service_action(
        description="Remove",
        permission="accounts.change_member",
        effect="The person may no longer act for the account.",
        icon="person_remove",
        variant="danger",
    )
    def remove(self, request: HttpRequest, member: Member, call: Call) -> HttpResponse:
        remove_member(member_id=member.pk, at=call.at, actor=call.actor, reason=call.reason)
        self.message_user(request, f"{member} was removed.")
        return HttpResponseRedirect(reverse("admin:accounts_account_change", args=[member.account_id]))
