"""Setups whose outcome is not known yet: which they are, and finding it out."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import F, Q

from billing_site.kernel.actors import Actor
from invoicing.gateways.port import NoProcessorAvailable, ObjectUnknown, PaymentGateway, ProviderUnavailable
from invoicing.gateways.registry import get_gateway
from invoicing.models import SetupIntent
from invoicing.models.setup_intent import SETUP_ENDED
from invoicing.services.setup_intents import ask_provider, record_setup

SWEPT_AFTER: Final = timedelta(minutes=10)
FOLLOWED_FOR: Final = timedelta(days=1)

logger = logging.getLogger(__name__)


def list_unsettled(*, at: datetime, limit: int) -> list[UUID]:
    """
    Return setups to look after, longest waiting first: calls never answered, and for a day what a browser may finish.
    """
    waiting = SetupIntent.objects.exclude(status__in=SETUP_ENDED).filter(
        Q(called_at__lte=at - SWEPT_AFTER), Q(checked_at__isnull=True) | Q(checked_at__lte=at - SWEPT_AFTER)
    )
    followed = ~Q(provider_ref="") & Q(created_at__gt=at - FOLLOWED_FOR)
    due = waiting.filter(~Q(pending_call="") | followed)
    return list(due.order_by(F("checked_at").asc(nulls_first=True), "id").values_list("pk", flat=True)[:limit])


def settle_setup(*, setup_intent_id: UUID, at: datetime, actor: Actor, gateway: PaymentGateway | None = None) -> bool:
    """
    Find out what became of a setup and record it; answers False when it must be tried again. Outside a transaction.
    """
    setup = SetupIntent.objects.select_related("account").get(pk=setup_intent_id)
    if setup.status in SETUP_ENDED:
        return True
    try:
        if setup.pending_call:
            ask_provider(setup_intent_id=setup.pk, at=at, actor=actor, gateway=gateway)
            return True
        asked = gateway or get_gateway(setup.provider_type, livemode=setup.livemode)
        state = asked.fetch_setup(setup_ref=setup.provider_ref)
    except (ProviderUnavailable, NoProcessorAvailable) as refusal:
        logger.warning("setup %s is not settled yet: %s", setup.public_id, refusal.code)
        return False
    except ObjectUnknown:
        logger.warning("setup %s is unknown to the provider", setup.public_id)
        return False
    record_setup(setup_intent_id=setup.pk, state=state, at=at, actor=actor)
    return True
