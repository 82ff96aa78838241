"""What a caller may do: one scope per action and audience; an action that declares none is refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from billing_site.api.auth import TokenMissing
from billing_site.kernel.actors import Audience, Principal
from billing_site.kernel.errors import DomainError

if TYPE_CHECKING:  # REST framework loads this module while it defines APIView
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

Scopes = dict[Audience, str]

BOTH_READ: Final[Scopes] = {"public": "billing:read", "internal": "billing:read"}
"""Read by either audience."""


class AudienceRejected(DomainError):
    code, title, status = "audience_rejected", "The token is for the other audience", 403


class ScopeMissing(DomainError):
    code, title, status = "scope_missing", "The token lacks the needed scope", 403


def both(scope: str) -> Scopes:
    """Either audience with the same scope."""
    return {"public": scope, "internal": scope}


def internal(scope: str) -> Scopes:
    """Internal callers only."""
    return {"internal": scope}


def get_action(view: APIView, method: str) -> str:
    """Return the name an action's declarations are kept under: a ViewSet's action, else the HTTP method."""
    action = getattr(view, "action", None)
    name = action if isinstance(action, str) else method.lower()
    return "get" if name == "head" else name


def get_scopes(view: APIView, action: str) -> Scopes:
    """Return the declared scopes of an action, by audience; empty when it is declared nowhere."""
    declared: dict[str, Scopes] = getattr(view, "scopes", {})
    return declared.get(action, {})


class HasScope(BasePermission):
    """Refuse unless the token's audience may use the action and holds its scope."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        principal = request.user
        if not isinstance(principal, Principal):
            raise TokenMissing
        action = get_action(view, request.method or "get")
        scopes = get_scopes(view, action)
        if not scopes:
            logger.error("%s.%s declares no scope and is refused", type(view).__name__, action)
            raise ScopeMissing("This operation is not open to anyone.", required_scope=None)
        require_scope(principal, scopes)
        return True


def require_scope(principal: Principal, scopes: Scopes) -> None:
    """
    Check that the token's audience may use an operation with these scopes and holds the one it needs.

    :raises AudienceRejected: when it is of the other audience.
    :raises ScopeMissing: when it lacks the scope.
    """
    required = scopes.get(principal.audience)
    if required is None:
        raise AudienceRejected(f"This operation does not take {principal.audience} tokens.")
    if required not in principal.scopes:
        raise ScopeMissing(f"This operation needs the scope {required}.", required_scope=required)
