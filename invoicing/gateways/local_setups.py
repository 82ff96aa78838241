"""Customers, setups and hosted pages of the local provider."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.signing import Signer

from invoicing.gateways import local_store as store
from invoicing.gateways.declines import DeclineReason
from invoicing.gateways.local_cards import BANK_ACCOUNTS, DECLINES, OWN_PREFIX, TIMEOUTS, find_card, read_ref, read_word
from invoicing.gateways.orders import (
    CheckoutOrder,
    CustomerState,
    HostedPage,
    MethodState,
    ProviderStatus,
    SetupOrder,
    SetupState,
)
from invoicing.gateways.port import Payer, ProviderUnavailable
from invoicing.models import LocalProviderObject

PAGE_SALT: Final = "invoicing.local-page"
_PAGE_OPEN_FOR: Final = timedelta(hours=24)


class LocalSetups:
    """See the module."""

    def ensure_customer(self, *, payer: Payer, key: str) -> str:
        """Make a customer, once per key."""
        data = {
            "account_id": payer.account_id,
            "name": payer.name,
            "email": payer.email,
            "created_at": store.now().isoformat(),
        }
        return store.add(kind="customer", ref=store.make_ref("cus", key), key=key, data=data).ref

    def fetch_customer(self, *, customer_ref: str) -> CustomerState:
        """Return a customer."""
        return _show_customer(store.get(customer_ref, "customer"))

    def list_customers(self, *, since: datetime, until: datetime) -> Iterator[CustomerState]:
        """Yield customers made in [since, until), newest first."""
        return (_show_customer(row) for row in store.list_made("customer", since=since, until=until))

    def fetch_method(self, *, method_ref: str) -> MethodState:
        """Return a method; its name says all of it."""
        word = read_ref(method_ref)
        if word in BANK_ACCOUNTS:
            return MethodState(ref=method_ref, type="bank_account", bank_account=BANK_ACCOUNTS[word])
        return MethodState(ref=method_ref, card=find_card(word))

    # ---- setups
    def set_up(self, *, order: SetupOrder, key: str) -> SetupState:
        """Begin, or confirm, the saving of a method."""
        if (known := store.find_call(key)) is not None:
            return _show_setup(known)
        word = read_word(order.method_ref) or read_ref(order.method_ref)
        if word in TIMEOUTS:
            raise ProviderUnavailable("The payment provider did not answer in time; try again.")
        status, reason = _decide_setup(order, word)
        method_ref = _name_method(order.method_ref, word, key)
        told = {"status": status, "decline_reason": reason}
        if order.setup_ref:

            def confirm(data: dict[str, Any]) -> None:
                if data["status"] not in (ProviderStatus.SUCCEEDED, ProviderStatus.CANCELED):
                    data.update(told, method_ref=method_ref or data["method_ref"])

            return _show_setup(store.change(order.setup_ref, "setup", key, confirm))
        data = {
            "account_id": order.account_id,
            "method_ref": method_ref,
            "created_at": store.now().isoformat(),
        }
        row = store.add(
            kind="setup",
            ref=store.make_ref("seti", key),
            key=key,
            parent=order.customer_ref,
            reference=order.reference,
            data=data | told,
        )
        return _show_setup(row)

    def fetch_setup(self, *, setup_ref: str) -> SetupState:
        """Return a setup as it stands."""
        return _show_setup(store.get(setup_ref, "setup"))

    def cancel_setup(self, *, setup_ref: str, key: str) -> SetupState:
        """Give a setup up, unless it is done."""

        def give_up(data: dict[str, Any]) -> None:
            if data["status"] != ProviderStatus.SUCCEEDED:
                data["status"] = ProviderStatus.CANCELED.value

        return _show_setup(store.change(setup_ref, "setup", key, give_up))

    def authenticate_setup(self, *, setup_ref: str) -> SetupState:
        """Let the card holder answer the bank's question, as a browser would."""

        def answer(data: dict[str, Any]) -> None:
            if data["status"] == ProviderStatus.REQUIRES_ACTION:
                data["status"] = ProviderStatus.SUCCEEDED.value

        return _show_setup(store.change(setup_ref, "setup", "", answer))

    # ---- pages
    def open_checkout(self, *, order: CheckoutOrder, key: str) -> HostedPage:
        """Return a page of this site on which a test card is chosen."""
        data = {
            "account_id": order.account_id,
            "metadata": dict(order.metadata),
            "status": "open",
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            "created_at": store.now().isoformat(),
            "expires_at": (store.now() + _PAGE_OPEN_FOR).isoformat(),
        }
        row = store.add(
            kind="checkout",
            ref=store.make_ref("cs", key),
            key=key,
            parent=order.customer_ref,
            reference=order.reference,
            data=data,
        )
        return _show_page(row)

    def fetch_checkout(self, *, checkout_ref: str) -> HostedPage:
        """Return a checkout as it stands."""
        return _show_page(store.get(checkout_ref, "checkout"))

    def complete_checkout(self, *, checkout_ref: str, token: str) -> SetupState:
        """Let the payer choose a card on the page, as a browser would, and return what became of it."""
        row = store.get(checkout_ref, "checkout")
        tries = row.data.get("tries", 0)
        order = SetupOrder(
            reference="",
            account_id=row.data["account_id"],
            customer_ref=row.parent,
            method_ref=token,
            confirm=True,
        )
        state = self.set_up(order=order, key=f"{checkout_ref}:setup:{tries}")

        def note(data: dict[str, Any]) -> None:
            if data["status"] != "open":
                return
            data["tries"] = tries + 1
            if state.status == ProviderStatus.SUCCEEDED:
                data.update(status="complete", setup_ref=state.ref)

        store.change(checkout_ref, "checkout", "", note)
        return state

    def open_portal(self, *, customer_ref: str, return_url: str, key: str) -> HostedPage:
        """Return a page of this site on which methods are managed."""
        data = {
            "account_id": store.get(customer_ref, "customer").data["account_id"],
            "metadata": {},
            "status": "open",
            "success_url": return_url,
            "created_at": store.now().isoformat(),
            "expires_at": (store.now() + timedelta(hours=1)).isoformat(),
        }
        row = store.add(kind="portal", ref=store.make_ref("bps", key), key=key, parent=customer_ref, data=data)
        return _show_page(row)


def _decide_setup(order: SetupOrder, word: str) -> tuple[str, str]:
    if not order.method_ref:
        return ProviderStatus.REQUIRES_PAYMENT_METHOD.value, ""
    if not order.confirm:
        return ProviderStatus.REQUIRES_CONFIRMATION.value, ""
    if word in DECLINES:
        return ProviderStatus.REQUIRES_PAYMENT_METHOD.value, str(DECLINES[word][0])
    if word == "authenticationrequired":
        return ProviderStatus.REQUIRES_ACTION.value, ""
    return ProviderStatus.SUCCEEDED.value, ""


def _name_method(token: str, word: str, key: str) -> str:
    """Return the lasting name of a method; a token stands for a new one."""
    if not word or token.startswith(OWN_PREFIX):
        return token
    return f"{OWN_PREFIX}{word}_{hashlib.sha256(f'{key}{token}'.encode()).hexdigest()[:20]}"


def _show_customer(row: LocalProviderObject) -> CustomerState:
    data = row.data
    return CustomerState(
        ref=row.ref,
        account_id=data["account_id"],
        name=data["name"],
        email=data["email"],
        created_at=store.read_time(row),
    )


def _show_setup(row: LocalProviderObject) -> SetupState:
    data = row.data
    word = read_ref(data["method_ref"])
    reason = data["decline_reason"]
    return SetupState(
        ref=row.ref,
        status=data["status"],
        method_ref=data["method_ref"],
        method_type="bank_account" if word in BANK_ACCOUNTS else "card",
        decline_reason=reason if reason in set(DeclineReason) else "",
        client_secret=f"{row.ref}_secret",
        customer_ref=row.parent,
        reference=row.reference,
        account_id=data["account_id"],
        card={} if word in BANK_ACCOUNTS else find_card(word),
        bank_account=BANK_ACCOUNTS.get(word, {}),
    )


def _show_page(row: LocalProviderObject) -> HostedPage:
    data = row.data
    return HostedPage(
        ref=row.ref,
        url=f"/pay/{row.kind}/{Signer(salt=PAGE_SALT).sign(row.ref)}",
        expires_at=datetime.fromisoformat(data["expires_at"]),
        status=data["status"],
        customer_ref=row.parent,
        account_id=data["account_id"],
        setup_ref=data.get("setup_ref", ""),
        metadata=data["metadata"],
    )
