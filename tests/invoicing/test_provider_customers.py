"""Accounts at providers: made once, linked both ways, never two of one."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Account
from billing_site.platform.models import Event
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.port import Payer, ProviderUnavailable
from invoicing.models import LocalProviderObject, ProviderCustomer
from invoicing.queries.provider_customers import find_account_of_customer
from invoicing.services.provider_customers import (
    ProviderCustomerMismatch,
    check_provider_customer,
    ensure_provider_customer,
    link_provider_customer,
    record_customer_deleted,
)
from invoicing.services.provider_updates import NeutralUpdate, apply_provider_update
from tests.factories.accounts import ACTOR, AT, make_account, publish_catalog

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account("acme", email="pay@acme.example", name="Acme")


def ensure(account: Account, gateway: LocalGateway | None = None) -> ProviderCustomer:
    return ensure_provider_customer(account=account, gateway=gateway or LocalGateway(), at=AT, actor=ACTOR)


def link(account: Account, ref: str) -> ProviderCustomer:
    return link_provider_customer(account_id=account.pk, provider_type="local", ref=ref, at=AT, actor=ACTOR)


class TestEnsuring:
    def test_makes_one_and_tells_who_it_is(self, account: Account) -> None:
        first = ensure(account)
        assert ensure(account) == first
        made = LocalProviderObject.objects.get(kind="customer")
        assert (made.key, made.ref) == (f"customer:{account.public_id}", first.ref)
        assert (made.data["account_id"], made.data["email"]) == (account.public_id, "pay@acme.example")
        account.refresh_from_db()
        assert account.provider_customer_id == first.ref
        event = Event.objects.get(type="provider_customer.linked")
        assert (event.account_id, event.data["ref"]) == (account.pk, first.ref)

    def test_goes_on_with_the_customer_of_a_call_that_was_never_recorded(self, account: Account) -> None:
        class DiesAfterwards(LocalGateway):
            def ensure_customer(self, *, payer: Payer, key: str) -> str:
                super().ensure_customer(payer=payer, key=key)
                raise ProviderUnavailable

        with pytest.raises(ProviderUnavailable):
            ensure(account, DiesAfterwards())
        assert not ProviderCustomer.objects.exists()
        tie = ensure(account)
        assert [row.ref for row in LocalProviderObject.objects.filter(kind="customer")] == [tie.ref]

    def test_makes_another_one_when_the_provider_has_it_no_more(self, account: Account) -> None:
        first = ensure(account)
        record_customer_deleted(provider_type="local", ref=first.ref, at=AT, actor=ACTOR)
        second = ensure(account)
        assert second.ref != first.ref
        account.refresh_from_db()
        assert account.provider_customer_id == second.ref
        assert ensure(account) == second


class TestLinking:
    def test_the_same_again_changes_nothing(self, account: Account) -> None:
        assert link(account, "cus_1") == link(account, "cus_1")
        assert Event.objects.filter(type="provider_customer.linked").count() == 1

    def test_refuses_a_customer_of_another_account(self, account: Account) -> None:
        link(make_account("other"), "cus_1")
        with pytest.raises(ProviderCustomerMismatch):
            link(account, "cus_1")

    def test_refuses_a_second_customer(self, account: Account) -> None:
        link(account, "cus_1")
        with pytest.raises(ProviderCustomerMismatch):
            link(account, "cus_2")

    def test_the_database_ties_each_once(self, account: Account) -> None:
        link(account, "cus_1")
        for values in ({"account": account, "ref": "cus_2"}, {"account": make_account("other"), "ref": "cus_1"}):
            with pytest.raises(IntegrityError), transaction.atomic():
                ProviderCustomer.objects.create(provider_type="local", **values)

    def test_finds_the_account_by_the_customer(self, account: Account) -> None:
        link(account, "cus_1")
        assert find_account_of_customer(provider_type="local", ref="cus_1") == account
        assert find_account_of_customer(provider_type="stripe", ref="cus_1") is None

    def test_checks_that_a_named_one_is_linked(self, account: Account) -> None:
        tie = link(account, "cus_1")
        assert check_provider_customer(account=account, provider_type="local", ref="cus_1") == tie
        with pytest.raises(ProviderCustomerMismatch):
            check_provider_customer(account=account, provider_type="local", ref="cus_2")


class TestDeletedAtTheProvider:
    def test_is_noted_once(self, account: Account) -> None:
        tie = link(account, "cus_1")
        for _ in range(2):
            noted = record_customer_deleted(provider_type="local", ref="cus_1", at=AT, actor=ACTOR)
            assert noted is not None
            assert (noted.pk, noted.is_deleted) == (tie.pk, True)
        account.refresh_from_db()
        assert account.provider_customer_id == ""
        assert Event.objects.filter(type="provider_customer.deleted").count() == 1

    def test_one_that_is_not_known_is_nothing(self) -> None:
        assert record_customer_deleted(provider_type="local", ref="cus_1", at=AT, actor=ACTOR) is None


class TestToldOfASubscription:
    def tell(self, account: Account, event_id: str) -> str:
        update = NeutralUpdate(event_id, "stripe", "active", plan_id="pro", provider_customer_id="cus_1")
        return apply_provider_update(account=account, update=update, at=AT, actor=ACTOR).reason

    def test_links_the_customer(self, account: Account) -> None:
        publish_catalog()
        assert self.tell(account, "evt_1") == ""
        assert find_account_of_customer(provider_type="stripe", ref="cus_1") == account

    def test_is_not_applied_for_a_customer_of_another_account(self, account: Account) -> None:
        publish_catalog()
        self.tell(account, "evt_1")
        other = make_account("other")
        assert self.tell(other, "evt_2") == "the provider's customer belongs to another account"
        assert not other.subscriptions.exists()
