"""A preview that cannot show anything else than what then happens: the service itself, taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import transaction

Arguments = ParamSpec("Arguments")
Outcome = TypeVar("Outcome")


def preview(service: Callable[Arguments, Outcome], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Outcome:
    """
    Return what `service` returns, having taken back everything it wrote. Jobs it asked for are not sent.

    Rows it locked are released with it; what it refuses, it refuses here. What is checked only when a transaction is
    committed is not looked at.
    """
    with transaction.atomic():
        outcome = service(*args, **kwargs)
        transaction.set_rollback(True)
    return outcome
