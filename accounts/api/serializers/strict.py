"""Bodies in which a misspelled field is a mistake, not something to pass over."""

from __future__ import annotations

from billing_site.api.bodies import StrictSerializer

__all__ = ["StrictSerializer"]
