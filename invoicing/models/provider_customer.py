"""Accounts as payment providers know them, and what the local provider remembers."""

from __future__ import annotations

from django.db import models

from accounts.models import Account
from billing_site.platform.models.base import Identified, Timestamped


class ProviderCustomer(Identified, Timestamped):
    """
    A provider's name of an account. One each way: what an account pays with is kept in one place.

    `is_deleted` tells that the provider does not have it any more; the account gets another one then.
    """

    id_prefix = "pcu"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    provider_type = models.CharField(max_length=20)
    ref = models.CharField(max_length=255)
    livemode = models.BooleanField(default=False)
    is_deleted = models.BooleanField(default=False)

    class Meta:
        db_table = "provider_customers"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "provider_type"],
                condition=models.Q(is_deleted=False),
                name="provider_customers_account_once",
            ),
            models.UniqueConstraint(fields=["provider_type", "ref"], name="provider_customers_ref_once"),
        ]

    def __str__(self) -> str:
        return self.ref


class LocalProviderObject(Identified, Timestamped):
    """
    What the local provider did, so that it answers as a provider does: a key once, and what became of it.

    `kind` is payment, refund, dispute, payout, customer and so on, `key` the idempotency key of the call that made it,
    `parent` the ref of what it belongs to. `due_at` is when something is yet to happen of itself: a dispute, a payout
    that arrives.
    """

    id_prefix = "lpo"

    kind = models.CharField(max_length=20)
    ref = models.CharField(max_length=255, unique=True)
    key = models.CharField(max_length=255, blank=True)
    parent = models.CharField(max_length=255, blank=True)
    reference = models.CharField(max_length=255, blank=True)
    data = models.JSONField(default=dict)
    due_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "local_provider_objects"
        constraints = [
            models.UniqueConstraint(fields=["key"], condition=~models.Q(key=""), name="local_provider_objects_key_once")
        ]
        indexes = [
            models.Index(fields=["kind", "parent"], name="local_objects_of_parent"),
            models.Index(fields=["kind", "reference"], name="local_objects_reference"),
            models.Index(fields=["kind", "-id"], name="local_objects_newest"),
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="local_objects_due"),
        ]

    def __str__(self) -> str:
        return self.ref
