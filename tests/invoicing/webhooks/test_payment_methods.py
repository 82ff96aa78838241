"""Methods that change, come and go at the provider: signed posts by the provider's server, followed here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from accounts.models import Account, PaymentMethod
from accounts.services.payment_methods import detach_row
from billing_site.platform.models import Event
from invoicing.models import InboundEvent
from invoicing.services.provider_customers import link_provider_customer
from tests.support import world
from tests.support.stripe_hooks import HookedStripe, hooked_stripe

pytestmark = pytest.mark.django_db


@pytest.fixture
def stripe_hooks() -> Iterator[HookedStripe]:
    with hooked_stripe() as running:
        yield running


@pytest.fixture
def account(db: None) -> Account:
    world.publish()
    return world.open_account()


@pytest.fixture
def customer(stripe_hooks: HookedStripe, account: Account) -> str:
    made = stripe_hooks.client.customers.create(params={"email": "ada@example.com"})
    link_provider_customer(
        account_id=account.pk, provider_type="stripe", ref=made.id, at=world.NOVEMBER, actor=world.TESTER
    )
    return str(made.id)


@pytest.fixture
def method(stripe_hooks: HookedStripe, account: Account, customer: str) -> PaymentMethod:
    """A card that was attached on the provider's page, and came here by its event."""
    stripe_hooks.client.payment_methods.attach("pm_card_visa", params={"customer": customer})
    stripe_hooks.tell()
    return PaymentMethod.objects.get(account=account)


def read_card(method: PaymentMethod) -> tuple[Any, ...]:
    method.refresh_from_db()
    return tuple(method.card[name] for name in ("brand", "last4", "exp_month", "exp_year"))


def list_told(type: str) -> list[Event]:
    return list(Event.objects.filter(type=f"payment_method.{type}").order_by("sequence"))


class TestUpdated:
    def test_follows_the_expiry(self, stripe_hooks: HookedStripe, method: PaymentMethod) -> None:
        assert (read_card(method), method.expires_on) == (("visa", "4242", 12, 2034), date(2034, 12, 31))
        change = {"card": {"exp_month": 2, "exp_year": 2036}}
        stripe_hooks.client.payment_methods.update(method.provider_ref, params=change)
        stripe_hooks.tell()
        assert (read_card(method), method.expires_on) == (("visa", "4242", 2, 2036), date(2036, 2, 29))
        (event,) = list_told("updated")
        assert (event.object_id, event.account_id) == (method.public_id, method.account_id)
        assert event.data["card"]["exp_year"] == 2036
        assert event.previous_data is not None
        assert event.previous_data["card"]["exp_year"] == 2034
        came = InboundEvent.objects.get(type="payment_method.updated")
        assert (came.neutral_type, came.status) == ("payment_method.updated", "handled")
        assert set(stripe_hooks.answers) == {200}

    def test_by_the_bank_follows_the_new_card(self, stripe_hooks: HookedStripe, method: PaymentMethod) -> None:
        there = dict(stripe_hooks.client.payment_methods.retrieve(method.provider_ref).to_dict()["card"])
        renewed = {**there, "brand": "mastercard", "last4": "4444", "exp_year": 2039}
        stripe_hooks.server.change(method.provider_ref, {"card": renewed})
        came = stripe_hooks.send("payment_method.automatically_updated", method.provider_ref)
        assert (came.neutral_type, came.status) == ("payment_method.updated", "handled")
        assert (read_card(method), method.name) == (("mastercard", "4444", 12, 2039), "Mastercard ending in 4444")
        assert method.expires_on == date(2039, 12, 31)
        assert len(list_told("updated")) == 1

    def test_that_changes_nothing_shown_tells_nothing(self, stripe_hooks: HookedStripe, method: PaymentMethod) -> None:
        stripe_hooks.client.payment_methods.update(method.provider_ref, params={"metadata": {"a": "b"}})
        stripe_hooks.tell()
        assert InboundEvent.objects.get(type="payment_method.updated").status == "handled"
        assert list_told("updated") == []
        assert len(list_told("attached")) == 1

    def test_told_twice_changes_once(self, stripe_hooks: HookedStripe, method: PaymentMethod) -> None:
        stripe_hooks.client.payment_methods.update(method.provider_ref, params={"card": {"exp_year": 2036}})
        stripe_hooks.tell()
        stripe_hooks.send("payment_method.updated", method.provider_ref)
        assert len(list_told("updated")) == 1

    def test_of_nobody_is_kept(self, stripe_hooks: HookedStripe, account: Account) -> None:
        stranger = stripe_hooks.client.customers.create(params={"email": "eve@example.com"})
        there = stripe_hooks.client.payment_methods.attach("pm_card_visa", params={"customer": stranger.id})
        stripe_hooks.client.payment_methods.update(there.id, params={"card": {"exp_year": 2036}})
        stripe_hooks.tell()
        assert not PaymentMethod.objects.exists()
        came = InboundEvent.objects.get(type="payment_method.updated")
        assert (came.status, came.account_id) == ("stored", None)


class TestAttached:
    def test_counts_as_not_verified(self, method: PaymentMethod) -> None:
        assert (method.status, method.verified_at, method.is_default) == ("attached", None, True)

    def test_is_added_once(self, stripe_hooks: HookedStripe, method: PaymentMethod) -> None:
        stripe_hooks.send("payment_method.attached", method.provider_ref)
        assert PaymentMethod.objects.count() == 1
        assert len(list_told("attached")) == 1

    def test_does_not_bring_back_what_was_let_go_here(self, stripe_hooks: HookedStripe, method: PaymentMethod) -> None:
        # The provider has not been asked yet to forget it, and still tells of it.
        detach_row(method_id=method.pk, at=world.NOVEMBER, actor=world.TESTER)
        came = stripe_hooks.send("payment_method.updated", method.provider_ref)
        assert (came.status, PaymentMethod.objects.get().status) == ("handled", "detached")
        assert len(list_told("attached")) == 1


class TestDetached:
    def test_gives_the_default_to_the_newest_that_is_left(
        self, stripe_hooks: HookedStripe, method: PaymentMethod, customer: str
    ) -> None:
        for name in ("pm_card_mastercard", "pm_card_amex"):
            stripe_hooks.client.payment_methods.attach(name, params={"customer": customer})
            stripe_hooks.tell()
        stripe_hooks.client.payment_methods.detach(method.provider_ref)
        stripe_hooks.tell()
        method.refresh_from_db()
        assert (method.status, method.is_default, method.released_at is not None) == ("detached", False, True)
        assert PaymentMethod.objects.get(is_default=True).card["brand"] == "amex"
        (moved,) = list_told("default_changed")
        assert moved.previous_data == {"payment_method_id": method.public_id}
        assert len(list_told("detached")) == 1

    def test_takes_the_only_one_of_who_pays(
        self, stripe_hooks: HookedStripe, account: Account, method: PaymentMethod
    ) -> None:
        world.subscribe(account)
        stripe_hooks.client.payment_methods.detach(method.provider_ref)
        stripe_hooks.tell()
        method.refresh_from_db()
        assert method.status == "detached"
        assert not PaymentMethod.objects.filter(status="attached").exists()
