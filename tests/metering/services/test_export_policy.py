"""Which events of the feed are billed: a setting that is read at start, and refused with everything wrong with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from metering.rating.export_rules import DEFAULT_RULES
from metering.services.export_policy import get_export_rules
from tests.support.source import ROOT

RULE = {
    "event_type": "usage_recorded",
    "feature": "llm:proxy",
    "meter_event_name": "llm_tokens",
    "quantity_field": "tokens",
}


def write(path: Path, document: object) -> str:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


@pytest.mark.parametrize(("policy", "count"), [("default", 2), ("Default", 2), ("", 2), ("none", 0)])
def test_knows_two_policies_by_name(settings: Any, policy: str, count: int) -> None:
    settings.BILLING_USAGE_EXPORT_POLICY = policy
    assert get_export_rules() == DEFAULT_RULES[:count]


def test_reads_rules_from_a_file(settings: Any, tmp_path: Path) -> None:
    settings.BILLING_USAGE_EXPORT_POLICY = write(tmp_path / "rules.json", {"rules": [RULE]})
    assert [rule.quantity_field for rule in get_export_rules()] == ["tokens"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"rules": [{**RULE, "event_type": "x"}, {**RULE, "feature": ""}]},
            ["/rules/0/event_type", "/rules/1/feature"],
        ),
        ({"rule": []}, ["an object with a list `rules`"]),
        ("{rules", ["is not valid JSON"]),
        ("[" * 100_000, ["is not valid JSON"]),
        (" " * 1_000_001, ["larger than 1,000,000 bytes"]),
        ("\xff", ["is not valid JSON"]),
    ],
)
def test_names_everything_wrong_with_a_file(
    settings: Any, tmp_path: Path, document: object, expected: list[str]
) -> None:
    settings.BILLING_USAGE_EXPORT_POLICY = write(tmp_path / "rules.json", document)
    with pytest.raises(ImproperlyConfigured) as refusal:
        get_export_rules()
    assert "BILLING_USAGE_EXPORT_POLICY" in str(refusal.value)
    for text in expected:
        assert text in str(refusal.value)


def test_names_a_file_that_is_not_there(settings: Any, tmp_path: Path) -> None:
    settings.BILLING_USAGE_EXPORT_POLICY = str(tmp_path / "nothing.json")
    with pytest.raises(ImproperlyConfigured, match=r"nothing\.json cannot be read: No such file"):
        get_export_rules()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BILLING_USAGE_EXPORT_POLICY", "missing.json", "the rules file missing.json cannot be read"),
        ("BILLING_USAGE_EXPORT_FROM", "soon", "BILLING_USAGE_EXPORT_FROM is not a time"),
        ("BILLING_USAGE_EXPORT_FROM", "2026-12-01T00:00:00", "BILLING_USAGE_EXPORT_FROM needs an offset"),
    ],
)
def test_a_wrong_setting_stops_the_start(name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "manage.py", "check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert expected in done.stderr
