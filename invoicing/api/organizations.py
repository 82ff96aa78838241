"""Whose catalog and plans an operator means."""

from __future__ import annotations

from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import ValidationFailed
from catalog.queries.revisions import DEFAULT_ORG


def choose_org(principal: Principal, asked: str | None, *, pointer: str = "/org_id") -> str:
    """
    Return the organization an internal caller works for: the one asked for, else the token's, else `default`.

    :raises ValidationFailed: if the token is limited to another one.
    """
    if asked and principal.org not in (None, asked):
        raise ValidationFailed.of(pointer, "forbidden", "The token is limited to another organization.")
    return asked or principal.org or DEFAULT_ORG
