"""Who acts: stored with every event and run; passed down explicitly, never read from a global."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ActorType = Literal["staff", "token", "system"]
Audience = Literal["public", "internal"]


@dataclass(frozen=True, slots=True)
class Actor:
    """A person in the admin (`staff`), a caller of the API (`token`) or the product itself (`system`)."""

    type: ActorType
    id: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


SYSTEM = Actor("system", "scheduler")


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller of the API. `org` is set when an internal token is limited to one organization."""

    audience: Audience
    subject: str
    scopes: frozenset[str] = field(default_factory=frozenset)
    org: str | None = None

    @property
    def is_internal(self) -> bool:
        return self.audience == "internal"

    @property
    def is_authenticated(self) -> bool:
        """What Django and DRF ask of a request's user."""
        return True

    @property
    def actor(self) -> Actor:
        return Actor("token", self.subject)
