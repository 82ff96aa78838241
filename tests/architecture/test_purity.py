"""Calculators and the client really load without the server's frameworks, whatever their imports say."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.source import ROOT

CALCULATORS = (
    "billing_site.kernel.money",
    "billing_site.kernel.periods",
    "catalog.pricing",
    "catalog.documents",
    "accounts.terms",
    "metering.rating",
    "invoicing.calculation",
)
FRAMEWORKS = frozenset({"django", "rest_framework", "celery", "stripe", "djstripe", "psycopg", "redis", "structlog"})
SERVER = frozenset({"billing_site", "catalog", "accounts", "metering", "invoicing"})

_LOAD = """
import importlib, json, pkgutil, sys
name = sys.argv[1]
module = importlib.import_module(name)
for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
    importlib.import_module(found.name)
print(json.dumps(sorted({loaded.split(".")[0] for loaded in sys.modules})))
"""


def load(name: str) -> set[str]:
    """Return the top-level packages loaded after importing `name` and everything below it in a fresh interpreter."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("BILLING_", "DJANGO_"))}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, name], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded: set[str] = set(json.loads(done.stdout.splitlines()[-1]))
    return loaded


@pytest.mark.parametrize("name", CALCULATORS)
def test_calculators_load_without_frameworks(name: str) -> None:
    assert load(name) & FRAMEWORKS == set()


def test_the_client_loads_without_the_server() -> None:
    assert load("billing_client") & (FRAMEWORKS | SERVER) == set()


def test_the_check_would_notice() -> None:
    assert "django" in load("django.utils")
