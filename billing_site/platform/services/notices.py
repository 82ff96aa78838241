"""
Notices: mail and chat messages, written in the transaction of what they are about and sent after it.

An attempt is claimed in a transaction of its own, made outside any, and its outcome written in another. An attempt
whose process died counts as lost after two minutes and is made again: then, and only then, a message may arrive twice.
"""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Q, QuerySet

from billing_site.kernel import jobs
from billing_site.platform.models import Notice, NoticeChannel, NoticeStatus
from billing_site.platform.services.outgoing import DeliveryFailed, post_json

logger = logging.getLogger(__name__)

LOST_AFTER: Final = timedelta(minutes=2)
# After each failed attempt but the last the wait for the next one.
WAITS: Final = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
SWEEP_LIMIT: Final = 100
JOB_SIZE: Final = 20  # messages that one job sends
KEPT: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class NewNotice:
    """
    A message to send. `key` names what it is about and for whom: another notice with the same key is not sent.

    `recipient` is the mail address; chat has one place for all. `about` is the public id of the object behind it. With
    a `composer` the text is written when it is sent. A mail without a usable address is kept as failed, to be seen.
    """

    key: str
    channel: NoticeChannel
    subject: str
    body: str = ""
    recipient: str = ""
    account_id: UUID | None = None
    about: str = ""
    composer: str = ""


class DeliveryRefused(DeliveryFailed):
    """A message that is not tried again: it will never be taken, or is not to go out any more."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes along; `type` is its media type."""

    name: str
    content: bytes
    type: str


@dataclass(frozen=True, slots=True)
class Composed:
    """What a composer wrote: plain text, the same as HTML, and files."""

    subject: str
    body: str
    html: str = ""
    attachments: tuple[Attachment, ...] = ()


# Raises `DeliveryRefused` for what is not to be told any more.
Composer = Callable[[Notice], Composed]
_composers: dict[str, Composer] = {}


def register_composer(name: str, composer: Composer) -> None:
    """Make a writer of messages known; apps do so when they start. The same name replaces."""
    _composers[name] = composer


def queue_notices(new: Iterable[NewNotice]) -> int:
    """Write notices in the caller's transaction, have them sent after it, and return how many were new."""
    rows = [
        Notice(
            key=each.key,
            channel=each.channel,
            subject=" ".join(each.subject.split())[:255],
            body=each.body,
            recipient=each.recipient,
            account_id=each.account_id,
            about=each.about,
            composer=each.composer,
            **_find_state(each),
        )
        for each in new
    ]
    if not rows:
        return 0
    Notice.objects.bulk_create(rows, ignore_conflicts=True)
    stored = dict(Notice.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", "status"))
    waiting = [str(key) for key, status in stored.items() if status == NoticeStatus.PENDING]
    for start in range(0, len(waiting), JOB_SIZE):
        jobs.enqueue("platform.send_notices", notice_ids=waiting[start : start + JOB_SIZE])
    return len(stored)


def _find_state(new: NewNotice) -> dict[str, str]:
    """Return the columns of a mail that has nowhere to go; nothing for one that can be sent."""
    if new.channel != NoticeChannel.MAIL:
        return {}
    if not new.recipient:
        return {"status": NoticeStatus.FAILED, "error": "There is no mail address."}
    try:
        validate_email(new.recipient)
    except ValidationError:
        return {"status": NoticeStatus.FAILED, "error": "The address is not a mail address."}
    return {}


def send_notice(*, notice_id: UUID, at: datetime) -> bool:
    """
    Make one attempt at a notice that is due and tell whether it arrived; False also where there is nothing to do.

    `at` is the wall clock. Never call it in a transaction: it talks to the network.
    """
    notice = _claim(notice_id, at)
    if notice is None:
        return False
    try:
        _SENDERS[notice.channel](notice)
    except DeliveryFailed as failure:
        _record_failure(notice, str(failure), at, is_final=isinstance(failure, DeliveryRefused))
        return False
    Notice.objects.filter(pk=notice.pk, status=NoticeStatus.PENDING).update(
        status=NoticeStatus.SENT,
        sent_at=at,
        due_at=None,
        error="",
        updated_at=at,
        subject=notice.subject,
        body=notice.body,
    )
    return True


def sweep_notices(*, at: datetime) -> int:
    """Make an attempt at everything that is due, at most a hundred, longest waiting first; return how many arrived."""
    due = list(_select_due(at).order_by("due_at", "id").values_list("pk", flat=True)[:SWEEP_LIMIT])
    return sum(send_notice(notice_id=notice_id, at=at) for notice_id in due)


def purge_notices(*, at: datetime) -> int:
    """Delete messages that were sent or given up 90 days ago, for they hold addresses; return how many there were."""
    ended = Notice.objects.exclude(status=NoticeStatus.PENDING).filter(updated_at__lt=at - KEPT)
    return ended.delete()[0]


def _select_due(at: datetime) -> QuerySet[Notice]:
    return Notice.objects.filter(Q(due_at__isnull=True) | Q(due_at__lte=at), status=NoticeStatus.PENDING)


@transaction.atomic
def _claim(notice_id: UUID, at: datetime) -> Notice | None:
    """Take a notice for one attempt, or return None when it is not due or somebody else has it."""
    notice = _select_due(at).select_for_update(skip_locked=True).filter(pk=notice_id).first()
    if notice is None:
        return None
    notice.attempts += 1
    notice.due_at = at + LOST_AFTER
    notice.save(update_fields=["attempts", "due_at", "updated_at"])
    return notice


def _record_failure(notice: Notice, error: str, at: datetime, *, is_final: bool) -> None:
    last = is_final or notice.attempts > len(WAITS)
    Notice.objects.filter(pk=notice.pk, status=NoticeStatus.PENDING).update(
        status=NoticeStatus.FAILED if last else NoticeStatus.PENDING,
        due_at=None if last else at + WAITS[notice.attempts - 1],
        error=error[:500],
        updated_at=at,
    )


# ---- channels -------------------------------------------------------------------------------------------------------
def _compose(notice: Notice) -> Composed:
    """Return the message; one that a composer writes is put on the row, to be kept when it is sent."""
    if not notice.composer:
        return Composed(notice.subject, notice.body)
    try:
        composed = _composers[notice.composer](notice)
    except DeliveryFailed:
        raise
    except Exception as error:  # whatever is wrong with one message, the others are sent
        logger.exception("message %s cannot be written", notice.public_id)
        raise DeliveryFailed(f"The message could not be written: {type(error).__name__}.") from error
    notice.subject, notice.body = " ".join(composed.subject.split())[:255], composed.body
    return composed


def _send_mail(notice: Notice) -> None:
    if not settings.EMAIL_BACKEND:
        raise DeliveryFailed("No mail server is set: BILLING_EMAIL_URL.")
    composed = _compose(notice)
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    message = EmailMultiAlternatives(
        notice.subject,
        notice.body,
        settings.DEFAULT_FROM_EMAIL,
        [notice.recipient],
        # Of two attempts that both arrived, a mailbox can tell that they are one message.
        headers={"Message-ID": f"<{notice.public_id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
    if composed.html:
        message.attach_alternative(composed.html, "text/html")
    for file in composed.attachments:
        message.attach(file.name, file.content, file.type)
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        if all(500 <= code < 600 for code, _ in error.recipients.values()):
            raise DeliveryRefused("The mail server refuses the address.") from error
        raise DeliveryFailed("The mail was not taken: SMTPRecipientsRefused.") from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise DeliveryFailed(f"The mail was not taken: {type(error).__name__}.") from error


def _send_chat(notice: Notice) -> None:
    if not settings.BILLING_CHAT_WEBHOOK_URL:
        raise DeliveryFailed("No chat webhook is set: BILLING_CHAT_WEBHOOK_URL.")
    post_json(settings.BILLING_CHAT_WEBHOOK_URL, {"text": _escape(f"*{notice.subject}*\n{notice.body}")})


def _escape(text: str) -> str:
    """Return text that no chat reads as a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_SENDERS: Final[Mapping[str, Callable[[Notice], None]]] = {
    NoticeChannel.MAIL: _send_mail,
    NoticeChannel.CHAT: _send_chat,
}
