"""
What the pages say about requests that wait for a second person.

A domain's admin module says how the effect of its kind reads: `register_effect("catalog.publish", render)`; `render`
gets the approval and returns a block. Without one the payload is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db.models import Model
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.display import json_block
from billing_site.kernel.actors import Actor
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import ApprovalKindUnknown, get_kind, is_same_person

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

DECIDE: Final = "platform.decide_approval"
_NAMED: Final = 5

RenderEffect = Callable[[Approval], "SafeString | str"]
FindSubject = Callable[[Approval], "Model | None"]


@dataclass(frozen=True, slots=True)
class EffectPage:
    """How one kind is shown: what will happen, and the object it happens to."""

    render: RenderEffect
    find_subject: FindSubject | None = None


_pages: dict[str, EffectPage] = {}


def register_effect(kind: str, render: RenderEffect, *, find_subject: FindSubject | None = None) -> None:
    """Show requests of a kind with `render`, and link them to what `find_subject` returns. The same name replaces."""
    _pages[kind] = EffectPage(render, find_subject)


def render_effect(approval: Approval) -> SafeString | str:
    """Return what approving will do, or did."""
    page = _pages.get(approval.kind)
    return json_block(approval.payload) if page is None else page.render(approval)


def find_subject(approval: Approval) -> Model | None:
    """Return the object the request is about, where its app says how to find it."""
    page = _pages.get(approval.kind)
    return None if page is None or page.find_subject is None else page.find_subject(approval)


def has_asked(user: User | AnonymousUser, approval: Approval) -> bool:
    """Tell whether this person made the request."""
    return is_same_person(approval.requested_by, str(Actor("staff", user.get_username())))


def explain_refusal(user: User | AnonymousUser, approval: Approval) -> str:
    """Return why this person may not decide the request, as a sentence; empty when they may."""
    if has_asked(user, approval):
        return "You asked for this yourself: another person must approve it."
    try:
        kind = get_kind(approval.kind)
    except ApprovalKindUnknown as error:
        return error.detail
    if not (user.has_perm(DECIDE) and user.has_perm(kind.permission)):
        return "Your role does not let you approve this."
    return ""


def list_deciders(approval: Approval) -> list[str]:
    """Return the names of those who may decide the request."""
    from django.contrib.auth.models import User

    try:
        permission = get_kind(approval.kind).permission
    except ApprovalKindUnknown:
        return []
    backend = "django.contrib.auth.backends.ModelBackend"
    rows = User.objects.with_perm(permission, backend=backend).filter(is_staff=True).order_by("username")
    return [user.get_username() for user in rows if not has_asked(user, approval)]


def describe_deciders(approval: Approval) -> str:
    """Return who may decide, as a sentence, or what to do when nobody may."""
    names = list_deciders(approval)
    if not names:
        return "Nobody else may approve it yet: an administrator can give someone a role that may, under Staff."
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more} may approve it."


def render_waiting(approval: Approval, user: User | AnonymousUser) -> SafeString:
    """Return the block that says who must do what next, as this person sees it."""
    refusal = explain_refusal(user, approval)
    context = {
        "approval": approval,
        "asked_by": show_actor(approval.requested_by),
        "refusal": refusal,
        "deciders": describe_deciders(approval) if refusal else "",
    }
    return mark_safe(render_to_string("backoffice/waiting.html", context))  # noqa: S308 — escaped there


def show_actor(actor: str) -> str:
    """Return the name in an actor stored as text: `ada` of `staff:ada`."""
    return actor.partition(":")[2] or actor
