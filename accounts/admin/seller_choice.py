"""Which legal entity bills an account, chosen on the account's page."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.models import Account
from billing_site.backoffice.actions import Call, ObjectForm, service_action
from invoicing.queries.sellers import get_sellers, list_sellers
from invoicing.services.sellers import assign_seller


class SellerChoiceForm(ObjectForm):
    """The sellers of the account's organization; the first choice is whatever is its default."""

    seller = forms.ChoiceField(required=False, label="Seller", widget=UnfoldAdminSelectWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = list_sellers(self.obj.org_id) if self.obj is not None else []
        names = [(str(seller.id), f"{seller.name} ({seller.invoice_prefix})") for seller in found]
        self.fields["seller"].choices = [("", "The default of the organization"), *names]  # type: ignore[attr-defined]


class SellerChoiceAction:
    """The button on an account's page."""

    @service_action(
        description="Choose seller",
        permission="accounts.assign_seller",
        effect=lambda accounts: " ".join(_tell_present(account) for account in accounts),
        form=SellerChoiceForm,
        icon="storefront",
    )
    def choose_seller(self, request: HttpRequest, account: Account, call: Call) -> str:
        seller = assign_seller(
            account_id=account.pk,
            seller_id=UUID(call.data["seller"]) if call.data["seller"] else None,
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        return f"{account} is billed by {seller} from now on."


def _tell_present(account: Account) -> str:
    seller = get_sellers([account]).of(account)
    present = f"{account} is billed by {seller.name} now. " if seller.name else ""
    return f"{present}Another seller issues what comes from now on, by its numbers and policies; what is issued stays."
