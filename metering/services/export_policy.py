"""Which events of the usage feed are billed here: `BILLING_USAGE_EXPORT_POLICY`, read once, at start."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from metering.rating.export_rules import DEFAULT_RULES, ExportRule, RulesNotValid, parse_rules

DEFAULT: Final = "default"
NONE: Final = "none"
_SETTING: Final = "BILLING_USAGE_EXPORT_POLICY"
_MAX_BYTES: Final = 1_000_000


def get_export_rules() -> tuple[ExportRule, ...]:
    """
    Return the rules in force: the default ones, none, or those of a file.

    :raises ImproperlyConfigured: when the file cannot be read or does not hold rules; every finding is named.
    """
    return load_policy(settings.BILLING_USAGE_EXPORT_POLICY)


@lru_cache(maxsize=8)
def load_policy(policy: str) -> tuple[ExportRule, ...]:
    """Return the rules a value of the setting stands for. :raises ImproperlyConfigured: as `get_export_rules`."""
    if policy.lower() == NONE:
        return ()
    if policy.lower() in ("", DEFAULT):
        return DEFAULT_RULES
    try:
        content = Path(policy).read_bytes()
        if len(content) > _MAX_BYTES:
            raise ImproperlyConfigured(f"{_SETTING}: {policy} is larger than {_MAX_BYTES:,} bytes.")
        return parse_rules(json.loads(content, parse_float=Decimal))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ImproperlyConfigured(f"{_SETTING}: the rules file {policy} cannot be read: {reason}.") from error
    except RulesNotValid as error:
        raise ImproperlyConfigured(
            "\n".join(
                [f"{_SETTING}: the rules file {policy} cannot be used:", *(f"  {each}" for each in error.findings)]
            )
        ) from error
    except (ValueError, RecursionError) as error:
        raise ImproperlyConfigured(f"{_SETTING}: the rules file {policy} is not valid JSON: {error}") from error
