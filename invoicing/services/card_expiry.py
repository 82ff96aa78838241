"""
Warnings that the card an account is charged on ends soon: an event and a mail, once per card and day of its end.

A card that has ended is still tried, because banks renew cards under the same name. Source: docs/payment-methods.md.
"""

from __future__ import annotations

import logging
from datetime import date, datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.template.loader import render_to_string

from accounts.models import AccountStatus, PaymentMethod
from accounts.queries.payment_methods import describe_payment_method, has_paid_subscription, list_expiring_cards
from accounts.services.account_locks import lock_account
from accounts.terms.card_expiry import judge_expiry
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.periods import local_date
from billing_site.platform.models import Notice, NoticeChannel
from billing_site.platform.services import events
from billing_site.platform.services.notices import (
    Composed,
    DeliveryRefused,
    NewNotice,
    queue_notices,
    register_composer,
)
from invoicing.documents.card_mail import CardLetter, compose_card_mail, write_card_subject
from invoicing.documents.words import choose_locale
from invoicing.models import Seller
from invoicing.queries.sellers import get_sellers

logger = logging.getLogger(__name__)

EXPIRING: Final = "payment_method.expiring"
_COMPOSER: Final = "invoicing.card_expiry_mail"
_BATCH: Final = 200


def sweep_expiring_cards(*, at: datetime, actor: Actor = SYSTEM) -> int:
    """
    Warn accounts whose default card ends within `BILLING_CARD_EXPIRY_NOTICE_DAYS`, and return how many were.

    By each account's clock and zone. Call it outside a transaction: each account is one of its own, and one that fails
    is logged and met again by the next sweep.
    """
    days, warned = settings.BILLING_CARD_EXPIRY_NOTICE_DAYS, 0
    if not days:
        return 0
    for on_test_clock in (False, True):
        last: PaymentMethod | None = None
        while found := list_expiring_cards(
            at=at, notice_days=days, on_test_clock=on_test_clock, after=last, limit=_BATCH
        ):
            warned += sum(_try(method, at=at, actor=actor) for method in found)
            last = found[-1]
    return warned


def _try(method: PaymentMethod, *, at: datetime, actor: Actor) -> bool:
    try:
        return warn_of_expiry(method_id=method.pk, at=method.account.clock_time or at, actor=actor)
    except Exception:
        logger.exception("the end of payment method %s was not told", method.public_id)
        return False


@transaction.atomic
def warn_of_expiry(*, method_id: UUID, at: datetime, actor: Actor) -> bool:
    """
    Write the event and the mail that a card ends soon, and tell whether there was something to tell.

    Nothing is told of a card that is not the default any more, that was told of for this end, that nothing running is
    charged on, or that ended before anybody was told. The account's row is held, so two sweeps tell once.
    """
    found = PaymentMethod.objects.filter(pk=method_id).first()
    if found is None:
        return False
    account = lock_account(found.account_id)
    method = PaymentMethod.objects.select_for_update(of=("self",)).get(pk=method_id)
    last_day = method.expires_on
    if last_day is None or not (method.is_attached and method.is_default) or method.expiry_told == last_day:
        return False
    days = settings.BILLING_CARD_EXPIRY_NOTICE_DAYS
    if judge_expiry(last_day, today=local_date(at, account.zone), notice_days=days) != "soon":
        return False
    if account.status != AccountStatus.ACTIVE or not has_paid_subscription(account.pk, charged_on=method.pk):
        return False
    method.expiry_told = last_day
    method.save(update_fields=["expiry_told", "updated_at"])
    method.account = account
    events.emit(
        EXPIRING,
        subject=method,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=describe_payment_method(method) | {"expires_on": last_day},
    )
    seller = get_sellers([account]).of(account)
    if seller.mails_dunning:
        queue_notices([_new_mail(method, seller, last_day)])
    return True


def _new_mail(method: PaymentMethod, seller: Seller, last_day: date) -> NewNotice:
    account = method.account
    locale = choose_locale(account.language, seller.language)
    return NewNotice(
        key=f"card.expiring:{method.public_id}:{last_day}",
        channel=NoticeChannel.MAIL,
        subject=write_card_subject(seller=seller.name, locale=locale),
        recipient=account.email,
        account_id=account.pk,
        about=method.public_id,
        composer=_COMPOSER,
    )


def _compose(notice: Notice) -> Composed:
    key = PaymentMethod.parse_id(notice.about)
    if key is None:
        raise LookupError(f"{notice.about!r} is no id of a payment method")
    method = PaymentMethod.objects.select_related("account").get(pk=key)
    last_day = method.expires_on
    if last_day is None or not notice.key.endswith(f":{last_day}"):
        raise DeliveryRefused("The card was renewed before this was told.")
    if not (method.is_attached and method.is_default):
        raise DeliveryRefused("The card is not the account's default any more.")
    account = method.account
    seller = get_sellers([account]).of(account)
    text = compose_card_mail(
        CardLetter(
            seller=seller.name,
            seller_email=seller.email,
            buyer=account.company or account.name,
            locale=choose_locale(account.language, seller.language),
            brand=str(method.card.get("brand") or ""),
            last4=str(method.card.get("last4") or ""),
            last_day=last_day,
            footer=seller.footer,
            test_mode=not account.livemode,
        )
    )
    return Composed(
        subject=text.subject,
        body=render_to_string("invoicing/mail.txt", {"mail": text}),
        html=render_to_string("invoicing/mail.html", {"mail": text}),
    )


def register_card_mails() -> None:
    """Make the writer known to the outbox; called when the app is ready."""
    register_composer(_COMPOSER, _compose)
