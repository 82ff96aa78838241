"""One synchronisation: read, plan, write; and what came of each object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from billing_client.provider_sync.connection import StripeConnection
from billing_client.provider_sync.plan import Step, is_unfinished, make_plan
from billing_client.provider_sync.state import read_state
from billing_client.provider_sync.wanted import WantedCatalog
from billing_client.provider_sync.writing import Writer

_RESULTS = {
    "create": "created",
    "update": "updated",
    "replace": "updated",
    "keep": "found",
    "skip": "skipped",
    "leave": "kept",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one object. `result` is created, found, updated, skipped, or kept for one not in the document."""

    kind: str
    lookup_key: str
    id: str | None
    result: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PreparedSync:
    """A plan that can be told or carried out. `warnings` are about what the provider has."""

    steps: Sequence[Step]
    warnings: Sequence[str]
    writer: Writer

    def describe(self) -> Iterator[Outcome]:
        """Yield what `run` would do; nothing is sent."""
        for step in self.steps:
            result = _RESULTS[step.action]
            if step.action in {"create", "update", "replace"}:
                result = f"would be {result}"
            detail = step.detail
            if step.current is not None and is_unfinished(step.current):
                detail = ", ".join(filter(None, [detail, "its predecessor would be archived"]))
            yield Outcome(step.kind, step.lookup_key, _get_id(step), result, detail)

    def run(self) -> Iterator[Outcome]:
        """
        Take the steps, yielding each when it is done. Stopped anywhere, the next run goes on from there.

        :raises ProviderError:
        """
        for step in self.steps:
            id, detail = self.writer.take(step)
            yield Outcome(step.kind, step.lookup_key, id or None, _RESULTS[step.action], detail)


def prepare_sync(connection: StripeConnection, wanted: WantedCatalog) -> PreparedSync:
    """
    Read what the provider has and decide what is to be done. Sends only reads.

    :raises ProviderError: if it cannot be read.
    :raises ProviderDiffers: if it has something that can neither be used nor changed.
    """
    state = read_state(connection, wanted)
    return PreparedSync(make_plan(wanted, state), tuple(state.warnings), Writer(connection, state))


def _get_id(step: Step) -> str | None:
    return None if step.current is None else str(step.current["id"])
