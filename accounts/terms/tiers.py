"""
Tiers: how many agents, which models, how much daily credit.

Plain Python. Source: contract chapter Tiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

FREE: Final = "free"
DAILY_CURRENCY: Final = "usd"


@dataclass(frozen=True, slots=True)
class TierConfig:
    """One tier. `max_agents` 0 is unlimited; `daily_credits_cents` is usd minor units; models are prefixes or `*`."""

    name: str
    display_name: str
    max_agents: int
    daily_credits_cents: int
    allowed_models: tuple[str, ...]

    @property
    def unlimited_agents(self) -> bool:
        return self.max_agents == 0

    def allows_model(self, model: str) -> bool:
        """Tell whether an entry is `*` or begins the name; case counts."""
        return any(entry == "*" or model.startswith(entry) for entry in self.allowed_models)


DEFAULT_TIERS: Final[Mapping[str, TierConfig]] = {
    tier.name: tier
    for tier in (
        TierConfig("free", "Free", 1, 100, ("model-a", "model-b")),
        TierConfig("starter", "Starter", 3, 0, ("model-a", "model-b", "model-c", "model-d")),
        TierConfig("pro", "Pro", 10, 0, ("*",)),
        TierConfig("enterprise", "Enterprise", 0, 0, ("*",)),
    )
}
_WHOLE: Final = ("max_agents", "daily_credits_cents")


def read_tiers(changes: Mapping[str, Any]) -> Mapping[str, TierConfig]:
    """
    Return the default table with `changes` (by tier name, then by field) applied.

    :raises ValueError: for an unknown tier or field, or a value of the wrong kind.
    """
    tiers = dict(DEFAULT_TIERS)
    for name, values in changes.items():
        if name not in tiers:
            raise ValueError(f"there is no tier {name!r}; there are {', '.join(tiers)}")
        if not isinstance(values, Mapping):
            raise ValueError(f"tier {name}: an object is expected")
        tiers[name] = _change(tiers[name], values)
    return tiers


def _change(tier: TierConfig, values: Mapping[str, Any]) -> TierConfig:
    known = {"display_name": tier.display_name, "allowed_models": tier.allowed_models} | {
        name: getattr(tier, name) for name in _WHOLE
    }
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"tier {tier.name}: unknown field {unknown[0]!r}")
    for name in _WHOLE:
        if type(values.get(name, 0)) is not int or values.get(name, 0) < 0:
            raise ValueError(f"tier {tier.name}: {name} is a whole number, zero or more")
    models = values.get("allowed_models", tier.allowed_models)
    if not isinstance(models, list | tuple) or not all(isinstance(entry, str) and entry for entry in models):
        raise ValueError(f"tier {tier.name}: allowed_models is a list of prefixes")
    if not isinstance(values.get("display_name", ""), str):
        raise ValueError(f"tier {tier.name}: display_name is a text")
    merged = known | dict(values) | {"allowed_models": tuple(models)}
    return TierConfig(name=tier.name, **merged)


def choose_tier(tiers: Mapping[str, TierConfig], *names: str | None) -> TierConfig:
    """
    Return the tier of the first name that is given; an unknown one means free.

    Names are trimmed and compared in lower case.
    """
    given = next((name.strip().lower() for name in names if name and name.strip()), FREE)
    return tiers.get(given, tiers[FREE])


def compute_daily_remaining(tier: TierConfig, *, used: int) -> int:
    """Return what is left of the tier's daily credit after `used` today: `max(0, daily - used)`, minor units."""
    return max(0, tier.daily_credits_cents - used)
