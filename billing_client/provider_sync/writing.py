"""
Carrying a plan out, so that it may stop anywhere and be run again.

Creation carries an idempotency key made of what is created, so that sending it again after a lost answer makes nothing
twice. Such a key lives on for a day, and in that day it also answers a creation that is meant anew, or repeats a
failure that is over. So an answer that is a repetition is believed only if the object is really there; otherwise the
key is made again with the id of what it spoke of, which gives the next key of a fixed sequence.

A new price takes over the lookup key first and says in its metadata whom it replaces; then the old one is archived;
then the note is closed. A run that finds the note open finishes the work.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from billing_client.provider_sync.connection import StripeConnection
from billing_client.provider_sync.errors import ProviderError
from billing_client.provider_sync.plan import OPEN, REPLACEMENT, REPLACES, Step, describe_difference, is_unfinished
from billing_client.provider_sync.state import (
    METERS,
    PRICES,
    PRODUCTS,
    ProviderState,
    Shown,
    find_meter,
    find_price,
    find_product,
)
from billing_client.provider_sync.wanted import Form, WantedMeter, WantedPrice, WantedProduct

KEY_PREFIX: Final = "catalog-sync-"
MOST_KEYS: Final = 10
UPDATE_KEYS: Final = 3
_PATHS: Final = {"product": PRODUCTS, "meter": METERS, "price": PRICES}


def make_idempotency_key(path: str, form: Form, gone: Sequence[str] = ()) -> str:
    """Return the key for creating this; `gone` are the answers that this creation had before and that are void."""
    text = json.dumps([path, form, list(gone)], sort_keys=True, default=str)
    return KEY_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:48]


@dataclass(slots=True)
class Writer:
    """Takes steps one by one; knows the ids of what was found and made so far."""

    connection: StripeConnection
    state: ProviderState
    product_ids: dict[str, str] = field(init=False)
    meter_ids: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.product_ids = {key: product["id"] for key, product in self.state.products.items()}
        self.meter_ids = {name: meter["id"] for name, meter in self.state.meters.items()}

    def take(self, step: Step) -> tuple[str, str]:
        """
        Do what a step says; return the id of its object and what else there is to say.

        :raises ProviderError:
        """
        match step.action, step.wanted:
            case "create", WantedProduct() as product:
                made = self._create(PRODUCTS, product.as_form(), lambda: self._find_product(product))
                self.product_ids[product.lookup_key] = made["id"]
                return made["id"], ""
            case "create", WantedMeter() as meter:
                made = self._create(METERS, meter.as_form(), lambda: self._find_meter(meter))
                self.meter_ids[meter.event_name] = made["id"]
                return made["id"], ""
            case "create", WantedPrice() as price:
                return self._create_price(price, None)["id"], ""
            case "replace", WantedPrice() as price:
                return self._replace(price, step.current or {})
            case _:
                return self._change(step)

    # ---- steps ------------------------------------------------------------------------------------------------------
    def _change(self, step: Step) -> tuple[str, str]:
        """Send the changes of an object that stays, and finish a replacement that was interrupted."""
        current = step.current or {}
        if step.changes:
            self._update(step.kind, current["id"], step.changes)
        detail = step.detail
        if step.kind == "price" and is_unfinished(current):
            detail = f"{detail}, {self._finish(current)}" if detail else self._finish(current)
        return str(current.get("id") or ""), detail

    def _replace(self, price: WantedPrice, old: Shown) -> tuple[str, str]:
        if is_unfinished(old):
            self._finish(old)
        made = self._create_price(price, old)
        return made["id"], self._finish(made) if old["active"] else f"{old['id']} was archived before"

    def _create_price(self, price: WantedPrice, old: Shown | None) -> Shown:
        product_id = self.product_ids[price.product]
        meter_id = None if price.meter is None else self.meter_ids[price.meter]
        form = price.as_form(product_id=product_id, meter_id=meter_id)
        if old is not None:
            form["transfer_lookup_key"] = True
            note = {REPLACES: old["id"], **({REPLACEMENT: OPEN} if old["active"] else {})}
            form["metadata"] = {**form.get("metadata", {}), **note}
            if old.get("tax_behavior") not in {None, "unspecified"}:
                form["tax_behavior"] = old["tax_behavior"]

        def find() -> Shown | None:
            found = find_price(self.connection, price.lookup_key)
            if found is None or describe_difference(price, found, product_id=product_id, meter_id=meter_id):
                return None
            return found

        return self._create(PRICES, form, find)

    def _finish(self, price: Shown) -> str:
        """Archive the price that another replaced, and close the note about it."""
        old_id = price["metadata"][REPLACES]
        try:
            self._archive(self.connection.get(f"{PRICES}/{old_id}").data, price)
        except ProviderError as error:
            if error.code != "resource_missing":
                raise
        self._update("price", price["id"], {"metadata": {REPLACEMENT: ""}})
        return f"{old_id} archived"

    def _archive(self, old: Shown, new: Shown) -> None:
        """Archive a price. The default price of a product cannot be: the new one becomes it, or nothing does."""
        product = self.connection.get(f"{PRODUCTS}/{old['product']}").data
        if product.get("default_price") == old["id"]:
            default = new["id"] if new["product"] == product["id"] else ""
            self._update("product", product["id"], {"default_price": default})
        if old["active"]:
            self._update("price", old["id"], {"active": False})

    # ---- requests ---------------------------------------------------------------------------------------------------
    def _find_product(self, product: WantedProduct) -> Shown | None:
        return find_product(self.connection, product.lookup_key)

    def _find_meter(self, meter: WantedMeter) -> Shown | None:
        return find_meter(self.connection, meter.event_name)

    def _update(self, kind: str, id: str, form: Form) -> None:
        """
        Change an object. Doing it twice is harmless, so its keys are random: one made of the content would repeat an
        answer of the same day when a field goes to and fro.
        """
        for attempt in range(1, UPDATE_KEYS + 1):
            try:
                self.connection.post(f"{_PATHS[kind]}/{id}", form, key=f"{KEY_PREFIX}{uuid.uuid4()}")
                return
            except ProviderError as error:
                if not error.is_replay or attempt == UPDATE_KEYS:
                    raise

    def _create(self, path: str, form: Form, find: Callable[[], Shown | None]) -> Shown:
        """
        Create an object once, whatever happens to requests and answers; `find` looks for it as it is now.

        :raises ProviderError:
        """
        gone: list[str] = []
        while True:
            about, failure = "", None
            try:
                answer = self.connection.post(path, form, key=make_idempotency_key(path, form, gone))
                if not answer.is_replay:
                    return answer.data
                about = str(answer.data["id"])
            except ProviderError as error:
                if not error.is_replay:
                    raise
                about, failure = error.original_request, error
            found = find()
            if found is not None:
                return found
            if not about or about in gone or len(gone) >= MOST_KEYS:
                raise failure or ProviderError(f"it answers with {about}, which is gone")
            gone.append(about)
