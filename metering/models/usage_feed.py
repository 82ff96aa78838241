"""The usage feed: events as producers tell them, kept until a collector has stored them safely."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account
from metering.rating.export_rules import EVENT_TYPES


class FeedOutcome(models.TextChoices):
    """What billing made of an event."""

    NOT_BILLED = "not_billed", "not billed"  # no rule maps it
    COUNTED = "counted"
    REPEATED = "repeated", "counted before"
    UNCOUNTED = "uncounted", "could not be counted"


class UsageFeedEvent(models.Model):
    """
    One event of the feed.

    Its `id` is a running number: later events of one collector's page never get a lower one. An `event_id` is kept once
    per account, and after collection too, without the data, until repeats need not be recognised any more.
    `account_reference` is what the producer called an account that is not known here. `usage_key` is what its usage
    counts under, empty where that is derived. `outcome` says what billing made of it, `outcome_detail` why it could not
    be counted.
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=255, blank=True)
    event_type = models.CharField(max_length=40, choices=[(name, name) for name in EVENT_TYPES])
    org_id = models.CharField(max_length=100, blank=True)
    # As with usage events: accounts are never deleted, and the feed must not wait for billing, which locks their rows.
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    account_reference = models.CharField(max_length=64, blank=True)
    usage_key = models.CharField(max_length=255, blank=True)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    data = models.JSONField(default=dict, blank=True)
    outcome = models.CharField(max_length=10, choices=FeedOutcome, default=FeedOutcome.NOT_BILLED)
    outcome_code = models.CharField(max_length=50, blank=True)
    outcome_detail = models.CharField(max_length=500, blank=True)
    collected_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "usage_feed_events"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "account", "account_reference", "event_id"],
                condition=~Q(event_id=""),
                nulls_distinct=False,
                name="usage_feed_events_event_once",
            ),
            models.CheckConstraint(
                condition=Q(collected_at__isnull=True) | Q(data={}), name="usage_feed_events_collected_has_no_data"
            ),
            models.CheckConstraint(
                condition=~Q(outcome="uncounted") | ~Q(outcome_code=""), name="usage_feed_events_uncounted_has_reason"
            ),
        ]
        indexes = [
            # A collector's page: of everything, or of one organization.
            models.Index(
                fields=["occurred_at", "id"], condition=Q(collected_at__isnull=True), name="usage_feed_events_page"
            ),
            models.Index(
                fields=["org_id", "occurred_at", "id"],
                condition=Q(collected_at__isnull=True),
                name="usage_feed_events_org_page",
            ),
            # The nightly purge of what was collected long ago.
            models.Index(
                fields=["recorded_at"], condition=Q(collected_at__isnull=False), name="usage_feed_events_purge"
            ),
            # What could not be counted: the badge and the filter of the admin.
            models.Index(fields=["-id"], condition=Q(outcome="uncounted"), name="usage_feed_events_uncounted"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.id}"

    @property
    def is_uncounted(self) -> bool:
        return self.outcome == FeedOutcome.UNCOUNTED


class UsageFeedReading(models.Model):
    """
    Up to which event a caller has read the feed for one `before`.

    Deleting a page takes nothing that came after that: an event with an earlier time may arrive between reading and
    deleting, and would otherwise be dropped unread.
    """

    id = models.BigAutoField(primary_key=True)
    caller = models.CharField(max_length=300)
    before = models.DateTimeField()
    last_id = models.BigIntegerField()
    read_at = models.DateTimeField()

    class Meta:
        db_table = "usage_feed_readings"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["caller", "before"], name="usage_feed_readings_once")]
        indexes = [models.Index(fields=["read_at"], name="usage_feed_readings_old")]  # the nightly purge

    def __str__(self) -> str:
        return f"{self.caller} before {self.before:%Y-%m-%d %H:%M}Z"
