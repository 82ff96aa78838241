"""
What people do to subscriptions: each action shows what it comes to, then calls one service.

Source: contract chapters Subscriptions, Plan changes.
"""

from __future__ import annotations

from typing import Final, cast
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse
from unfold.enums import ActionVariant

from accounts.admin.prospects import carry_out, carry_out_on, name_subscription, say_done
from accounts.admin.subscription_forms import (
    CancelForm,
    ChangeForm,
    ExtendTrialForm,
    PauseForm,
    StartForm,
)
from accounts.models import Account, AccountStatus, Subscription, SubscriptionStatus
from accounts.terms.cancellations import UnusedTime
from accounts.terms.changes import Effective, ProrationBehavior
from billing_site.backoffice.actions import Call
from billing_site.backoffice.previews import Prospect, previewed_action
from billing_site.kernel.periods import local_midnight
from invoicing.services.cancellations import cancel_subscription, reactivate_subscription
from invoicing.services.changes import CHANGEABLE_STATUSES, ChangeRequest, change_subscription
from invoicing.services.pauses import PAUSABLE_STATUSES, pause_subscription, resume_subscription
from invoicing.services.renewals import renew_subscription
from invoicing.services.subscriptions import start_subscription
from invoicing.services.trials import extend_subscription_trial

START: Final = "accounts.start_subscription"
CHANGE: Final = "accounts.change_subscription"
PAUSE: Final = "accounts.pause_subscription"
RENEW: Final = "accounts.renew_subscription"
END: Final = "accounts.end_subscription"


def _is_changeable(subscription: Subscription) -> bool:
    return subscription.status in CHANGEABLE_STATUSES and subscription.is_billed_here


def _has_pending_change(subscription: Subscription) -> bool:
    return _is_changeable(subscription) and subscription.has_pending_change


def _is_pausable(subscription: Subscription) -> bool:
    return (
        subscription.status in PAUSABLE_STATUSES
        and subscription.is_billed_here
        and not subscription.cancel_at_period_end
    )


def _is_paused(subscription: Subscription) -> bool:
    return subscription.status == SubscriptionStatus.PAUSED


def _is_renewable(subscription: Subscription) -> bool:
    return _is_changeable(subscription) and not subscription.cancel_at_period_end


def _is_on_trial(subscription: Subscription) -> bool:
    return subscription.status == SubscriptionStatus.TRIALING and subscription.is_billed_here


def _is_running(subscription: Subscription) -> bool:
    return subscription.is_running and subscription.is_billed_here


def _is_ending(subscription: Subscription) -> bool:
    return _is_running(subscription) and subscription.cancel_at_period_end


class StartAction:
    """The button on an account's page."""

    @previewed_action(
        description="Start a subscription",
        permission=START,
        effect="The first fee is invoiced at once when it is paid in advance and there is no trial. The next page "
        "shows what it comes to; nothing happens before you have confirmed that.",
        allowed=lambda account: account.status == AccountStatus.ACTIVE,
        form=StartForm,
        confirm_label="Start it",
        icon="add_circle",
    )
    def start(self, request: HttpRequest, account: Account, call: Call) -> Prospect:
        data = call.data

        def run() -> UUID:
            started, _ = start_subscription(
                account=account,
                plan_key=data["plan"],
                quantity=data["quantity"],
                interval=data["interval"],
                trial_period_days=data["trial_days"],
                alignment=data["alignment"] or None,
                billing_cycle_anchor=data["billing_cycle_anchor"],
                coupon_code=data["coupon"].strip(),
                at=call.at,
                actor=call.actor,
                reason=call.reason,
            )
            return started.pk

        return carry_out(
            run,
            account=account,
            subscription=None,
            at=call.at,
            message=lambda started, invoices: say_done(
                f"{started.plan_version.name} has begun for {account}.", invoices
            ),
            url=lambda started: reverse("admin:accounts_subscription_change", args=[started.pk]),
        )


class TermActions:
    """Other terms: plan, quantity, interval, trial."""

    @previewed_action(
        description="Change",
        permission=CHANGE,
        effect="Plan, quantity or interval become others, at once or with the next period. The next page shows what "
        "is credited and charged.",
        allowed=_is_changeable,
        form=ChangeForm,
        confirm_label="Change it",
        describe=name_subscription,
        icon="swap_vert",
        variant=ActionVariant.PRIMARY,
    )
    def change_terms(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        data = call.data
        asked = ChangeRequest(
            plan_key=data["plan"],
            quantity=data["quantity"],
            interval=data["interval"],
            effective=cast("Effective | None", data["effective"] or None),
            proration_behavior=cast("ProrationBehavior | None", data["proration_behavior"] or None),
        )
        return self._change(subscription, call, asked, f"The terms of {subscription.account} were changed.")

    @previewed_action(
        description="Take the change back",
        permission=CHANGE,
        effect="What was to take over with the next period is forgotten; the subscription goes on as it is.",
        allowed=_has_pending_change,
        confirm_label="Take it back",
        describe=name_subscription,
        icon="undo",
    )
    def drop_change(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        return self._change(subscription, call, ChangeRequest(), "The change was taken back.")

    @previewed_action(
        description="Extend the trial",
        permission=CHANGE,
        effect="The trial ends some days later, and the first paid period begins then. Nothing is billed.",
        allowed=_is_on_trial,
        form=ExtendTrialForm,
        confirm_label="Extend it",
        describe=name_subscription,
        icon="hourglass_top",
    )
    def extend_trial(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        return carry_out_on(
            subscription,
            call,
            f"The trial of {subscription.account} was extended.",
            lambda: extend_subscription_trial(
                subscription_id=subscription.pk,
                days=call.data["days"],
                at=call.at,
                actor=call.actor,
                reason=call.reason,
            ),
        )

    def _change(self, subscription: Subscription, call: Call, asked: ChangeRequest, done: str) -> Prospect:
        return carry_out_on(
            subscription,
            call,
            done,
            lambda: change_subscription(
                subscription_id=subscription.pk,
                request=asked,
                at=call.at,
                actor=call.actor,
                reason=call.reason,
                expected_revision=call.revision,
            ),
        )


class LifeActions:
    """Pauses, renewals and ends."""

    @previewed_action(
        description="Pause",
        permission=PAUSE,
        effect="Billing and access stop. What is unused then is settled when the subscription is resumed.",
        allowed=_is_pausable,
        form=PauseForm,
        confirm_label="Pause it",
        describe=name_subscription,
        icon="pause",
    )
    def pause(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        day = call.data["resume_on"]
        resume_at = None if day is None else local_midnight(day, subscription.zone)
        return carry_out_on(
            subscription,
            call,
            f"The subscription of {subscription.account} is paused.",
            lambda: pause_subscription(
                subscription_id=subscription.pk,
                resume_at=resume_at,
                at=call.at,
                actor=call.actor,
                reason=call.reason,
            ),
        )

    @previewed_action(
        description="Resume",
        permission=PAUSE,
        effect="Billing and access go on. The days of the pause are given back as the seller has chosen, and the rest "
        "of the running period is charged.",
        allowed=_is_paused,
        confirm_label="Resume it",
        describe=name_subscription,
        icon="play_arrow",
        variant=ActionVariant.PRIMARY,
    )
    def resume(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        return carry_out_on(
            subscription,
            call,
            f"The subscription of {subscription.account} goes on.",
            lambda: resume_subscription(
                subscription_id=subscription.pk, at=call.at, actor=call.actor, reason=call.reason
            ),
        )

    @previewed_action(
        description="Renew now",
        permission=RENEW,
        effect="The next period is billed now, with the usage so far; it begins where the running one ends.",
        allowed=_is_renewable,
        confirm_label="Renew it",
        describe=name_subscription,
        icon="update",
    )
    def renew(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        return carry_out_on(
            subscription,
            call,
            f"The subscription of {subscription.account} is renewed.",
            lambda: renew_subscription(
                subscription_id=subscription.pk, at=call.at, actor=call.actor, reason=call.reason
            ),
        )

    @previewed_action(
        description="Cancel",
        permission=END,
        effect="It ends with the running period, or now: then usage so far is invoiced. What waits is dropped, and its "
        "schedule is canceled.",
        allowed=_is_running,
        form=CancelForm,
        confirm_label="Cancel the subscription",
        describe=name_subscription,
        icon="event_busy",
        variant=ActionVariant.DANGER,
    )
    def cancel(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        data = call.data
        at_period_end = data["when"] == "period_end"
        done = "ends with its period" if at_period_end else "has ended"
        return carry_out_on(
            subscription,
            call,
            f"The subscription of {subscription.account} {done}.",
            lambda: cancel_subscription(
                subscription_id=subscription.pk,
                at_period_end=at_period_end,
                unused=cast("UnusedTime | None", data["unused"] or None),
                reason=data["category"],
                comment=call.reason,
                at=call.at,
                actor=call.actor,
            ),
        )

    @previewed_action(
        description="Reactivate",
        permission=END,
        effect="The scheduled end is taken back; the subscription goes on.",
        allowed=_is_ending,
        confirm_label="Reactivate it",
        describe=name_subscription,
        icon="restart_alt",
        variant=ActionVariant.PRIMARY,
    )
    def reactivate(self, request: HttpRequest, subscription: Subscription, call: Call) -> Prospect:
        return carry_out_on(
            subscription,
            call,
            f"The subscription of {subscription.account} goes on.",
            lambda: reactivate_subscription(
                subscription_id=subscription.pk, at=call.at, actor=call.actor, reason=call.reason
            ),
        )
