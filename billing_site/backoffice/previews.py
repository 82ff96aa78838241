"""
Actions that show what they come to before anybody confirms them.

    @previewed_action(description="Pause", permission="accounts.pause_subscription", form=PauseForm, ...)
    def pause(self, request, subscription, call):
        pause_subscription(subscription_id=subscription.pk, at=call.at, actor=call.actor, reason=call.reason)
        return Prospect(message=f"{subscription} is paused.", changes=[Change("State", "active", "paused")])

The method does it and says what it came to. For the preview it is run and taken back; when the person confirms it is
run again, as of the same instant, and kept only if it comes to the same. The page carries the instant and a digest of
what was shown under a signature, so nobody can confirm what they have not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.enums import ActionVariant

from billing_site.backoffice.actions import (
    CONFIRMED,
    Call,
    ReasonForm,
    change_url,
    find_clock,
    service_action,
)
from billing_site.kernel import clock
from billing_site.platform.services.previews import preview

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

COMMIT: Final = "_commit"
SEAL: Final = "_seal"
LASTS: Final = timedelta(minutes=15)
_SALT: Final = "backoffice.preview"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is another afterwards, as text."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PaperLine:
    """One line of a document: what, for which stretch, which share of it, how much."""

    text: str
    period: str
    share: str
    amount: str


@dataclass(frozen=True, slots=True)
class Paper:
    """
    A document that comes of it: its lines and its sums, as text. `is_issued`: now; otherwise it is put by.

    `badge` says in other words what becomes of it.
    """

    title: str
    lines: Sequence[PaperLine]
    sums: Sequence[tuple[str, str]]
    is_issued: bool = True
    badge: str = ""


@dataclass(frozen=True, slots=True)
class Coming:
    """What is to be expected afterwards, for orientation: it is no part of what is compared."""

    when: Any
    text: str
    amount: str = ""


@dataclass(frozen=True, slots=True)
class Prospect:
    """
    What an action comes to: `message` says it when it is done, the rest is shown before.

    `url` is where to go then; the object's own page without one. `confirm_label` is for the button, where what happens
    is something else than the action is called.
    """

    message: str
    changes: Sequence[Change] = ()
    papers: Sequence[Paper] = ()
    notes: Sequence[str] = ()
    coming: Sequence[Coming] = field(default_factory=tuple)
    url: str = ""
    confirm_label: str = ""

    @property
    def digest(self) -> str:
        """A short text that is equal when the same happens to the same money."""
        shown = [[asdict(each) for each in part] for part in (self.changes, self.papers)]
        return hashlib.sha256(json.dumps([shown, list(self.notes)]).encode()).hexdigest()


CarryOut = Callable[[Any, HttpRequest, Any, Call], Prospect]


class _CameToSomethingElse(Exception):
    """Takes back what is not what the person has seen."""


@dataclass(frozen=True, slots=True)
class _Seal:
    """What a person has seen: as of when, at which revision of the object, and the digest."""

    at: datetime
    digest: str
    revision: int | None


def previewed_action(
    *,
    description: str,
    permission: str,
    effect: str | Callable[[Sequence[Any]], str] = "",
    warnings: Callable[[Sequence[Any]], Iterable[str]] | None = None,
    allowed: Callable[[Any], bool] | None = None,
    refuses: Callable[[User | AnonymousUser, Any], str] | None = None,
    form: type[ReasonForm] = ReasonForm,
    confirm_label: str = "",
    icon: str | None = None,
    variant: ActionVariant | str = ActionVariant.DEFAULT,
    describe: Callable[[Any], str] = str,
    url_path: str | None = None,
) -> Callable[[CarryOut], Callable[..., HttpResponse | None]]:
    """
    Turn a method that does something and returns what it came to into an action with a preview; see the module.

    `call.revision` is that of the object as the person saw it, for services that look at it.
    """
    danger = ActionVariant(variant) is ActionVariant.DANGER

    def decorate(carry_out: CarryOut) -> Callable[..., HttpResponse | None]:
        def respond(page: Any, request: HttpRequest, obj: Any, call: Call) -> HttpResponse:
            call = replace(call, revision=getattr(obj, "revision", None))
            if COMMIT in request.POST and (answer := _commit(page, request, obj, call, carry_out)) is not None:
                return answer
            labels = _Labels(description, describe(obj), confirm_label or description, danger)
            return _show(page, request, obj, call, preview(carry_out, page, request, obj, call), labels=labels)

        update_wrapper(respond, carry_out)
        return service_action(
            description=description,
            permission=permission,
            effect=effect,
            warnings=warnings,
            allowed=allowed,
            refuses=refuses,
            form=form,
            confirm_label="Preview",
            icon=icon,
            variant=variant,
            describe=describe,
            url_path=url_path,
        )(respond)

    return decorate


@dataclass(frozen=True, slots=True)
class _Labels:
    title: str
    about: str
    confirm: str
    danger: bool


def _show(
    page: Any, request: HttpRequest, obj: Any, call: Call, prospect: Prospect, *, labels: _Labels
) -> HttpResponse:
    context = {
        **page.admin_site.each_context(request),
        "title": labels.title,
        "opts": page.model._meta,
        "original": obj,
        "about": labels.about,
        "object_url": change_url(page, obj),
        "prospect": prospect,
        "reason": call.reason,
        "carried": _carry(request),
        "confirmed_name": CONFIRMED,
        "commit_name": COMMIT,
        "seal": (SEAL, _make_seal(request, obj, call, prospect)),
        "confirm_label": prospect.confirm_label or labels.confirm,
        "danger": labels.danger,
        "back": change_url(page, obj),
    }
    return TemplateResponse(request, "backoffice/prospect.html", context)


def _commit(page: Any, request: HttpRequest, obj: Any, call: Call, carry_out: CarryOut) -> HttpResponse | None:
    """Do what was confirmed, or return None when that is not what the person has seen any more."""
    seal = _read_seal(request, obj)
    if seal is None:
        messages.warning(request, "The preview is out of date. Nothing was done: look at it as it is now.")
        return None
    try:
        with transaction.atomic():
            prospect = carry_out(page, request, obj, replace(call, at=seal.at, revision=seal.revision))
            if prospect.digest != seal.digest:
                raise _CameToSomethingElse
    except _CameToSomethingElse:
        messages.warning(request, "It comes to something else than you confirmed, so nothing was done. Look again.")
        return None
    messages.success(request, prospect.message)
    return HttpResponseRedirect(prospect.url or change_url(page, obj))


def _carry(request: HttpRequest) -> list[tuple[str, str]]:
    """Return what was typed, for the forms of the preview."""
    left_out = {CONFIRMED, COMMIT, SEAL, "csrfmiddlewaretoken"}
    return [(name, value) for name, values in request.POST.lists() if name not in left_out for value in values]


def _name_seal(request: HttpRequest, obj: Any) -> str:
    """Return whose seal it is and of what: one page's cannot be used on another."""
    return f"{request.user.pk}:{request.path}:{obj.pk}"


def _make_seal(request: HttpRequest, obj: Any, call: Call, prospect: Prospect) -> str:
    named = _name_seal(request, obj)
    return signing.dumps([named, call.at.isoformat(), prospect.digest, call.revision, _carry(request)], salt=_SALT)


def _read_seal(request: HttpRequest, obj: Any) -> _Seal | None:
    try:
        named, at, digest, revision, carried = signing.loads(request.POST.get(SEAL, ""), salt=_SALT, max_age=LASTS)
    except signing.BadSignature:
        return None
    moment = datetime.fromisoformat(at)
    # A test clock may have been moved since.
    passed = clock.now(find_clock(obj)) - moment
    typed = [list(pair) for pair in _carry(request)]
    if named != _name_seal(request, obj) or carried != typed or not timedelta(0) <= passed <= LASTS:
        return None
    return _Seal(moment, digest, revision)
