"""
Accounts at payment providers: one customer per account and provider, made once, linked both ways.

Source: contract chapters Payments, Webhooks in (account of an object); ADR 0054.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import Account
from accounts.services.account_locks import lock_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.services import events
from invoicing.gateways.port import Payer, PaymentGateway
from invoicing.models import ProviderCustomer
from invoicing.queries.provider_customers import find_provider_customer


class ProviderCustomerMismatch(DomainError):
    code, title, status = "provider_customer_mismatch", "The provider customer belongs to another account", 409


def make_payer(account: Account, *, customer_ref: str = "") -> Payer:
    """Return an account as a provider is told of it."""
    return Payer(account_id=account.public_id, name=account.name, email=account.email, customer_ref=customer_ref)


def ensure_provider_customer(
    *, account: Account, gateway: PaymentGateway, at: datetime, actor: Actor
) -> ProviderCustomer:
    """
    Return the customer that an account is at a provider; the first time the provider is asked to make one.

    Call it outside a transaction and without a lock. Two at once, and a repeat after a crash, get the same customer:
    the key of the call is the account's.
    :raises ProviderUnavailable: when the provider fails or times out.
    """
    known = find_provider_customer(account_id=account.pk, provider_type=gateway.name)
    if known is not None:
        return known
    gone = ProviderCustomer.objects.filter(account=account, provider_type=gateway.name).count()
    key = f"customer:{account.public_id}" + (f":{gone}" if gone else "")
    ref = gateway.ensure_customer(payer=make_payer(account), key=key)
    return link_provider_customer(account_id=account.pk, provider_type=gateway.name, ref=ref, at=at, actor=actor)


@transaction.atomic
def link_provider_customer(
    *, account_id: UUID, provider_type: str, ref: str, at: datetime, actor: Actor
) -> ProviderCustomer:
    """
    Tie an account to a provider's customer and return the tie; one that is there already is fine.

    :raises ProviderCustomerMismatch: when the customer is another account's, or the account has another customer.
    """
    account = lock_account(account_id)
    known = find_provider_customer(account_id=account.pk, provider_type=provider_type)
    if known is not None:
        if known.ref != ref:
            raise ProviderCustomerMismatch(f"The account is linked to another customer of {provider_type}.")
        return known
    made = ProviderCustomer(account=account, provider_type=provider_type, ref=ref, livemode=account.livemode)
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError as error:
        if "provider_customers_ref_once" not in str(error):
            raise
        raise ProviderCustomerMismatch(f"The customer of {provider_type} is linked to another account.") from None
    if not account.provider_customer_id:
        account.provider_customer_id = ref  # what usage is told of
        account.save(update_fields=["provider_customer_id", "updated_at"])
    _emit("linked", made, at=at, actor=actor)
    return made


def check_provider_customer(*, account: Account, provider_type: str, ref: str) -> ProviderCustomer:
    """
    Return the tie of an account to a customer that is named.

    :raises ProviderCustomerMismatch: unless the two are linked.
    """
    known = find_provider_customer(account_id=account.pk, provider_type=provider_type)
    if known is None or known.ref != ref:
        raise ProviderCustomerMismatch(f"This customer of {provider_type} is not linked to the account.")
    return known


@transaction.atomic
def record_customer_deleted(*, provider_type: str, ref: str, at: datetime, actor: Actor) -> ProviderCustomer | None:
    """
    Note that a provider does not have a customer any more, and return its tie; None for a customer that is not known.

    The account gets another customer when it needs one. Its methods there are gone: the provider tells each of them.
    """
    found = ProviderCustomer.objects.filter(provider_type=provider_type, ref=ref).first()
    if found is None:
        return None
    account = lock_account(found.account_id)
    found.refresh_from_db()
    if found.is_deleted:
        return found
    found.is_deleted = True
    found.save(update_fields=["is_deleted", "updated_at"])
    if account.provider_customer_id == ref:
        account.provider_customer_id = ""
        account.save(update_fields=["provider_customer_id", "updated_at"])
    _emit("deleted", found, at=at, actor=actor)
    return found


def _emit(what: str, customer: ProviderCustomer, *, at: datetime, actor: Actor) -> None:
    events.emit(
        f"provider_customer.{what}",
        subject=customer,
        account_id=customer.account_id,
        at=at,
        actor=actor,
        data={"provider": customer.provider_type, "ref": customer.ref, "is_deleted": customer.is_deleted},
    )
