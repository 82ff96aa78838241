"""Messages that leave the house: mail and chat, each a row before it is sent, so that none is lost or sent twice."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from billing_site.platform.models.base import Identified, Timestamped


class NoticeChannel(models.TextChoices):
    MAIL = "mail"
    CHAT = "chat"


class NoticeStatus(models.TextChoices):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


# What may follow what; an end is final.
NOTICE_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    NoticeStatus.PENDING: frozenset({NoticeStatus.SENT, NoticeStatus.FAILED}),
    NoticeStatus.SENT: frozenset(),
    NoticeStatus.FAILED: frozenset(),
}


class Notice(Identified, Timestamped):
    """
    One message to one recipient. `key` says what it is about: the same thing is told once on a channel.

    `due_at` is when it is tried next, by the wall clock; None means at once. While an attempt is under way it lies
    where the attempt is given up for lost. `error` is why the last attempt failed. `composer` names what writes the
    text when it is sent, because it comes with files; one that had nowhere to go is written as failed.
    """

    id_prefix = "ntc"

    key = models.CharField(max_length=255, unique=True)
    channel = models.CharField(max_length=4, choices=NoticeChannel)
    recipient = models.CharField(max_length=254, blank=True)
    subject = models.CharField(max_length=255)
    body = models.TextField(blank=True)
    composer = models.CharField(max_length=40, blank=True)
    account_id = models.UUIDField(null=True, blank=True)
    about = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=7, choices=NoticeStatus, default=NoticeStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "notices"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="sent", sent_at__isnull=False) | (~Q(status="sent") & Q(sent_at__isnull=True)),
                name="notices_sent_has_time",
            ),
            models.CheckConstraint(condition=~Q(status="failed", error=""), name="notices_failed_has_error"),
            models.CheckConstraint(
                condition=~Q(channel="mail", recipient="") | Q(status="failed"), name="notices_mail_has_recipient"
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(status="pending"), name="notices_due"),  # the sweep
            models.Index(fields=["about", "-id"], name="notices_about"),  # what was sent about an object
        ]

    def __str__(self) -> str:
        return self.subject

    def can_become(self, status: str) -> bool:
        """Tell whether the table above allows the step."""
        return status in NOTICE_TRANSITIONS[self.status]
