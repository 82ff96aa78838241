"""What a file says: a story, before any of it is played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from invoicing.rehearsal.catalogs import CatalogBlock

if TYPE_CHECKING:
    from invoicing.rehearsal.expected import Expectation
    from invoicing.rehearsal.world import World

UTC_ZONE = ZoneInfo("UTC")


class Action(Protocol):
    """What a verb does."""

    @property
    def account(self) -> str:
        """Whose local time the step is shown in, empty for none."""
        ...

    def describe(self) -> str:
        """Return what happens as one line: `subscribe acme to basic as sub`."""
        ...

    def play(self, world: World) -> list[str]:
        """Do it at `world.now` through the product's services; return remarks to print."""
        ...


@dataclass(frozen=True, slots=True)
class StoryAccount:
    """An account of the story: its name there, the profile it is opened with, and what steps must know of it."""

    id: str
    line: int
    profile: Mapping[str, Any]
    currency: str
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The policies of the story: columns of its seller.

    `trial_days` is how long a trial lasts where neither a step nor a plan says it; None: as the site has it.
    """

    seller: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0
    trial_days: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step. The clock moves to `at` first (None: it stands still), then `action` happens, then `expect` is checked.

    `error` is the problem code that the action must meet, empty when it must succeed; `error_line` is where it stands.
    """

    line: int
    at: datetime | None
    action: Action | None
    expect: Expectation | None
    error: str = ""
    error_line: int = 0


@dataclass(frozen=True, slots=True)
class Story:
    """A whole file. `start` is when it begins: everything is set up at that moment."""

    path: Path
    title: str
    settings: Settings
    catalog: CatalogBlock
    accounts: Mapping[str, StoryAccount]
    steps: tuple[Step, ...]
    expect: Expectation | None
    start: datetime

    def zone_of(self, account: str) -> ZoneInfo:
        """Return the zone of an account; without one, that of the story's first account."""
        found = self.accounts.get(account) or next(iter(self.accounts.values()), None)
        return found.zone if found else UTC_ZONE
