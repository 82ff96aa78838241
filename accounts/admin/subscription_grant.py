"""Plans given away from an account's page, with a second person above the limit."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from accounts.models import Account, AccountStatus
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import format_money, link_to
from billing_site.platform.models import Approval
from invoicing.services.grant_approvals import find_account, grant_or_request
from invoicing.services.subscription_grants import DEFAULT_MONTHS, GRANT_KIND, MAX_MONTHS


class GrantPlanForm(ReasonForm):
    """Which plan, and for how long."""

    plan = forms.CharField(
        max_length=100, label="Plan id", widget=UnfoldAdminTextInputWidget(), help_text="As the catalog names it."
    )
    months = forms.IntegerField(
        initial=DEFAULT_MONTHS, min_value=1, max_value=MAX_MONTHS, widget=UnfoldAdminIntegerFieldWidget()
    )


class GrantPlanAction:
    """The button on an account's page."""

    @service_action(
        description="Give a plan",
        permission="accounts.grant_subscription",
        effect=(
            "The account gets the plan without being invoiced; it ends by itself. A running grant of the same plan is "
            "extended, never shortened. Above the limit of this installation, another person must approve it first."
        ),
        allowed=lambda account: account.status == AccountStatus.ACTIVE,
        form=GrantPlanForm,
        icon="card_giftcard",
    )
    def grant_plan(self, request: HttpRequest, account: Account, call: Call) -> str:
        given = grant_or_request(
            account=account,
            plan_key=call.data["plan"].strip(),
            months=call.data["months"],
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        if isinstance(given, Approval):
            return f"{given.title} waits for the approval of another person."
        end = f"{given.subscription.current_period_end.astimezone(account.zone):%Y-%m-%d}"
        if given.created:
            return f"{account} has the plan until {end}."
        return f"The grant of {account} now ends on {end}." if given.extended else f"It runs until {end} already."


def render_grant(approval: Approval) -> SafeString | str:
    """Return what approving gives away, and to whom."""
    terms = approval.payload
    worth = "more than anybody can tell beforehand: usage comes with it, or it has no price in the account's currency"
    if approval.amount is not None:
        worth = format_money(approval.amount, approval.currency)
    return format_html(
        "<p>{} gets the plan {} for {} months and is not invoiced for it. It is worth {}.</p>",
        link_to(find_account(approval)),
        terms["plan_id"],
        terms["months"],
        worth,
    )


register_effect(GRANT_KIND, render_grant, find_subject=find_account)
