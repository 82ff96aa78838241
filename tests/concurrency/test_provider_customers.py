"""Several requests that all need the customer of an account at once."""

from __future__ import annotations

import pytest

from invoicing.gateways.local import LocalGateway
from invoicing.models import LocalProviderObject, ProviderCustomer
from invoicing.services.provider_customers import ensure_provider_customer
from tests.factories.accounts import ACTOR, AT, make_account
from tests.support.parallel import race

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_account_gets_one_customer_however_many_ask() -> None:
    account = make_account()
    ties = race(
        *[
            lambda: ensure_provider_customer(account=account, gateway=LocalGateway(), at=AT, actor=ACTOR)
            for _ in range(8)
        ]
    )
    assert {tie.ref for tie in ties} == {ProviderCustomer.objects.get().ref}
    assert LocalProviderObject.objects.filter(kind="customer").count() == 1
