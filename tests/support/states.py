"""State tables: which state may follow which, how a service takes a row there, and what the database itself refuses."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.db import models

APPS: Final = ("platform", "catalog", "accounts", "metering", "invoicing")
PACKAGES: Final = ("billing_site.platform", "catalog", "accounts", "metering", "invoicing")

Pair = tuple[str, str]
Transitions = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class StateTable:
    """
    The states of one model, walked pair by pair.

    `arrange` makes a stored row that is in the first state of a pair, such that a service could take it to the second.
    `moves` are the services by the state they lead to; a state without one is reached by no service. `quiet` pairs are
    refused by doing nothing instead of raising. `through` are pairs that a service takes in one go, by way of another
    state. `unserved` pairs are allowed and no service takes them yet.
    `held` says for a pair which constraint refuses a bare `UPDATE … SET status`, nothing where the database lets it
    pass. `allows` is the method of the row that tells what may follow, where there is one;
    `refusal` is the HTTP status of a refused move. `arranges_for_second`: what `arrange` makes depends on the second
    state, not only on the first.
    """

    model: type[models.Model]
    transitions: Transitions
    arrange: Callable[[str, str], Any]
    moves: Mapping[str, Callable[[Any], object]]
    held: Callable[[str, str], str]
    quiet: frozenset[Pair] = field(default_factory=frozenset)
    unserved: frozenset[Pair] = field(default_factory=frozenset)
    through: Mapping[Pair, str] = field(default_factory=dict)
    allows: Callable[[Any, str], bool] | None = None
    refusal: int = 409
    arranges_for_second: bool = False

    @property
    def name(self) -> str:
        return self.model._meta.db_table

    @property
    def states(self) -> list[str]:
        return list_states(self.model)

    def list_pairs(self) -> Iterator[Pair]:
        """Yield every pair of states, a state with itself among them."""
        yield from itertools.product(self.states, repeat=2)

    def is_allowed(self, pair: Pair) -> bool:
        return pair[1] in self.transitions[pair[0]]


def list_states(model: type[models.Model]) -> list[str]:
    """Return the states a model's `status` can have."""
    found: Any = model._meta.get_field("status")
    return [str(value) for value, _ in found.choices]


def find_models_with_states() -> dict[str, type[models.Model]]:
    """Return every model of the product whose `status` is one of a few words, by the name of its table."""
    return {
        model._meta.db_table: model
        for model in apps.get_models()
        if model._meta.app_label in APPS and any(each.name == "status" and each.choices for each in model._meta.fields)
    }


def find_transition_mappings() -> dict[str, Transitions]:
    """Return every `…_TRANSITIONS` that a module of the product defines, by its name there."""
    found: dict[str, Transitions] = {}
    seen: set[int] = set()
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        for info in pkgutil.walk_packages(path, f"{package}."):
            if ".models" not in info.name and ".terms" not in info.name:
                continue
            for name, value in vars(importlib.import_module(info.name)).items():
                if name.endswith("_TRANSITIONS") and id(value) not in seen:
                    seen.add(id(value))
                    found[f"{info.name}.{name}"] = value
    return found


def set_state(row: models.Model, state: str, **columns: Any) -> None:
    """Write a state that no service leads to yet, with the columns that go with it."""
    type(row)._default_manager.filter(pk=row.pk).update(status=state, **columns)
    row.refresh_from_db()
