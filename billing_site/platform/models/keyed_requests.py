"""Keyed requests that ask somebody outside: which row the first of them made, so that a repeat goes on with it."""

from __future__ import annotations

from django.db import models


class KeyedRequest(models.Model):
    """
    The row that a keyed request began, written in the same transaction.

    Answers of such requests cannot be stored with their effect, because somebody outside is asked in between.
    """

    request_key = models.CharField(max_length=64, primary_key=True)
    request_hash = models.CharField(max_length=64)
    subject_id = models.CharField(max_length=60)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "keyed_requests"
        indexes = [models.Index(fields=["created_at"], name="keyed_requests_age")]  # the hourly clean-up

    def __str__(self) -> str:
        return self.subject_id
