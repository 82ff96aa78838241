"""Accounts, the people who act for them, and test clocks."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from billing_site.platform.models.base import Identified, Timestamped

# How long invoices may stay drafts for usage to come.
MAX_GRACE_HOURS: Final = 720


class TestClock(Identified, Timestamped):
    """A clock that accounts may be put on and that is advanced by hand; only outside live mode."""

    __test__ = False  # the name begins with Test; this is no test case
    id_prefix = "clk"

    name = models.CharField(max_length=100)
    now_at = models.DateTimeField()

    class Meta:
        db_table = "test_clocks"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.now_at:%Y-%m-%d %H:%M}Z)"


class AccountStatus(models.TextChoices):
    ACTIVE = "active"
    CLOSED = "closed"


class Tier(models.TextChoices):
    FREE = "free"
    STARTER = "starter"
    PRO = "pro"
    ENTERPRISE = "enterprise"


class CollectionMethod(models.TextChoices):
    CHARGE_AUTOMATICALLY = "charge_automatically"
    SEND_INVOICE = "send_invoice"


class InvoiceGrouping(models.TextChoices):
    SEPARATE = "separate", "an invoice for each subscription"
    ACCOUNT = "account", "one invoice for what falls due together"


class Account(Identified, Timestamped):
    """Who is billed. References by id or `external_id` are trimmed and compared in lower case."""

    id_prefix = "acc"

    # Null, not empty, when there is none: the handle is unique.
    external_id = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001
    org_id = models.CharField(max_length=100, default="default")
    org_name = models.CharField(max_length=255, blank=True)
    name = models.CharField(max_length=255)
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=50, blank=True)
    company = models.CharField(max_length=255, blank=True)
    line1 = models.CharField(max_length=255, blank=True)
    line2 = models.CharField(max_length=255, blank=True)
    city = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    country = models.CharField(max_length=2, blank=True)
    tax_id = models.CharField(max_length=50, blank=True)
    tax_exempt = models.BooleanField(default=False, help_text="Pays no tax, whatever its place asks for.")
    provider_customer_id = models.CharField(max_length=255, blank=True)
    currency = models.CharField(max_length=3, default="usd")
    timezone = models.CharField(max_length=64, default="UTC")
    language = models.CharField(
        max_length=35, blank=True, help_text="Of its documents, such as de or en-GB; empty: the seller's."
    )
    tier = models.CharField(max_length=10, choices=Tier, default=Tier.FREE)
    status = models.CharField(max_length=6, choices=AccountStatus, default=AccountStatus.ACTIVE)
    net_terms_days = models.PositiveSmallIntegerField(null=True, blank=True)
    collection_method = models.CharField(
        max_length=20, choices=CollectionMethod, default=CollectionMethod.CHARGE_AUTOMATICALLY
    )
    # Usage lines of its invoices show one part per cost center.
    split_by_cost_center = models.BooleanField(default=False)
    invoice_grouping = models.CharField(
        max_length=8,
        choices=InvoiceGrouping,
        blank=True,
        help_text="Whether its subscriptions that fall due together share an invoice; empty: as its seller's.",
    )
    grace_hours = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        verbose_name="Grace period",
        help_text="Hours for which its invoices of the cycle stay drafts, for usage to come; empty: as its seller's.",
    )
    billing_threshold = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="Minor units of its currency at which a subscription without one of its own is invoiced early.",
    )
    test_clock = models.ForeignKey(TestClock, null=True, blank=True, on_delete=models.PROTECT, related_name="accounts")
    livemode = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "accounts"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(Lower("external_id"), name="accounts_external_id_once"),
            models.CheckConstraint(
                condition=Q(livemode=False) | Q(test_clock__isnull=True), name="accounts_no_test_clock_in_livemode"
            ),
            models.CheckConstraint(
                condition=Q(invoice_grouping__in=["", *InvoiceGrouping.values]), name="accounts_grouping_known"
            ),
            models.CheckConstraint(condition=Q(grace_hours__lte=MAX_GRACE_HOURS), name="accounts_grace_bounded"),
            models.CheckConstraint(condition=Q(billing_threshold__gt=0), name="accounts_threshold_positive"),
        ]
        indexes = [
            models.Index(fields=["org_id", "-id"], name="accounts_org_newest"),  # account list of one organization
            models.Index(Lower("email"), name="accounts_email"),  # account list by e-mail, admin search
            # The sweep that looks whose usage is invoiced early.
            models.Index(fields=["id"], condition=Q(billing_threshold__isnull=False), name="accounts_threshold"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def clock_time(self) -> datetime | None:
        """The instant of its test clock; makes an account a `kernel.clock.Clocked`."""
        return self.test_clock.now_at if self.test_clock is not None else None


class MemberRole(models.TextChoices):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class Member(Identified, Timestamped):
    """A person's role on an account. `user_id` is the subject of that person's token."""

    id_prefix = "mem"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="members")
    user_id = models.CharField(max_length=255, blank=True)
    email = models.EmailField(blank=True)
    name = models.CharField(max_length=255, blank=True)
    role = models.CharField(max_length=6, choices=MemberRole, default=MemberRole.MEMBER)
    added_at = models.DateTimeField()

    class Meta:
        db_table = "members"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "user_id"], condition=~Q(user_id=""), name="members_user_once_per_account"
            ),
            models.UniqueConstraint(
                "account", Lower("email"), condition=~Q(email=""), name="members_email_once_per_account"
            ),
            models.CheckConstraint(condition=~Q(user_id="") | ~Q(email=""), name="members_user_or_email"),
        ]
        indexes = [models.Index(fields=["user_id"], name="members_user")]  # accounts a token subject belongs to

    def __str__(self) -> str:
        return self.name or self.user_id or self.email
