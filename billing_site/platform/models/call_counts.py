"""How often a caller has asked something lately, where asking often means guessing."""

from __future__ import annotations

from django.db import models


class CallCount(models.Model):
    """The calls of one caller to one operation since `window_start`. One row each, used over and over."""

    operation = models.CharField(max_length=100)
    caller = models.CharField(max_length=300)
    window_start = models.DateTimeField()
    calls = models.PositiveIntegerField()

    class Meta:
        db_table = "call_counts"
        constraints = [models.UniqueConstraint(fields=["operation", "caller"], name="call_counts_once")]

    def __str__(self) -> str:
        return f"{self.operation} {self.caller}: {self.calls}"
