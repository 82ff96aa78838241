"""The form of a negotiated price, and where its findings belong."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import PriceOverride, Subscription
from accounts.models.subscription import RUNNING_STATUSES
from billing_site.backoffice.actions import REASON_MIN_LENGTH, ReasonForm
from billing_site.kernel.errors import FieldError, ValidationFailed
from catalog.models import Price, PriceModel

if TYPE_CHECKING:
    BaseForm = forms.ModelForm[PriceOverride]
else:
    BaseForm = forms.ModelForm

_FIELDS: Final = frozenset(
    {"lookup_key", "model", "unit_amount", "terms", "effective_from", "effective_until", "reason"}
)


class TermsField(forms.CharField):
    """Everything a price says beside its amount, as JSON; unreadable text stays as typed."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 6, "spellcheck": "false", "placeholder": "{}"})
        super().__init__(**{"widget": widget, "required": False, **kwargs})

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        if not text.strip():
            return {}
        try:
            terms = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}", code="unreadable") from error
        if not isinstance(terms, dict):
            raise forms.ValidationError("Further terms are a JSON object.", code="not_an_object")
        return terms


class PriceOverrideForm(BaseForm):
    """A price to agree on. The checks are the service's, those of a published price."""

    lookup_key = forms.CharField(
        label="Price",
        max_length=250,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "pro:usd:month"}),
        help_text="The lookup key of the plan's price that it replaces.",
    )
    model = forms.ChoiceField(
        required=False,
        choices=[("", "Default: flat for a fee, per unit for usage"), *PriceModel.choices],
        widget=UnfoldAdminSelectWidget(),
    )
    unit_amount = forms.CharField(
        label="Amount",
        required=False,
        max_length=40,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2900"}),
        help_text="Minor units: 2900 is 29.00 USD; for usage per unit of the meter, such as 0.00004.",
    )
    terms = TermsField(
        label="Further terms",
        help_text="JSON as in a catalog document: tiers, package_size, percent, free_quantity, minimum_amount …",
    )
    effective_from = forms.DateField(
        label="For periods from",
        widget=UnfoldAdminDateWidget(),
        help_text="Billing periods that start on this day, in the account's zone, or later.",
    )
    effective_until = forms.DateField(
        label="Until",
        required=False,
        widget=UnfoldAdminDateWidget(),
        help_text="Periods that start on this day or later have the plan's price again.",
    )
    reason = forms.CharField(
        min_length=REASON_MIN_LENGTH,
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "placeholder": "Which contract, who agreed?"}),
        help_text="Stored with your name in the audit trail.",
    )

    class Meta:
        model = PriceOverride
        fields = ("account",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        source = self.data if self.is_bound else self.initial
        if keys := list_lookup_keys(source.get("account")):
            given = [key for key in [source.get("lookup_key")] if key and key not in keys]
            self.fields["lookup_key"] = forms.ChoiceField(
                label="Price",
                choices=[(key, key) for key in [*keys, *given]],
                widget=UnfoldAdminSelectWidget(),
                help_text="A price of a plan that the account is subscribed to. It holds whatever version that is.",
            )

    def _get_validation_exclusions(self) -> set[str]:
        return {field.name for field in self._meta.model._meta.get_fields()}


def list_lookup_keys(account: object) -> list[str]:
    """Return the prices in the currency of an account's running subscriptions; none where it has no subscription."""
    try:
        running = Subscription.objects.filter(account=account, status__in=RUNNING_STATUSES)  # type: ignore[misc]
        versions = [(each.plan_version_id, each.currency, each.interval) for each in running]
    except (TypeError, ValueError, ValidationError):
        return []
    wanted = Q(pk__in=[])
    for version_id, currency, interval in versions:
        wanted |= Q(plan_version=version_id, currency=currency, interval=interval)
    return list(Price.objects.filter(wanted).order_by("lookup_key").values_list("lookup_key", flat=True).distinct())


def point_to_fields(refusal: ValidationFailed) -> ValidationFailed:
    """Return the refusal with every finding at a field of the form; what is inside further terms names its place."""
    errors = []
    for finding in refusal.errors:
        first, _, rest = finding.pointer.removeprefix("/price").lstrip("/").partition("/")
        if first in _FIELDS:
            errors.append(FieldError(f"/{first}", finding.code, finding.detail))
        else:
            place = "/".join(part for part in (first, rest) if part)
            errors.append(FieldError("/terms", finding.code, f"{place}: {finding.detail}" if place else finding.detail))
    return ValidationFailed(refusal.detail, errors=errors)


class EndForm(ReasonForm):
    """From when on periods have the plan's price again."""

    effective_until = forms.DateField(
        label="Until",
        required=False,
        widget=UnfoldAdminDateWidget(),
        help_text="Periods that start on this day, in the account's zone, or later lose it. Empty: now.",
    )


def read_amount(text: str) -> int | str:
    """Return whole amounts as numbers, as a document writes them; anything else is the service's to judge."""
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() else text
