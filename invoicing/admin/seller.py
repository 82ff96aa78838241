"""Sellers: who stands on the documents."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest

from billing_site.backoffice.actions import staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from invoicing.models import Seller
from invoicing.services.sellers import update_seller


@admin.register(Seller)
class SellerAdmin(BackOfficeAdmin):
    """One per organization, made on its first invoice; later invoices carry what is written here then."""

    nav_order = 30
    empty_title = "No seller yet"
    empty_text = (
        "The first invoice of an organization makes its seller from the settings; edit name, address and tax id here."
    )
    list_display = ("name", "org_id", "country", "tax_id", "invoice_prefix", "due_days")
    search_fields = ("=org_id", "name")
    fieldsets = (
        (None, {"fields": ("org_id", "name", "email", "tax_id")}),
        ("Address", {"fields": ("line1", "line2", ("postal_code", "city"), ("state", "country"))}),
        ("Documents", {"fields": (("invoice_prefix", "due_days"), "rounding", "footer")}),
        (
            "Policies",
            {
                "fields": (
                    ("proration_unit", "proration_basis"),
                    ("alignment", "interval_change"),
                    ("pause_credit", "cancel_unused"),
                    ("payment_gated", "voiding_allowed"),
                    "mails_invoices",
                ),
                "description": "They hold for what begins, changes or ends from now on. A plan's own proration wins.",
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("org_id", "timeline")
    timeline = timeline_display()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_with_service(self, request: HttpRequest, form: ModelForm[Any], change: bool) -> Seller:
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        return update_seller(seller_id=form.instance.pk, changes=changes, at=clock.now(), actor=staff_actor(request))
