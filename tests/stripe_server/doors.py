"""What a test does to the server from inside: banks and customers that act, webhooks in trouble, a look at what is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from tests.stripe_server import cards
from tests.stripe_server.api import StripeApi
from tests.stripe_server.deliveries import Deliveries, Delivery, Plan, Receive
from tests.stripe_server.errors import StripeError
from tests.stripe_server.events import EVENT, show
from tests.stripe_server.faults import Fault, Moment
from tests.stripe_server.resources import (
    KINDS,
    balance_transactions,
    checkout,
    disputes,
    paying,
    payment_intents,
    payment_methods,
    payouts,
    refunds,
    setup_intents,
    subscriptions,
    webhook_endpoints,
)
from tests.stripe_server.signatures import HEADER, sign
from tests.stripe_server.store import Clock, Object, Store

WEBHOOK_SECRET = "whsec_" + "0" * 32


class Doors:
    """The doors of a server; `livemode` chooses the objects where it matters."""

    api: StripeApi

    @property
    def clock(self) -> Clock:
        return self.api.clock

    @property
    def deliveries(self) -> Deliveries:
        return self.api.deliveries

    def store(self, *, livemode: bool = False) -> Store:
        """The objects of a mode."""
        return self.api.stores[livemode]

    def objects(self, kind: str, *, livemode: bool = False) -> list[dict[str, Any]]:
        """The objects of a kind (`product`, `price`, `payment_intent`), oldest first."""
        return self.store(livemode=livemode).all(kind)

    def find(self, id: str, *, livemode: bool = False) -> Object:
        """Return an object by its id alone. :raises StripeError: if there is none."""
        with self.api.lock:
            return _find(self.store(livemode=livemode), id)

    def events(self, type: str = "", *, livemode: bool = False) -> list[Object]:
        """The events so far, oldest first, of one type or of all."""
        return [event for event in self.objects("event", livemode=livemode) if type in {"", event["type"]}]

    # ---- trouble with requests -----------------------------------------------------------------------------------
    def fail_next(
        self,
        status: int,
        *,
        times: int | None = 1,
        skip: int = 0,
        every: int = 1,
        method: str = "",
        path: str = "",
        moment: Moment = "before",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer with 500, 503, 429 or 409; with `moment="after"` although the work was done."""
        shown = tuple((headers or {}).items())
        self.api.faults.plan(
            Fault(
                status=status,
                times=times,
                skip=skip,
                every=every,
                method=method,
                path=path,
                moment=moment,
                headers=shown,
            )
        )

    def drop_next(
        self,
        *,
        times: int | None = 1,
        skip: int = 0,
        every: int = 1,
        method: str = "",
        path: str = "",
        moment: Moment = "before",
    ) -> None:
        """
        Close the connection: before the request is read by anyone, or after it was carried out.

        The library asks again with the same idempotency key, twice by default; `times=3` is an outage for it.
        """
        fault = Fault(drop=True, times=times, skip=skip, every=every, method=method, path=path, moment=moment)
        self.api.faults.plan(fault)

    def delay_next(
        self,
        seconds: float,
        *,
        times: int | None = 1,
        every: int = 1,
        method: str = "",
        path: str = "",
        moment: Moment = "before",
    ) -> None:
        """Be slow: before the work, or after it, so that a caller gives up on what was done."""
        fault = Fault(delay=seconds, times=times, every=every, method=method, path=path, moment=moment)
        self.api.faults.plan(fault)

    def heal(self) -> None:
        """End all trouble, of requests, webhooks and cards."""
        self.api.faults.heal()
        self.deliveries.heal()
        for store in self.api.stores.values():
            store.planned_declines.clear()

    # ---- webhooks ------------------------------------------------------------------------------------------------
    def add_endpoint(
        self,
        url: str,
        *,
        secret: str = WEBHOOK_SECRET,
        types: tuple[str, ...] = ("*",),
        livemode: bool = False,
        receive: Receive | None = None,
    ) -> str:
        """
        Send events to an address from now on; return the endpoint's id.

        With `receive(body, headers) -> status` they go to that function, in the thread that calls `deliver_all`: for
        tests whose database transaction nobody else can see.
        """
        with self.api.lock:
            store = self.store(livemode=livemode)
            endpoint = webhook_endpoints.add(store, url=url, secret=secret, enabled_events=list(types))
            if receive is not None:
                self.deliveries.receive_at(endpoint["id"], receive)
            return str(endpoint["id"])

    def deliver_all(self, *, patience: float = 60.0) -> list[Delivery]:
        """Wait until every webhook is delivered or given up, without pauses; return what that was, with the answers."""
        return self.deliveries.drain(patience=patience)

    def duplicate_webhooks(self, types: str = "*", *, times: int | None = 1, copies: int = 2) -> None:
        """Deliver each of the next `times` several times."""
        self.deliveries.plan(Plan("duplicate", types, times, copies=copies))

    def reverse_webhooks(self, times: int, types: str = "*") -> None:
        """Collect the next `times` and deliver them in the opposite order."""
        self.deliveries.plan(Plan("reverse", types, times))

    def hold_webhooks(self, types: str = "*", *, times: int | None = None) -> None:
        """Keep the next ones back until `release_webhooks`."""
        self.deliveries.plan(Plan("hold", types, times))

    def lose_webhooks(self, types: str = "*", *, times: int | None = None) -> None:
        """Never deliver the next ones."""
        self.deliveries.plan(Plan("lose", types, times))

    def delay_webhooks(self, seconds: float, types: str = "*", *, times: int | None = 1) -> None:
        """Deliver the next ones later; `deliver_all` does not wait for it."""
        self.deliveries.plan(Plan("delay", types, times, seconds=seconds))

    def release_webhooks(self, types: str = "*") -> int:
        """Deliver what was held back; return how much it is."""
        return self.deliveries.release(types)

    def resend(self, event_id: str, *, livemode: bool = False) -> None:
        """Deliver an event once more."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            self.deliveries.send(store.get(EVENT, event_id), store.all("webhook_endpoint"), is_again=True)

    def sign(self, body: bytes, *, secret: str = WEBHOOK_SECRET, at: int | None = None) -> dict[str, str]:
        """Return the signature header for a body, to post it by hand."""
        return {HEADER: sign(body, secret=secret, at=self.clock.now() if at is None else at)}

    def make_event(self, type: str, object_id: str, *, livemode: bool = False, before: Object | None = None) -> Object:
        """Make and send an event about an object as it is now, whether or not anything happened."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            found = _find(store, object_id)
            store.emit(type, KINDS[found["object"]], found, before=before)
            return store.all(EVENT)[-1]

    # ---- banks and customers -------------------------------------------------------------------------------------
    def settle(self, what: str = "", subject: str = "") -> int:
        """
        Let happen what is planned: refunds arrive or fail, disputes are born and decided, payouts are paid, fees come.

        `what` (`refund`, `dispute`, `payout`, `fee`, and only if named `lapse`: a hold ends) and `subject` (an id)
        limit it. Returns how much was done.
        """
        return self.api.run_errands(all=True, what=what, subject=subject)

    def decline_next(self, decline_code: str, *, times: int = 1, livemode: bool = False) -> None:
        """Decline the next charges, whatever the card: `insufficient_funds`, `lost_card`, `do_not_honor`."""
        if decline_code not in cards.DECLINES:
            raise ValueError(f"{decline_code} is none of {', '.join(cards.DECLINES)}")
        self.store(livemode=livemode).planned_declines += [decline_code] * times

    def change_card(self, payment_method: str, *, decline_code: str | None = None, livemode: bool = False) -> None:
        """Let a stored card be declined from now on; without a code it is taken again."""
        with self.api.lock:
            note = self.store(livemode=livemode).note(payment_method)
            note["card"] = cards.declining(note["card"], decline_code)

    def authenticate(self, intent: str, *, succeeds: bool = True, livemode: bool = False) -> Object:
        """Do what the customer is asked for by a payment intent or setup intent; return it."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            found = _find(store, intent)
            act = setup_intents.authenticate if found["object"] == "setup_intent" else paying.authenticate
            act(store, found, succeeds=succeeds)
            return show(KINDS[found["object"]], found)

    def open_dispute(
        self,
        charge_or_intent: str,
        *,
        reason: str = "fraudulent",
        amount: int | None = None,
        is_inquiry: bool = False,
        livemode: bool = False,
    ) -> Object:
        """Dispute a payment now; return the dispute."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            charge = _find_charge(store, charge_or_intent)
            dispute = disputes.open_dispute(store, charge, reason=reason, amount=amount, is_inquiry=is_inquiry)
            return show(disputes.DISPUTE, dispute)

    def close_dispute(self, dispute: str, outcome: str, *, livemode: bool = False) -> None:
        """Decide a dispute: `won`, `lost` or `warning_closed`; `escalate` makes an inquiry a dispute."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            found = _find(store, dispute)
            if outcome == "escalate":
                disputes.escalate(store, found)
            else:
                disputes.close_dispute(store, found, outcome)

    def settle_refund(self, refund: str, *, succeeds: bool, livemode: bool = False) -> None:
        """Let a refund arrive, or come back although it had arrived."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            store.errands = [errand for errand in store.errands if errand.subject != refund]
            refunds.settle(store, _find(store, refund), succeeds=succeeds)

    def advance_payout(self, payout: str, *, failure: str = "", livemode: bool = False) -> None:
        """Move a payout one step on, or let it fail: `no_account`, `account_closed`."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            store.errands = [errand for errand in store.errands if errand.subject != payout]
            payouts.advance(store, _find(store, payout), failure=failure)

    def complete_checkout(self, session: str, *, card: str = "visa", livemode: bool = False) -> Object:
        """
        Do what a customer does on the checkout page, with a test card; return the session.

        :raises StripeError: if the card is declined: the page stays open.
        """
        with self.api.lock:
            store = self.store(livemode=livemode)
            found, chosen = _find(store, session), cards.find_behaviour(card)
            if chosen is None:
                raise ValueError(f"there is no test card {card}")
            checkout.complete(store, found, chosen)
            return show(checkout.CHECKOUT_SESSION, found)

    def renew(self, subscription: str, *, livemode: bool = False) -> None:
        """Begin the next period of a subscription now; for one on a test clock, advance that instead."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            subscriptions.renew(store, _find(store, subscription))

    def add_funds(self, amount: int, currency: str = "usd", *, livemode: bool = False) -> None:
        """Put money on the balance, available at once."""
        with self.api.lock:
            balance_transactions.add_funds(self.store(livemode=livemode), amount=amount, currency=currency)

    def change(self, id: str, values: Object, *, livemode: bool = False) -> None:
        """Change an object behind everybody's back, without an event: a drift."""
        with self.api.lock:
            _find(self.store(livemode=livemode), id).update(values)

    def pass_time(self, *, days: int = 0, seconds: int = 0) -> int:
        """Move the clock of everybody on, and do what is due by then; return how much that was."""
        self.clock.advance(seconds=days * 86400 + seconds)
        return self.api.run_errands()

    def refund_unseen(self, intent: str, *, livemode: bool = False) -> Object:
        """Give a payment back without an event, as after a webhook that never came: a drift."""
        with self.api.lock, _silence(self.store(livemode=livemode)) as store:
            return show(refunds.REFUND, refunds.give_back(store, _find_charge(store, intent)))

    def pay_unknown(
        self, customer: str, *, amount: int = 1000, currency: str = "usd", card: str = "visa", livemode: bool = False
    ) -> Object:
        """Take a payment of a customer that nobody asked for through the API: a drift, with its events."""
        with self.api.lock:
            store = self.store(livemode=livemode)
            chosen = cards.find_behaviour(card)
            if chosen is None:
                raise ValueError(f"there is no test card {card}")
            shown = payment_intents.make_intent(store, amount=amount, currency=currency)
            intent = payment_intents.add_intent(store, {**shown, "customer": _find(store, customer)["id"]})
            store.emit("payment_intent.created", paying.PAYMENT_INTENT, intent)
            method = payment_methods.make(store, chosen)
            paying.confirm(store, intent, method, off_session=False, fail_on_action=True)
            return show(paying.PAYMENT_INTENT, intent)

    def describe(self) -> Object:
        """Return what is planned and under way."""
        return {
            "faults": [asdict(fault) for fault in self.api.faults.planned],
            "plans": self.deliveries.plans,
            "held": [event["id"] for event in self.deliveries.held],
            "waiting": [event["id"] for event in self.deliveries.waiting],
            "errands": [
                {"what": errand.what, "subject": errand.subject, "due": errand.due}
                for store in self.api.stores.values()
                for errand in store.errands
            ],
        }


@contextmanager
def _silence(store: Store) -> Iterator[Store]:
    """Let nobody hear of what happens in the block."""
    tell, store.on_event = store.on_event, None
    try:
        yield store
    finally:
        store.on_event = tell


def _find(store: Store, id: str) -> Object:
    for kind in KINDS.values():
        if (found := store.find(kind, id)) is not None:
            return found
    raise StripeError(f"No such object: '{id}'", status=404, code="resource_missing", param="id")


def _find_charge(store: Store, id: str) -> Object:
    found = _find(store, id)
    return _find(store, found["latest_charge"]) if found["object"] == "payment_intent" else found
