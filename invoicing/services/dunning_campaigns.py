"""
Dunning campaigns: terms of some accounts and plans. What is under way keeps the terms that it began with.

Source: contract chapter Dunning; ADR 0056.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import Account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import FieldError, NotFound, ValidationFailed
from billing_site.platform.services import events
from catalog.models import Plan
from invoicing.calculation.dunning import check_terms
from invoicing.models import DunningAccount, DunningCampaign, DunningEnd, DunningPlan


@dataclass(frozen=True, slots=True)
class CampaignValues:
    """What a campaign says. `delays_hours` are hours between attempts; `messages` is empty for the usual mails."""

    name: str
    delays_hours: Sequence[int]
    end_state: str = DunningEnd.UNPAID
    messages: Sequence[str] = ()
    on_overdue: bool = False
    is_active: bool = True
    plans: Collection[Plan] = field(default_factory=tuple)
    accounts: Collection[Account] = field(default_factory=tuple)


@transaction.atomic
def create_campaign(
    *, org_id: str, values: CampaignValues, at: datetime, actor: Actor, reason: str = ""
) -> DunningCampaign:
    """
    Add a campaign to an organization and return it. Plans and accounts that had another one change over to it.

    :raises ValidationFailed: for terms that cannot be, a name that is taken, or what belongs to another organization.
    """
    return _store(DunningCampaign(org_id=org_id), values, {}, at=at, actor=actor, reason=reason)


@transaction.atomic
def update_campaign(
    *, campaign_id: uuid.UUID, values: CampaignValues, at: datetime, actor: Actor, reason: str = ""
) -> DunningCampaign:
    """
    Change a campaign and return it, for what is still to begin. No difference writes nothing.

    :raises NotFound: if there is none. :raises ValidationFailed: as `create_campaign`.
    """
    campaign = DunningCampaign.objects.select_for_update().filter(pk=campaign_id).first()
    if campaign is None:
        raise NotFound("dunning_campaign")
    return _store(campaign, values, describe_campaign(campaign), at=at, actor=actor, reason=reason)


def describe_campaign(campaign: DunningCampaign) -> dict[str, Any]:
    """Return what an event says of a campaign."""
    return {
        "id": campaign.public_id,
        "name": campaign.name,
        "delays_hours": list(campaign.delays_hours),
        "end_state": str(campaign.end_state),
        "messages": [str(message) for message in campaign.messages],
        "on_overdue": campaign.on_overdue,
        "is_active": campaign.is_active,
        "plans": sorted(link.plan.key for link in campaign.plans.select_related("plan")),
        "accounts": sorted(link.account.public_id for link in campaign.accounts.select_related("account")),
    }


def _store(
    campaign: DunningCampaign,
    values: CampaignValues,
    before: Mapping[str, Any],
    *,
    at: datetime,
    actor: Actor,
    reason: str,
) -> DunningCampaign:
    _check(campaign, values)
    campaign.name = values.name.strip()
    campaign.delays_hours, campaign.end_state = list(values.delays_hours), values.end_state
    campaign.messages, campaign.on_overdue = list(values.messages), values.on_overdue
    campaign.is_active = values.is_active
    try:
        with transaction.atomic():
            campaign.save()
    except IntegrityError as error:
        if "dunning_campaigns_name_once" not in str(error):
            raise
        raise ValidationFailed.of("/name", "taken", "Another campaign has this name.") from error
    _link(campaign, values)
    after = describe_campaign(campaign)
    previous = {name: value for name, value in before.items() if after[name] != value}
    if not before or previous:
        events.emit(
            "dunning_campaign.updated" if before else "dunning_campaign.created",
            subject=campaign,
            account_id=None,
            at=at,
            actor=actor,
            data=after,
            previous=previous or None,
            reason=reason,
        )
    return campaign


def _check(campaign: DunningCampaign, values: CampaignValues) -> None:
    found = [
        FieldError(f"/{fault.field}", fault.code, fault.detail)
        for fault in check_terms(delays_hours=values.delays_hours, end_state=values.end_state, messages=values.messages)
    ]
    if not values.name.strip():
        found.append(FieldError("/name", "blank", "Give it a name."))
    if values.end_state == DunningEnd.FREE_PLAN and not settings.BILLING_DEFAULT_PLAN:
        found.append(FieldError("/end_state", "no_free_plan", "BILLING_DEFAULT_PLAN names no plan."))
    if any(plan.org_id != campaign.org_id for plan in values.plans):
        found.append(FieldError("/plans", "other_organization", "A plan belongs to another organization."))
    if any(account.org_id != campaign.org_id for account in values.accounts):
        found.append(FieldError("/accounts", "other_organization", "An account belongs to another organization."))
    if found:
        raise ValidationFailed(found[0].detail, errors=found)


def _link(campaign: DunningCampaign, values: CampaignValues) -> None:
    """Make plans and accounts those of the campaign; what had another one changes over."""
    plans, accounts = {plan.pk for plan in values.plans}, {account.pk for account in values.accounts}
    DunningPlan.objects.filter(campaign=campaign).exclude(plan__in=plans).delete()
    DunningAccount.objects.filter(campaign=campaign).exclude(account__in=accounts).delete()
    for plan_id in sorted(plans):
        DunningPlan.objects.update_or_create(plan_id=plan_id, defaults={"campaign": campaign})
    for account_id in sorted(accounts):
        DunningAccount.objects.update_or_create(account_id=account_id, defaults={"campaign": campaign})
