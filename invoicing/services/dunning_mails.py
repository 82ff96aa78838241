"""
Mails of dunning: one for everything of an account that failed on one day, written in the transaction of the failure.

The text is composed when it is sent, of the attempts that name the message. Source: contract chapter Dunning; ADR 0056.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast
from urllib.parse import quote

from django.conf import settings
from django.template.loader import render_to_string

from billing_site.kernel.periods import local_date
from billing_site.platform.models import Notice, NoticeChannel, NoticeStatus
from billing_site.platform.services.notices import (
    Composed,
    DeliveryRefused,
    NewNotice,
    queue_notices,
    register_composer,
)
from invoicing.calculation.dunning import EndState, Message
from invoicing.documents.dunning_mail import DunningLetter, Reminder, compose_dunning_mail, write_dunning_subject
from invoicing.documents.words import choose_locale
from invoicing.models import DunningAttempt, DunningCase, Invoice, InvoiceStatus
from invoicing.queries.documents import build_payment
from invoicing.services.invoice_mails import get_recipient

_COMPOSER: Final = "invoicing.dunning_mail"
NOT_CHARGED: Final = "not_charged"
"""Why a case is stopped whose invoice nobody charges: it is sent, or there is no method."""


def queue_dunning_mail(case: DunningCase, invoice: Invoice, message: Message, *, at: datetime) -> Notice | None:
    """
    Write the mail that tells of an attempt, or find the one of the same day that waits to be sent, and return it.

    Runs in the caller's transaction, which stores the attempt with it. None where nothing is mailed.
    """
    if message == "none" or not invoice.seller.mails_dunning:
        return None
    day = local_date(at, invoice.account.zone)
    key = f"dunning.mail:{invoice.account.public_id}:{invoice.seller.public_id}:{day}"
    today = Notice.objects.filter(key__startswith=f"{key}:")
    # While we hold it nobody can begin to send it; one that is being sent is not added to.
    waiting = today.filter(status=NoticeStatus.PENDING, attempts=0, recipient=get_recipient(invoice))
    if (found := waiting.select_for_update().order_by("id").last()) is not None:
        return found
    account, seller = invoice.account, invoice.seller
    locale = choose_locale(account.language, seller.language)
    subject = write_dunning_subject([build_reminder(case, invoice, message)], seller=seller.name, locale=locale)
    for number in range(today.count() + 1, today.count() + 100):
        new = NewNotice(
            key=f"{key}:{number}",
            channel=NoticeChannel.MAIL,
            subject=subject,
            recipient=get_recipient(invoice),
            account_id=account.pk,
            about=case.public_id,
            composer=_COMPOSER,
        )
        if queue_notices([new]):
            return Notice.objects.get(key=new.key)
    return None


def build_reminder(
    case: DunningCase, invoice: Invoice, message: Message, *, attempt: DunningAttempt | None = None
) -> Reminder:
    """Return what a mail says of an invoice, or of an attempt; the amount is what remains now."""
    zone = invoice.account.zone
    next_at = case.next_step_at if attempt is None else attempt.next_step_at
    return Reminder(
        number=invoice.number_text,
        amount=invoice.amount_remaining,
        currency=invoice.currency,
        message=message,
        next_on=None if next_at is None else local_date(next_at, zone),
        due_date=invoice.due_date,
        reason=attempt.decline_reason if attempt is not None else "",
        is_charged=case.stop_reason != NOT_CHARGED,
        is_stopped=bool(case.stop_reason) and case.stop_reason != NOT_CHARGED,
        has_subscription=invoice.subscription_id is not None or invoice.is_grouped,
        end_state=cast(EndState, case.end_state),
    )


def build_letter(invoices: Sequence[Invoice], reminders: Sequence[Reminder], *, locale: str = "") -> DunningLetter:
    """Return a letter of one account and seller about their invoices; in the account's language unless one is given."""
    account, seller = invoices[0].account, invoices[0].seller
    return DunningLetter(
        seller=seller.name,
        seller_email=seller.email,
        buyer=account.company or account.name,
        locale=locale or choose_locale(account.language, seller.language),
        timezone=account.timezone,
        reminders=tuple(reminders),
        footer=seller.footer,
        pay_url=find_pay_url(invoices[0]),
        payment=build_payment(invoices[0].seller_snapshot),
        test_mode=not invoices[0].livemode,
    )


def find_pay_url(invoice: Invoice) -> str:
    """Return where the account can pay, from `BILLING_PAY_URL`; empty where there is nothing."""
    names = {"account": invoice.account.public_id, "invoice": invoice.public_id, "number": invoice.number_text}
    found: str = settings.BILLING_PAY_URL
    for name, value in names.items():
        found = found.replace(f"{{{name}}}", quote(value, safe=""))
    return found


def render_letter(letter: DunningLetter) -> Composed:
    """Return a letter as the message that is sent."""
    text = compose_dunning_mail(letter)
    return Composed(
        subject=text.subject,
        body=render_to_string("invoicing/mail.txt", {"mail": text}),
        html=render_to_string("invoicing/mail.html", {"mail": text}),
    )


def _compose(notice: Notice) -> Composed:
    rows = (
        DunningAttempt.objects.filter(notice_id=notice.pk)
        .select_related("case", "case__invoice__account", "case__invoice__seller")
        .order_by("id")
    )
    newest = {row.case_id: row for row in rows}
    told = [row for row in newest.values() if _is_owed(row)]
    if not told:
        raise DeliveryRefused("What it was to ask for is paid, or not asked for any more.")
    invoices = [row.case.invoice for row in told]
    reminders = [build_reminder(row.case, row.case.invoice, cast(Message, row.message), attempt=row) for row in told]
    return render_letter(build_letter(invoices, reminders))


def _is_owed(attempt: DunningAttempt) -> bool:
    return attempt.case.invoice.status in (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)


def register_dunning_mails() -> None:
    """Make the writer known to the outbox; called when the app is ready."""
    register_composer(_COMPOSER, _compose)
