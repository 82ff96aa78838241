"""The environment that settings are read from, old names of variables included."""

from __future__ import annotations

import os

import environ

env = environ.Env()

# A deployment may keep its old variable names: BILLING_ENV_ALIASES=NAME=OTHER,NAME2=OTHER2.
for _pair in filter(None, (part.strip() for part in os.environ.get("BILLING_ENV_ALIASES", "").split(","))):
    _name, _, _other = _pair.partition("=")
    if _other in os.environ:
        os.environ.setdefault(_name, os.environ[_other])


def first_env(*names: str, default: str = "") -> str:
    """Return the first of `names` that is set and not empty."""
    return next((os.environ[name] for name in names if os.environ.get(name)), default)
