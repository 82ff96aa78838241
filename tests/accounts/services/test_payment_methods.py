"""Changing payment methods that are attached, choosing the default, taking one away."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Account, PaymentMethod, PaymentMethodStatus, Subscription
from accounts.queries.payment_methods import has_chargeable_method, has_paid_subscription, has_verified_method
from accounts.services.payment_methods import (
    LastPaymentMethod,
    clean_address,
    detach_row,
    name_method,
    set_default_payment_method,
    settle_attached,
    settle_refused,
    update_payment_method,
)
from accounts.services.subscriptions import PaymentMethodMissing
from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog
from tests.factories.payment_methods import make_payment_method

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    publish_catalog()
    return make_account()


def list_events(*types: str) -> list[Event]:
    return list(Event.objects.filter(type__in=types).order_by("sequence"))


def get_default(account: Account) -> PaymentMethod:
    return PaymentMethod.objects.get(account=account, is_default=True)


def detach(method: PaymentMethod, **values: Any) -> PaymentMethod:
    return detach_row(method_id=method.pk, at=AT, actor=ACTOR, **values)


class TestUpdate:
    def test_changes_parts_of_the_address_and_replaces_metadata(self, account: Account) -> None:
        method = make_payment_method(account, billing_address={"city": "Bonn", "country": "de"}, metadata={"a": 1})
        changes = {"billing_address": {"line1": " Weg 1 "}, "metadata": {"b": 2}}
        changed = update_payment_method(method_id=method.pk, changes=changes, at=AT, actor=ACTOR)
        assert {name: value for name, value in changed.billing_address.items() if value} == {
            "line1": "Weg 1",
            "city": "Bonn",
            "country": "DE",
        }
        assert changed.metadata == {"b": 2}
        (event,) = list_events("payment_method.updated")
        assert event.previous_data is not None
        assert event.previous_data["metadata"] == {"a": 1}

    def test_writes_nothing_without_a_difference(self, account: Account) -> None:
        method = make_payment_method(account, metadata={"a": 1})
        update_payment_method(method_id=method.pk, changes={"metadata": {"a": 1}}, at=AT, actor=ACTOR)
        assert list_events("payment_method.updated") == []

    def test_is_for_attached_methods_and_real_countries(self, account: Account) -> None:
        method = make_payment_method(account)
        with pytest.raises(ValidationFailed, match="ISO 3166"):
            update_payment_method(
                method_id=method.pk, changes={"billing_address": {"country": "xx"}}, at=AT, actor=ACTOR
            )
        detach(method)
        with pytest.raises(NotFound):
            update_payment_method(method_id=method.pk, changes={"metadata": {}}, at=AT, actor=ACTOR)
        with pytest.raises(TypeError, match="card"):
            update_payment_method(method_id=method.pk, changes={"card": {}}, at=AT, actor=ACTOR)


class TestSetDefault:
    def test_moves_it_and_tells_from_where(self, account: Account) -> None:
        first, second = make_payment_method(account), make_payment_method(account)
        assert get_default(account) == first
        for _ in range(2):
            set_default_payment_method(method_id=second.pk, at=AT, actor=ACTOR, reason="asked")
        assert get_default(account) == second
        (event,) = list_events("payment_method.default_changed")
        assert (event.data["id"], event.previous_data) == (second.public_id, {"payment_method_id": first.public_id})

    def test_is_for_attached_methods(self, account: Account) -> None:
        method = make_payment_method(account)
        detach(method)
        with pytest.raises(NotFound):
            set_default_payment_method(method_id=method.pk, at=AT, actor=ACTOR)


class TestDetach:
    def test_keeps_the_row_and_promotes_the_newest(self, account: Account) -> None:
        first, second, third = (make_payment_method(account) for _ in range(3))
        gone = detach(first, reason="stolen")
        assert (gone.status, gone.detached_at, gone.is_default) == (PaymentMethodStatus.DETACHED, AT, False)
        assert get_default(account) == third
        detached, changed = list_events("payment_method.detached", "payment_method.default_changed")
        assert (detached.reason, detached.previous_data) == ("stolen", {"is_default": True})
        assert changed.previous_data == {"payment_method_id": first.public_id}
        detach(second)
        assert get_default(account) == third
        assert len(list_events("payment_method.default_changed")) == 1

    def test_promotes_the_one_that_is_named(self, account: Account) -> None:
        first, second, third = (make_payment_method(account) for _ in range(3))
        detach(first, new_default_id=second.pk)
        assert get_default(account) == second
        detach(third, new_default_id=second.pk)
        assert len(list_events("payment_method.default_changed")) == 1

    def test_refuses_a_new_default_that_cannot_be(self, account: Account) -> None:
        first, foreign = make_payment_method(account), make_payment_method(make_account())
        for wrong in (foreign.pk, first.pk):
            with pytest.raises(NotFound, match="default"):
                detach(first, new_default_id=wrong)
        assert get_default(account) == first

    @pytest.mark.parametrize("status", ["trialing", "active", "past_due", "unpaid", "incomplete"])
    def test_leaves_a_paying_account_its_only_method(self, account: Account, status: str) -> None:
        method = make_payment_method(account)
        subscription = make_subscription(account, "trial")
        Subscription.objects.filter(pk=subscription.pk).update(status=status)
        with pytest.raises(LastPaymentMethod):
            detach(method)
        assert detach(method, force=True).status == PaymentMethodStatus.DETACHED

    @pytest.mark.parametrize(
        ("plan", "changes"),
        [
            ("free", {}),
            ("pro", {"status": "canceled", "ended_at": AT}),
            ("pro", {"status": "paused", "paused_at": AT}),
            ("pro", {"provider_type": "manual_grant"}),
        ],
    )
    def test_lets_it_go_where_nothing_is_paid(self, account: Account, plan: str, changes: dict[str, Any]) -> None:
        method = make_payment_method(account)
        Subscription.objects.filter(pk=make_subscription(account, plan).pk).update(**changes)
        assert not has_paid_subscription(account.pk)
        assert detach(method).status == PaymentMethodStatus.DETACHED

    def test_sends_subscriptions_that_used_it_back_to_the_default(self, account: Account) -> None:
        make_payment_method(account)
        own = make_payment_method(account)
        subscription = make_subscription(account, "pro", default_payment_method=own.public_id)
        assert subscription.default_payment_method_id == own.pk
        detach(own)
        assert Subscription.objects.get(pk=subscription.pk).default_payment_method is None
        (event,) = list_events("subscription.updated")
        assert event.previous_data == {"default_payment_method": own.public_id}

    def test_happens_once(self, account: Account) -> None:
        method = make_payment_method(account)
        detach(method)
        with pytest.raises(NotFound):
            detach(method)


class TestSettling:
    def test_happens_once(self, account: Account) -> None:
        method = make_payment_method(account)
        assert settle_refused(method_id=method.pk, decline_reason="timeout", at=AT).status == "attached"
        again = settle_attached(method_id=method.pk, at=AT, actor=ACTOR, provider_ref="pm_other")
        assert again.provider_ref == method.provider_ref
        assert len(list_events("payment_method.attached")) == 1


class TestWhatIsOnFile:
    def test_counts_while_it_is_attached(self, account: Account) -> None:
        assert not has_verified_method(account.pk)
        bank = make_payment_method(account, "btok_us", type="bank_account")
        assert (has_verified_method(account.pk), has_chargeable_method(account.pk)) == (False, True)
        card = make_payment_method(account)
        assert has_verified_method(account.pk)
        detach(card)
        detach(bank)
        assert (has_verified_method(account.pk), has_chargeable_method(account.pk)) == (False, False)


class TestRequiredMethod:
    def test_is_asked_for_where_something_costs(self, account: Account, settings: Any) -> None:
        settings.BILLING_REQUIRE_PAYMENT_METHOD = True
        with pytest.raises(PaymentMethodMissing, match="Pro costs money"):
            make_subscription(account, "pro")
        assert make_subscription(account, "free").status == "active"
        make_payment_method(account, "", type="balance")
        with pytest.raises(PaymentMethodMissing):
            make_subscription(account, "payg")
        make_payment_method(account)
        assert make_subscription(account, "payg").status == "active"

    def test_names_one_of_the_accounts_own(self, account: Account) -> None:
        foreign = make_payment_method(make_account())
        with pytest.raises(NotFound):
            make_subscription(account, "pro", default_payment_method=foreign.public_id)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("card", {"brand": "visa", "last4": "4242"}, {}), "Visa ending in 4242"),
        (("card", {}, {}), "Card"),
        (("bank_account", {}, {"bank_name": "Test Bank", "last4": "6789"}), "Test Bank ending in 6789"),
        (("bank_account", {}, {}), "Bank account"),
        (("balance", {}, {}), "Prepaid balance"),
    ],
)
def test_a_method_is_named_by_what_may_be_shown(arguments: tuple[Any, ...], name: str) -> None:
    assert name_method(*arguments) == name


def test_an_address_of_nothing_is_none() -> None:
    assert clean_address({"line1": " ", "city": ""}) == {}
