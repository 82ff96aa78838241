"""The transition table of subscriptions, every pair of it."""

from __future__ import annotations

import itertools

import pytest

from accounts.models import Subscription, SubscriptionStatus

# Contract chapter Subscriptions. "Any but canceled" may be canceled.
ALLOWED = {
    ("trialing", "active"),
    ("incomplete", "active"),
    ("active", "past_due"),
    ("past_due", "active"),
    ("past_due", "unpaid"),
    ("unpaid", "active"),
    ("trialing", "paused"),
    ("active", "paused"),
    ("paused", "trialing"),
    ("paused", "active"),
    *((status, "canceled") for status in SubscriptionStatus.values if status != "canceled"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(SubscriptionStatus.values, repeat=2)))
def test_can_become(before: str, after: str) -> None:
    assert Subscription(status=before).can_become(after) is ((before, after) in ALLOWED)
