"""Sweeps that find the same card at once: the account is told once."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest

from accounts.models import PaymentMethod
from accounts.services.payment_methods import update_display_data
from billing_site.platform.models import Event, Notice
from invoicing.services.card_expiry import warn_of_expiry
from tests.factories.payment_methods import make_payment_method
from tests.support import world
from tests.support.parallel import race

pytestmark = pytest.mark.django_db(transaction=True)


def test_eight_sweeps_warn_once() -> None:
    world.publish()
    account = world.open_account(email="pay@acme.example")
    method = make_payment_method(account, at=world.NOVEMBER)
    card = {**method.card, "exp_month": 12, "exp_year": 2023}
    update_display_data(method_id=method.pk, card=card, at=world.NOVEMBER, actor=world.TESTER)
    world.subscribe(account)
    at = datetime(2023, 12, 5, tzinfo=UTC)
    warn = partial(warn_of_expiry, method_id=method.pk, at=at, actor=world.TESTER)
    assert sorted(race(*[warn] * 8)) == [False] * 7 + [True]
    assert Event.objects.filter(type="payment_method.expiring").count() == 1
    assert Notice.objects.filter(key__startswith="card.expiring:").count() == 1
    assert PaymentMethod.objects.get().expiry_told == PaymentMethod.objects.get().expires_on
