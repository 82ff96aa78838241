"""A kind of request that only remembers what was done, so that approvals are tested without a domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval, Identified
from billing_site.platform.services.approvals import ApprovalKind, Release, Request, register_kind, request_approval
from tests.factories.platform import AT, Widget

KIND: Final = "tests.paint"
PERMISSION: Final = "platform.approve_paint"
ADA: Final = Actor("staff", "ada")
BOB: Final = Actor("staff", "bob")
LIFETIME: Final = timedelta(days=3)


@dataclass
class Workshop:
    """What carrying requests out did: (`executed` or `released`, payload, who)."""

    done: list[tuple[str, Any, str]] = field(default_factory=list)
    refusal: str = ""

    def execute(self, approval: Approval, _at: datetime, actor: Actor) -> Mapping[str, Any]:
        self.done.append(("executed", approval.payload, str(actor)))
        if self.refusal:
            raise InvalidState(self.refusal, current_status="dry")
        return {"colour": approval.payload["colour"]}

    def release(self, approval: Approval, _at: datetime, actor: Actor) -> None:
        self.done.append(("released", approval.payload, str(actor)))


def open_workshop(*, release: Release | None = None) -> Workshop:
    """Register the kind anew and return what remembers its work; `release` may stand in for its own."""
    workshop = Workshop()
    register_kind(
        ApprovalKind(
            name=KIND,
            title="Paint a widget",
            permission=PERMISSION,
            execute=workshop.execute,
            release=release or workshop.release,
            lifetime=LIFETIME,
        )
    )
    return workshop


def ask(
    *,
    subject: Identified | None = None,
    actor: Actor = ADA,
    colour: str = "red",
    effect: Money | None = None,
    at: datetime = AT,
    reason: str = "ordered by sales",
) -> Approval:
    """Ask for a widget to be painted."""
    subject = subject or Widget(id=new_uuid())
    request = Request(KIND, subject, f"Paint a widget {colour}", {"colour": colour}, effect=effect)
    return request_approval(request, at=at, actor=actor, reason=reason)
