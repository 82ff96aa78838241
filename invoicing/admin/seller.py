"""Sellers: who stands on the documents, and whose accounts they bill."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from billing_site.backoffice.actions import Call, ReasonForm, service_action, staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import NOTHING
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from invoicing.admin.journal import JournalPage
from invoicing.documents.logos import MAX_BYTES, embed_logo
from invoicing.models import Seller
from invoicing.services.seller_logos import change_logo
from invoicing.services.sellers import create_seller, make_default_seller, update_seller


class TaxIdsField(forms.CharField):
    """Tax numbers as text, one a line: `Tax number: 30/123/45678`."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(": ".join(filter(None, (row.get("label"), row.get("value")))) for row in value)

    def clean(self, value: Any) -> Any:
        rows = []
        for line in str(super().clean(value)).splitlines():
            if line.strip():
                label, colon, number = line.rpartition(":")
                rows.append({"label": label.strip() if colon else "", "value": number.strip()})
        return rows

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.clean(data) != (initial or []))


class SellerForm(ModelForm):  # type: ignore[type-arg]
    other_tax_ids = TaxIdsField(
        required=False, label="Other tax numbers", help_text="Printed below the tax id; one a line, as Label: number."
    )

    class Meta:
        model = Seller
        fields = "__all__"  # noqa: DJ007 - the page names its fields


class LogoForm(ReasonForm):
    """The picture; none takes the present one away."""

    logo = forms.FileField(
        required=False,
        label="Picture",
        help_text=f"PNG or SVG, at most {MAX_BYTES // 1000} kB. Without a file the documents have no logo any more.",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".png,.svg,image/png,image/svg+xml"}),
    )


@admin.register(Seller)
class SellerAdmin(JournalPage, BackOfficeAdmin):
    """Legal entities of an organization; later invoices carry what is written here then."""

    form = SellerForm
    nav_order = 30
    empty_title = "No seller yet"
    empty_text = (
        "The first invoice of an organization makes its seller from the settings; edit name, address and tax id here."
    )
    list_display = ("name", "org_id", "is_default", "country", "tax_id", "invoice_prefix", "account_count")
    search_fields = ("=org_id", "name")
    actions_detail = ("picture", "take_over")
    fieldsets = (
        (None, {"fields": (("name", "org_id"), ("email", "is_default"), "tax_id", "other_tax_ids")}),
        ("Address", {"fields": ("line1", "line2", ("postal_code", "city"), ("state", "country"))}),
        (
            "Documents",
            {
                "fields": (
                    ("invoice_prefix", "credit_note_prefix"),
                    ("numbering", "due_days"),
                    ("rounding", "tax_mode"),
                    "language",
                    "footer",
                    "shown_logo",
                )
            },
        ),
        ("Accounting", {"fields": ("ledger_codes",)}),
        ("How to pay", {"fields": (("account_holder", "bank_name"), ("iban", "bic"), "payment_text")}),
        (
            "Policies",
            {
                "fields": (
                    ("proration_unit", "proration_basis"),
                    ("alignment", "interval_change"),
                    ("pause_credit", "cancel_unused"),
                    ("payment_gated", "voiding_allowed"),
                    ("late_usage_periods", "grace_hours"),
                    "invoice_grouping",
                ),
                "description": "They hold for what begins, changes or ends from now on. A plan's own proration wins.",
            },
        ),
        (
            "Mails",
            {
                "fields": (("mails_invoices", "mails_receipts"), ("mails_credit_notes", "mails_dunning")),
                "description": "In the language of the account, with the document. Messages out tells what became of "
                "each.",
            },
        ),
        (
            "Held for review",
            {
                "fields": (("review_factor", "review_negative"), "review_amounts", "review_approval"),
                "description": "What billing runs do not issue by themselves: it waits in the review queue.",
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("is_default", "shown_logo", "timeline")
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Seller]:
        rows: QuerySet[Seller] = super().get_queryset(request)
        return rows.select_related("logo").annotate(given=Count("assignments"))

    def get_readonly_fields(self, request: HttpRequest, obj: Seller | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "org_id") if obj is not None else self.readonly_fields

    @admin.display(description="Accounts given to it", ordering="given")
    def account_count(self, seller: Seller) -> str:
        return str(getattr(seller, "given", 0) or NOTHING)

    @admin.display(description="Logo")
    def shown_logo(self, seller: Seller) -> SafeString | str:
        if seller.logo is None:
            return NOTHING
        return format_html('<img class="ch-logo" alt="Logo" src="{}">', embed_logo(bytes(seller.logo.content)))

    def save_with_service(self, request: HttpRequest, form: ModelForm[Any], change: bool) -> Seller:
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        at, actor = clock.now(), staff_actor(request)
        if change:
            return update_seller(seller_id=form.instance.pk, changes=changes, at=at, actor=actor)
        return create_seller(org_id=changes.pop("org_id", ""), values=changes, at=at, actor=actor)

    @service_action(
        description="Change logo",
        permission="invoicing.change_seller",
        effect="Documents issued from now on show the picture; issued ones keep what they have.",
        form=LogoForm,
        icon="image",
    )
    def picture(self, request: HttpRequest, seller: Seller, call: Call) -> str:
        upload = call.data["logo"]
        logo = change_logo(
            seller_id=seller.pk,
            content=upload.read(MAX_BYTES + 1) if upload is not None else None,
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        return f"Documents of {seller} have {'a new' if logo is not None else 'no'} logo from now on."

    @service_action(
        description="Make default",
        permission="invoicing.change_seller",
        effect="It bills every account of the organization that was not given to a seller, from now on. Its policies "
        "hold for them, and its numbers.",
        allowed=lambda seller: not seller.is_default,
        icon="home_work",
    )
    def take_over(self, request: HttpRequest, seller: Seller, call: Call) -> str:
        make_default_seller(seller_id=seller.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{seller} is the default of {seller.org_id}."
