"""Items that wait for the next invoice: what waits, leaving one, taking one back."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.models import Account, AccountStatus, Subscription
from accounts.queries.access import find_account
from accounts.queries.currencies import require_currency
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_money,
    link_display,
    link_to,
    money,
    period_display,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.backoffice.page_links import PageLink, register_page_link
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import parse_major
from invoicing.models import PendingCharge
from invoicing.queries.invoice_items import (
    ITEM_STATUSES,
    ItemTerms,
    filter_items,
    get_item_status,
    get_item_terms,
    list_items,
)
from invoicing.queries.sellers import get_sellers
from invoicing.services.given_lines import NewLine
from invoicing.services.invoice_items import add_invoice_item, drop_invoice_item

PERMISSION: Final = "invoicing.edit_draft"
_TONES: Final = {"waiting": "info", "invoiced": "good", "dropped": "neutral"}


class ItemForm(ReasonForm):
    """What it is for, how much, and whose invoice it waits for."""

    account = forms.CharField(
        max_length=255, help_text="Id or external id of the account.", widget=UnfoldAdminTextInputWidget()
    )
    subscription = forms.CharField(
        required=False,
        max_length=100,
        help_text="Empty: whichever invoice of the account in this currency comes first.",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "sub_…"}),
    )
    description = forms.CharField(
        max_length=500, help_text="As the invoice will say it.", widget=UnfoldAdminTextInputWidget()
    )
    amount = forms.CharField(
        max_length=30,
        help_text="In major units, such as 25.00; below zero for a credit.",
        widget=UnfoldAdminTextInputWidget(),
    )
    currency = forms.CharField(
        max_length=3,
        required=False,
        help_text="Empty: that of the subscription, else of the account.",
        widget=UnfoldAdminTextInputWidget(),
    )

    def clean_account(self) -> Account:
        """Return the account that is named."""
        found = find_account(Account.objects.select_related("test_clock"), self.cleaned_data["account"].strip())
        if found is None:
            raise forms.ValidationError("There is no account with this id or external id.")
        return found

    def clean_subscription(self) -> Subscription | None:
        """Return the subscription that is named. Whose it is, the service looks at."""
        text = self.cleaned_data["subscription"].strip()
        key = Subscription.parse_id(text)
        found = None if key is None else Subscription.objects.filter(pk=key).first()
        if text and found is None:
            raise forms.ValidationError("There is no such subscription.")
        return found


class ItemStatusFilter(admin.SimpleListFilter):
    """Where items stand."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status.capitalize()) for status in ITEM_STATUSES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PendingCharge]) -> QuerySet[PendingCharge]:
        return filter_items(queryset, self.value() or "")


def _is_waiting(item: PendingCharge) -> bool:
    return get_item_status(item) == "waiting"


def _foresee_drop(items: Any) -> str:
    return " ".join(f"“{item}” is not invoiced; it stays in the list as dropped." for item in items)


@admin.register(PendingCharge)
class InvoiceItemAdmin(BackOfficeAdmin):
    """Charges and credits that people left for the next invoice."""

    financial = True
    nav_icon = "hourglass_top"
    nav_order = 12
    nav_title = "Waiting items"
    empty_title = "No item was left for an invoice"
    empty_text = "“Add an item” leaves a charge or a credit for the invoice of an account that comes next anyway."
    list_display = ("name", "amount", "state", "account_link", "subscription_link", "invoice_link", "entered")
    list_display_links = ("name",)
    list_filter = (ItemStatusFilter,)
    search_fields = ("account__name", "account__external_id", "reason")
    search_help_text = "Account, reason, or an id such as pch_…"
    actions_list = ("add_item",)
    actions_detail = ("drop",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    ("amount", "quantity"),
                    ("account_link", "subscription_link"),
                    ("covered", "invoice_link"),
                    ("entered", "dropped"),
                    ("reason", "public_id"),
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("name", "state", "amount", "quantity", "account_link", "subscription_link", "covered", "invoice_link"),
        *("entered", "dropped", "public_id", "timeline"),
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    covered = period_display("period_start", "period_end", zone="account.timezone", description="Period")
    entered = timestamp_display("created_at", description="Entered")
    dropped = timestamp_display("dropped_at", description="Dropped")
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[PendingCharge]:
        return list_items()

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read the sellers of all rows of a page together."""
        page = super().get_changelist_instance(request)
        rows = list(page.result_list)
        sellers = get_sellers([row.account for row in rows])
        for row in rows:
            row.shown_terms = get_item_terms(row, sellers.of(row.account))
        page.result_list = rows
        return page

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PendingCharge], search_term: str
    ) -> tuple[QuerySet[PendingCharge], bool]:
        key = PendingCharge.parse_id(search_term.strip())
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @admin.display(description="For")
    def name(self, item: PendingCharge) -> str:
        return str(item)

    @admin.display(description="Status")
    def state(self, item: PendingCharge) -> SafeString:
        status = get_item_status(item)
        return badge(status, _TONES[status])

    @admin.display(description="Amount")
    def amount(self, item: PendingCharge) -> SafeString | str:
        terms = _get_terms(item)
        return money(terms.amount, terms.currency)

    @admin.display(description="Quantity")
    def quantity(self, item: PendingCharge) -> str:
        return f"{_get_terms(item).quantity.normalize():f}"

    @admin.display(description="Subscription")
    def subscription_link(self, item: PendingCharge) -> SafeString | str:
        if item.subscription is None:
            return "whichever is billed first" if _is_waiting(item) else NOTHING
        return link_to(item.subscription, f"…{item.subscription.public_id[-6:]}")

    @admin.display(description="Invoice")
    def invoice_link(self, item: PendingCharge) -> SafeString | str:
        return link_to(item.invoice) if get_item_status(item) == "invoiced" else NOTHING

    @service_action(
        description="Add an item",
        permission=PERMISSION,
        effect="The next invoice has it as a line, discounted and taxed like every other. A credit above the limit of "
        "this installation takes a second person, and is given as invoice credit on the account's page.",
        form=ItemForm,
        icon="add",
        variant="primary",
        confirm_label="Add",
    )
    def add_item(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        account: Account = call.data["account"]
        subscription: Subscription | None = call.data["subscription"]
        given = call.data["currency"].strip().lower()
        currency = require_currency(given or (account if subscription is None else subscription).currency)
        try:
            amount = parse_major(call.data["amount"].strip(), currency)
        except ValueError as error:
            raise ValidationFailed.of("/amount", "invalid", f"That is no amount of {currency.upper()}.") from error
        item = add_invoice_item(
            account=account,
            subscription=subscription,
            line=NewLine(call.data["description"], amount),
            currency=currency,
            at=account.clock_time or call.at,
            actor=call.actor,
            reason=call.reason,
        )
        self.message_user(request, f"{format_money(amount, currency)} waits for the next invoice of {account}.")
        return HttpResponseRedirect(reverse("admin:invoicing_pendingcharge_change", args=[item.pk]))

    @service_action(
        description="Drop",
        permission=PERMISSION,
        effect=_foresee_drop,
        allowed=_is_waiting,
        icon="delete",
        variant="danger",
    )
    def drop(self, request: HttpRequest, item: PendingCharge, call: Call) -> str:
        drop_invoice_item(item_id=item.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"“{item}” waits no more."


def _get_terms(item: PendingCharge) -> ItemTerms:
    """Return what an item says; rows of a list have it already."""
    known: ItemTerms | None = getattr(item, "shown_terms", None)
    if known is None:
        known = get_item_terms(item, get_sellers([item.account]).of(item.account))
        item.shown_terms = known  # type: ignore[attr-defined]
    return known


def _link_to_add(obj: Account | Subscription) -> PageLink | None:
    account = obj if isinstance(obj, Account) else obj.account
    if account.status != AccountStatus.ACTIVE or (isinstance(obj, Subscription) and not obj.is_running):
        return None
    named = {"account": account.external_id or account.public_id}
    if isinstance(obj, Subscription):
        named["subscription"] = obj.public_id
    return PageLink("Add an item", f"{reverse('admin:invoicing_pendingcharge_add_item')}?{urlencode(named)}", "add")


def _link_to_waiting(obj: Account | Subscription) -> PageLink | None:
    items = filter_items(list_items(), "waiting")
    items = items.filter(account=obj) if isinstance(obj, Account) else items.filter(subscription=obj)
    if not (count := items.count()):
        return None
    name = "account__id__exact" if isinstance(obj, Account) else "subscription__id__exact"
    query = urlencode({"status": "waiting", name: str(obj.pk)})
    address = reverse("admin:invoicing_pendingcharge_changelist")
    return PageLink(f"{count} waiting", f"{address}?{query}", "hourglass_top")


for _model in ("accounts.account", "accounts.subscription"):
    register_page_link(_model, _link_to_add, name="invoicing.item", permission=PERMISSION)
    register_page_link(_model, _link_to_waiting, name="invoicing.items", permission="invoicing.view_pendingcharge")
