"""Tiers: the table, the tier of a name, models by prefix, daily credit."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.terms.tiers import DEFAULT_TIERS, choose_tier, compute_daily_remaining, read_tiers


class TestDefaultTiers:
    def test_are_those_of_the_contract(self) -> None:
        table = [(tier.name, tier.max_agents, tier.daily_credits_cents) for tier in DEFAULT_TIERS.values()]
        assert table == [("free", 1, 100), ("starter", 3, 0), ("pro", 10, 0), ("enterprise", 0, 0)]
        assert [tier.unlimited_agents for tier in DEFAULT_TIERS.values()] == [False, False, False, True]


class TestAllowsModel:
    @pytest.mark.parametrize(
        ("tier", "model", "allowed"),
        [
            ("free", "model-a", True),
            ("free", "model-a-2026-01", True),
            ("free", "Model-a", False),
            ("free", "model-c", False),
            ("free", "a-model-a", False),
            ("starter", "model-d-small", True),
            ("pro", "anything", True),
        ],
    )
    def test_compares_plain_prefixes(self, tier: str, model: str, allowed: bool) -> None:
        assert DEFAULT_TIERS[tier].allows_model(model) is allowed


class TestChooseTier:
    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ((None, None, "pro"), "pro"),
            ((None, "starter", "pro"), "starter"),
            (("enterprise", "starter", "pro"), "enterprise"),
            (("", " ", "pro"), "pro"),
            ((" PRO ",), "pro"),
            (("gold", "pro"), "free"),  # unknown means free, not the next one
            ((), "free"),
        ],
    )
    def test_takes_the_first_that_is_given(self, names: tuple[str | None, ...], expected: str) -> None:
        assert choose_tier(DEFAULT_TIERS, *names).name == expected


class TestComputeDailyRemaining:
    @pytest.mark.parametrize(("used", "left"), [(0, 100), (30, 70), (100, 0), (130, 0)])
    def test_is_never_below_zero(self, used: int, left: int) -> None:
        assert compute_daily_remaining(DEFAULT_TIERS["free"], used=used) == left


class TestReadTiers:
    def test_changes_what_is_named_and_keeps_the_rest(self) -> None:
        tiers = read_tiers({"free": {"daily_credits_cents": 50, "allowed_models": ["model-x"]}})
        assert (tiers["free"].daily_credits_cents, tiers["free"].max_agents) == (50, 1)
        assert tiers["free"].allows_model("model-x1")
        assert tiers["pro"] == DEFAULT_TIERS["pro"]

    @pytest.mark.parametrize(
        "changes",
        [
            {"gold": {}},
            {"free": []},
            {"free": {"agents": 2}},
            {"free": {"max_agents": -1}},
            {"free": {"max_agents": True}},
            {"free": {"daily_credits_cents": "100"}},
            {"free": {"allowed_models": "*"}},
            {"free": {"allowed_models": [""]}},
            {"free": {"display_name": 7}},
        ],
    )
    def test_refuses_what_it_cannot_read(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="tier"):
            read_tiers(changes)
