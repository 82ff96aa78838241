"""Idempotency keys: the first answer to a request, kept so that a repeat gets the same one."""

from __future__ import annotations

from django.db import models


class IdempotencyKey(models.Model):
    """The stored answer to one keyed request, written in the transaction of its effect."""

    caller = models.CharField(max_length=300)
    method = models.CharField(max_length=10)
    path = models.CharField(max_length=500)
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)
    response_status = models.PositiveSmallIntegerField()
    response_headers = models.JSONField(default=dict)
    response_body = models.BinaryField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "idempotency_keys"
        constraints = [
            models.UniqueConstraint(fields=["caller", "method", "path", "key"], name="idempotency_keys_request"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="idempotency_keys_expiry")]  # the hourly clean-up

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.key}"
