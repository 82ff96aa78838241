"""What the actions on subscriptions ask for, besides the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import Account, Subscription
from accounts.services.subscriptions import MAX_QUANTITY, MAX_TRIAL_DAYS
from billing_site.backoffice.actions import ObjectForm, ReasonForm
from catalog.models import PriceInterval
from catalog.queries.plans import list_plans
from catalog.queries.revisions import find_catalog_org
from invoicing.services.cancellations import CANCELLATION_REASONS

_BY_DIRECTION: Final = ""
_EFFECTIVE: Final = (
    (_BY_DIRECTION, "As usual: dearer at once, cheaper with the next period"),
    ("immediate", "At once"),
    ("period_end", "With the next period"),
)
_PRORATION: Final = (
    (_BY_DIRECTION, "As usual: credit and charge on an invoice now, when it is at once"),
    ("always_invoice", "Credit and charge on an invoice now"),
    ("create_prorations", "Credit and charge on the next invoice"),
    ("none", "No credit and no charge"),
)
_ALIGNMENTS: Final = (
    ("", "The seller's choice"),
    ("anniversary", "Counted from the start"),
    ("calendar", "On the calendar; the first period is a part"),
)
_WHEN: Final = (("period_end", "With the running period"), ("now", "Now"))
_UNUSED: Final = (
    ("", "The seller's choice"),
    ("forfeit", "Nothing is given back"),
    ("credit", "As credit: by credit notes of what was paid"),
    ("refund", "As a refund: credit, as long as no provider can pay it back"),
)


def list_choices_of_plans(org_id: str) -> list[tuple[str, str]]:
    """Return the plans on sale to an organization, as choices. Two queries."""
    owner = find_catalog_org(org_id=org_id)
    rows = list_plans(catalog_org=owner).values_list("key", "current_version__name")
    return [(key, f"{name} ({key})") for key, name in sorted(rows, key=lambda row: str(row[1]))]


class StartForm(ObjectForm):
    """A new subscription of an account."""

    obj: Account | None
    plan = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    quantity = forms.IntegerField(
        initial=1, min_value=1, max_value=MAX_QUANTITY, widget=UnfoldAdminIntegerFieldWidget()
    )
    interval = forms.ChoiceField(choices=PriceInterval.choices, initial="month", widget=UnfoldAdminSelectWidget())
    trial_days = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_TRIAL_DAYS,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: what the plan says. 0: none.",
    )
    alignment = forms.ChoiceField(
        choices=_ALIGNMENTS, required=False, label="Boundaries", widget=UnfoldAdminSelectWidget()
    )
    billing_cycle_anchor = forms.DateField(
        required=False,
        label="A boundary on",
        widget=UnfoldAdminSingleDateWidget(),
        help_text="Boundaries are counted from this day; the first period is the part up to the next one.",
    )
    coupon = forms.CharField(required=False, max_length=100, widget=UnfoldAdminTextInputWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.obj is not None:
            _set_choices(self, "plan", list_choices_of_plans(self.obj.org_id))


class ChangeForm(ObjectForm):
    """Other terms; begins with those in force."""

    obj: Subscription | None
    plan = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    quantity = forms.IntegerField(min_value=1, max_value=MAX_QUANTITY, widget=UnfoldAdminIntegerFieldWidget())
    interval = forms.ChoiceField(choices=PriceInterval.choices, widget=UnfoldAdminSelectWidget())
    effective = forms.ChoiceField(
        choices=_EFFECTIVE, required=False, label="When", widget=UnfoldAdminRadioSelectWidget()
    )
    proration_behavior = forms.ChoiceField(
        choices=_PRORATION, required=False, label="The running period", widget=UnfoldAdminRadioSelectWidget()
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        subscription = self.obj
        if subscription is None:
            return
        version = subscription.plan_version
        choices = list_choices_of_plans(subscription.account.org_id)
        if version.plan.key not in dict(choices):
            choices.append((version.plan.key, f"{version.name} ({version.plan.key}), as it is"))
        _set_choices(self, "plan", choices)
        self.initial.setdefault("plan", version.plan.key)
        self.initial.setdefault("quantity", subscription.quantity)
        self.initial.setdefault("interval", subscription.interval)
        self.initial.setdefault("effective", _BY_DIRECTION)
        self.initial.setdefault("proration_behavior", _BY_DIRECTION)


class PauseForm(ReasonForm):
    resume_on = forms.DateField(
        required=False,
        label="Resume on",
        widget=UnfoldAdminSingleDateWidget(),
        help_text="At the beginning of this day where the account lives. Empty: until somebody resumes it.",
    )


class ExtendTrialForm(ReasonForm):
    days = forms.IntegerField(min_value=1, max_value=MAX_TRIAL_DAYS, initial=7, widget=UnfoldAdminIntegerFieldWidget())


class CancelForm(ReasonForm):
    """When it ends, and what becomes of what was paid in advance."""

    when = forms.ChoiceField(choices=_WHEN, initial="period_end", widget=UnfoldAdminRadioSelectWidget())
    unused = forms.ChoiceField(
        choices=_UNUSED,
        required=False,
        label="Unused days",
        widget=UnfoldAdminSelectWidget(),
        help_text="Counts when it ends now.",
    )
    category = forms.ChoiceField(
        choices=[("", "Not said"), *((name, name.replace("_", " ").capitalize()) for name in CANCELLATION_REASONS)],
        required=False,
        label="Why the customer leaves",
        widget=UnfoldAdminSelectWidget(),
    )


def _set_choices(form: forms.Form, name: str, choices: Sequence[tuple[str, str]]) -> None:
    form.fields[name].choices = list(choices)  # type: ignore[attr-defined]
