"""Above which amount money that a person creates needs a second one. Source: policies, rules 22-24; ADR 0017."""

from __future__ import annotations

from django.conf import settings

from accounts.models import Account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import Approval, ApprovalStatus


class SecondPersonNeeded(DomainError):
    """Member `limit` is minor units."""

    code, title, status = "approval_required", "Another person must approve this", 403


def get_approval_limit() -> int:
    """Return the amount up to which a person creates money alone, in minor units of whatever currency."""
    return int(settings.BILLING_APPROVAL_LIMIT)


def needs_second_person(*, amount: int, actor: Actor) -> bool:
    """
    Tell whether `actor` may not create `amount` minor units alone.

    The limit holds for people in the admin and counts minor units of whatever currency; 0 is always. Callers of the
    API hold the scope `billing:money`, which is given to services whose review happens elsewhere.
    """
    return actor.type == "staff" and amount > get_approval_limit()


def require_second_person(
    *, kind: str, account: Account, amount: int, currency: str, actor: Actor, approval: Approval | None
) -> None:
    """:raises SecondPersonNeeded: unless `actor` may do it alone, or `approval` is for exactly this and was granted."""
    if not needs_second_person(amount=amount, actor=actor):
        return
    if (
        approval is None
        or approval.status != ApprovalStatus.APPROVED
        or (approval.kind, approval.subject_id) != (kind, account.public_id)
        or (approval.amount, approval.currency) != (amount, currency)
    ):
        limit = get_approval_limit()
        raise SecondPersonNeeded(f"Above {limit} minor units, another person must approve it.", limit=limit)
