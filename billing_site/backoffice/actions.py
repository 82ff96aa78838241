"""
Service actions: a button in the admin that calls one service.

    @service_action(
        description="Void",
        permission="invoicing.void_invoice",
        effect="The invoice keeps its number and is marked void.",
        allowed=lambda invoice: invoice.status == "open",
    )
    def void(self, request, invoice, call):
        void_invoice(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{invoice} is void."

Named in `actions_detail` it works on one object, in `actions` on the selected ones, in `actions_list` without an object
(`obj` is None). The same function may be named in all three. Nothing runs before the person has seen a page that says
what will happen and has given a reason. A `DomainError` becomes a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget

from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

CONFIRMED = "_confirmed"
REASON_MIN_LENGTH = 5
BULK_LIMIT = 500
LISTED_OBJECTS = 25


class ReasonForm(forms.Form):
    """The reason everybody gives. Derive from it to ask for more (`form=` of `service_action`)."""

    reason = forms.CharField(
        label="Reason",
        help_text="Stored with your name in the audit trail.",
        min_length=REASON_MIN_LENGTH,
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "placeholder": "Why is this done?"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields([name for name in self.fields if name != "reason"] + ["reason"])


class ObjectForm(ReasonForm):
    """A form that knows the object: its choices depend on it. `obj` is None for a selection."""

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        self.obj = obj
        super().__init__(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Call:
    """
    What an action hands to its service: who, when (by the object's clock), why, and the form's extra fields.

    `revision` is that of the object as a preview showed it.
    """

    actor: Actor
    at: datetime
    reason: str
    data: dict[str, Any] = field(default_factory=dict)
    revision: int | None = None


Handler = Callable[[Any, HttpRequest, Any, Call], "str | HttpResponse | None"]


@dataclass(frozen=True)
class ServiceAction:
    """The declaration behind a button; see the module's docstring."""

    handler: Handler
    description: str
    permission: str
    effect: str | Callable[[Sequence[Any]], str] = ""
    warnings: Callable[[Sequence[Any]], Iterable[str]] | None = None
    allowed: Callable[[Any], bool] | None = None
    refuses: Callable[[User | AnonymousUser, Any], str] | None = None
    form: type[ReasonForm] = ReasonForm
    confirm_label: str = ""
    variant: ActionVariant = ActionVariant.DEFAULT
    describe: Callable[[Any], str] = str

    def is_permitted(self, user: User | AnonymousUser, model: type[Model]) -> bool:
        """Tell whether the user holds the action's permission (`codename` alone means the model's app)."""
        permission = self.permission if "." in self.permission else f"{model._meta.app_label}.{self.permission}"
        return bool(user.is_active and user.has_perm(permission))

    def is_allowed(self, obj: Any) -> bool:
        """Tell whether the object's state allows it."""
        return self.allowed is None or bool(self.allowed(obj))

    def find_refusal(self, user: User | AnonymousUser, obj: Any) -> str:
        """Return why this person may not do it to this object, as a sentence; empty when they may."""
        return "" if self.refuses is None else self.refuses(user, obj)

    # ---- the three ways in ------------------------------------------------------------------------------------------
    def respond(self, admin: Any, request: HttpRequest, target: Any) -> HttpResponse | None:
        """Answer the button: the confirmation page, then the outcome."""
        if not self.is_permitted(request.user, admin.model):
            raise PermissionDenied
        if isinstance(target, QuerySet):
            return self._respond_to_selection(admin, request, target)
        if target is None:
            return self._respond_once(admin, request, None, back=changelist_url(admin))
        obj = admin.get_object(request, str(target))
        if obj is None:
            raise Http404(f"No such {admin.model._meta.verbose_name}.")
        if not admin.has_view_permission(request, obj):
            raise PermissionDenied
        back = change_url(admin, obj)
        if not self.is_allowed(obj):
            messages.error(request, f"“{self.description}” is not possible for {obj} in its present state.")
            return HttpResponseRedirect(back)
        if refusal := self.find_refusal(request.user, obj):
            messages.error(request, refusal)
            return HttpResponseRedirect(back)
        return self._respond_once(admin, request, obj, back=back)

    def _respond_once(self, admin: Any, request: HttpRequest, obj: Any, *, back: str) -> HttpResponse:
        objects = [] if obj is None else [obj]
        form = self._bind(request, obj)
        if not (form.is_bound and form.is_valid()):
            return self._confirmation(admin, request, form, objects, back=back)
        try:
            outcome = self._run(admin, request, obj, form)
        except DomainError as error:
            messages.error(request, error_text(error))
            return self._confirmation(admin, request, form, objects, back=back, status=409)
        if isinstance(outcome, HttpResponse):
            return outcome
        messages.success(request, outcome or f"{self.description}: done.")
        return HttpResponseRedirect(back)

    def _respond_to_selection(self, admin: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        objects = list(rows[: BULK_LIMIT + 1])
        if len(objects) > BULK_LIMIT:
            messages.error(request, f"Select at most {BULK_LIMIT} at a time.")
            return None
        possible = [obj for obj in objects if self._is_possible(request, obj)]
        back = request.get_full_path()
        if not possible:
            messages.error(request, f"“{self.description}” is not possible for any of the selected.")
            return HttpResponseRedirect(back)
        form = self._bind(request)
        if not (form.is_bound and form.is_valid()):
            skipped = [obj for obj in objects if not self._is_possible(request, obj)]
            return self._confirmation(admin, request, form, possible, back=back, skipped=skipped)
        done = 0
        for obj in possible:
            try:
                self._run(admin, request, obj, form)
                done += 1
            except DomainError as error:
                messages.error(request, f"{obj}: {error_text(error)}")
        if done:
            messages.success(request, f"{self.description}: {done} of {len(objects)} done.")
        return HttpResponseRedirect(back)

    def _is_possible(self, request: HttpRequest, obj: Any) -> bool:
        return self.is_allowed(obj) and not self.find_refusal(request.user, obj)

    def _bind(self, request: HttpRequest, obj: Any = None) -> ReasonForm:
        known = {"obj": obj} if issubclass(self.form, ObjectForm) else {}
        if CONFIRMED in request.POST:
            return self.form(request.POST, request.FILES, **known)
        # A link, or a page that offers to change what was typed, fills the form.
        given = [*request.GET.lists(), *request.POST.lists()]
        initial = {name: values if len(values) > 1 else values[0] for name, values in given if values}
        return self.form(initial=initial, **known)

    def _run(self, admin: Any, request: HttpRequest, obj: Any, form: ReasonForm) -> str | HttpResponse | None:
        data = dict(form.cleaned_data)
        call = Call(
            actor=staff_actor(request), at=clock.now(find_clock(obj)), reason=data.pop("reason").strip(), data=data
        )
        return self.handler(admin, request, obj, call)

    def _confirmation(
        self,
        admin: Any,
        request: HttpRequest,
        form: ReasonForm,
        objects: Sequence[Any],
        *,
        back: str,
        skipped: Sequence[Any] = (),
        status: int = 200,
    ) -> HttpResponse:
        effect = self.effect if isinstance(self.effect, str) else self.effect(objects)
        selection = request.POST.getlist(ACTION_CHECKBOX_NAME)
        carried = [(ACTION_CHECKBOX_NAME, value) for value in selection]
        carried += [(name, request.POST[name]) for name in ("action", "select_across", "index") if name in request.POST]
        context = {
            **admin.admin_site.each_context(request),
            "title": self.description,
            "opts": admin.model._meta,
            "original": objects[0] if len(objects) == 1 and not selection else None,
            "effect": effect,
            "warnings": list(self.warnings(objects)) if self.warnings else [],
            "objects": [(self.describe(obj), change_url(admin, obj)) for obj in objects[:LISTED_OBJECTS]],
            "unlisted": max(0, len(objects) - LISTED_OBJECTS),
            "object_count": len(objects),
            "skipped": [str(obj) for obj in skipped],
            "form": form,
            "carried": carried,
            "confirmed_name": CONFIRMED,
            "confirm_label": self.confirm_label or self.description,
            "danger": self.variant is ActionVariant.DANGER,
            "back": back,
        }
        return TemplateResponse(request, "backoffice/confirm_action.html", context, status=status)


def service_action(
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
) -> Callable[[Handler], Callable[..., HttpResponse | None]]:
    """
    Turn `method(self, request, obj, call)` into an admin action with confirmation, reason, permission and messages.

    `effect` says what will happen (text, or a function of the objects); `warnings` what to beware of; `allowed` hides
    the button for states that do not permit it, `refuses` for people who may not do it to this object and says why. The
    method returns the success message, or a response, or None.
    """
    chosen = ActionVariant(variant) if isinstance(variant, str) else variant

    def decorate(handler: Handler) -> Callable[..., HttpResponse | None]:
        declaration = ServiceAction(
            handler=handler,
            description=description,
            permission=permission,
            effect=effect,
            warnings=warnings,
            allowed=allowed,
            refuses=refuses,
            form=form,
            confirm_label=confirm_label,
            variant=chosen,
            describe=describe,
        )

        def view(admin: Any, request: HttpRequest, target: Any = None, object_id: Any = None) -> HttpResponse | None:
            return declaration.respond(admin, request, target if target is not None else object_id)

        update_wrapper(view, handler)
        view.service_action = declaration  # type: ignore[attr-defined]
        view.short_description = description  # type: ignore[attr-defined]
        view.original_function_name = handler.__name__  # type: ignore[attr-defined]
        view.icon = icon  # type: ignore[attr-defined]
        view.variant = chosen  # type: ignore[attr-defined]
        view.attrs = {}  # type: ignore[attr-defined]
        view.url_path = url_path or handler.__name__.strip("_").replace("_", "-")  # type: ignore[attr-defined]
        return view

    return decorate


def find_service_action(function: Any) -> ServiceAction | None:
    """Return the declaration behind an action function or bound method, or None for another kind of action."""
    return getattr(function, "service_action", None)


def staff_actor(request: HttpRequest) -> Actor:
    """Return the signed-in person as an actor."""
    return Actor("staff", request.user.get_username())


def find_clock(obj: Any) -> Any:
    """Return what carries the object's clock: itself, its account, or None for real time."""
    for owner in (obj, getattr(obj, "account", None)):
        if owner is not None and hasattr(owner, "clock_time"):
            return owner
    return None


def error_text(error: DomainError) -> str:
    """Return a refusal as one sentence, with its findings."""
    findings = [f"{finding.pointer}: {finding.detail}" for finding in error.errors]
    return error.detail if len(findings) < 2 else " ".join([error.detail, *findings])


def changelist_url(admin: Any) -> str:
    meta = admin.model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")


def change_url(admin: Any, obj: Any) -> str:
    meta = admin.model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[obj.pk])
