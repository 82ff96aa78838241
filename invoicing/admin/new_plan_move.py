"""Starting a plan move: choose, look at what it would change, confirm."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from accounts.models import Subscription
from billing_site.backoffice.actions import CONFIRMED, Call, ReasonForm
from billing_site.backoffice.display import NOTHING, format_amount, format_quantity, link_to
from catalog.models import Plan, PlanVersion
from invoicing.models import MoveTiming
from invoicing.queries.plan_moves import (
    MovePlan,
    MovePreview,
    MoveTotals,
    count_by_version,
    get_target,
    preview_move,
)
from invoicing.services.plan_moves import MoveRequest, NothingToMove, resolve_move, start_move

START: Final = "_start"
_SEEN: Final = "_seen"
_MARK: Final = "_mark"
_SHOWN_ROWS: Final = 100
_SHOWN_OBSTACLES: Final = 5
_WHEN: Final = (
    (MoveTiming.PERIOD_END.value, "With each next period: what closes is billed at the old prices"),
    (MoveTiming.NOW.value, "At once: usage of the running period is rated anew, the fee that was billed stays"),
)


class PlanChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Plans by name, with their key and organization."""

    def label_from_instance(self, obj: Any) -> str:
        name = obj.current_version.name if obj.current_version else obj.key
        return f"{name} ({obj.key}, {obj.org_id})"


class NewMoveForm(ReasonForm):
    """
    Which subscriptions, where to, when.

    Versions are offered for the plan that a link or an earlier page named; without one the plan is asked for first.
    """

    plan = PlanChoiceField(
        queryset=Plan.objects.filter(current_version__isnull=False)
        .select_related("current_version")
        .order_by("org_id", "key"),
        widget=UnfoldAdminSelectWidget(),
    )
    version = forms.TypedChoiceField(label="To version", coerce=int, choices=(), widget=UnfoldAdminSelectWidget())
    when = forms.ChoiceField(choices=_WHEN, initial=MoveTiming.PERIOD_END, widget=UnfoldAdminRadioSelectWidget())
    from_versions = forms.TypedMultipleChoiceField(
        label="Only those on",
        coerce=int,
        required=False,
        choices=(),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="None: every version.",
    )
    only = forms.CharField(
        label="Only these subscriptions",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "placeholder": "sub_…"}),
        help_text="Ids, separated by spaces or lines. Empty: all.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plan = self._find_plan()
        if plan is None or (self.is_bound and "version" not in self.data):
            for name in ("version", "when", "from_versions", "only", "reason"):
                del self.fields[name]
            return
        versions = list(PlanVersion.objects.filter(plan=plan).order_by("-version").values_list("version", flat=True))
        current = plan.current_version.version if plan.current_version else versions[0]
        counts = count_by_version([plan.pk]).get(plan.pk, {})
        labels = [(number, f"v{number}, on sale" if number == current else f"v{number}") for number in versions]
        self.fields["version"].choices = labels  # type: ignore[attr-defined]
        self.fields["from_versions"].choices = [  # type: ignore[attr-defined]
            (number, f"v{number} ({format_quantity(counts[number])} running)") for number in sorted(counts)
        ]
        self.initial.setdefault("version", current)
        chosen = self.initial.get("from_versions", [])
        self.initial["from_versions"] = chosen if isinstance(chosen, list) else [chosen]

    def _find_plan(self) -> Plan | None:
        value = self.data.get("plan") if self.is_bound else self.initial.get("plan")
        try:
            found: Plan | None = self.fields["plan"].clean(value)
        except forms.ValidationError:
            return None
        return found

    def clean_only(self) -> list[uuid.UUID]:
        """Return the keys of the subscriptions named."""
        texts = re.split(r"[\s,;]+", self.cleaned_data["only"].strip())
        keys = {text: Subscription.parse_id(text) for text in texts if text}
        wrong = [text for text, key in keys.items() if key is None]
        if wrong:
            raise forms.ValidationError(f"No ids of subscriptions: {', '.join(wrong)[:200]}")
        return [key for key in keys.values() if key is not None]

    def clean(self) -> dict[str, Any]:
        """Without a plan there was nothing else to fill in."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        data.setdefault("reason", "")
        return data


@dataclass(frozen=True, slots=True)
class Row:
    """One subscription as the preview shows it."""

    account: Any
    subscription: Any
    version: str
    billed_next: str
    currency: str
    amounts: tuple[str, ...]
    difference: str
    kept: tuple[str, ...]
    lost: tuple[str, ...]


def respond_to_new_move(page: Any, request: HttpRequest, call: Call) -> HttpResponse:
    """
    Answer the form: the preview, or, confirmed, the move's own page.

    :raises NothingToMove: if nobody is concerned. :raises MoveInProgress: beside another move of the plan.
    """
    address = reverse("admin:invoicing_planmove_move_subscriptions")
    plan: Plan = call.data["plan"]
    if "version" not in call.data:
        return HttpResponseRedirect(f"{address}?plan={plan.pk}")
    mark = request.POST.get(_MARK, "")
    move_request = MoveRequest(
        org_id=plan.org_id,
        plan_key=plan.key,
        timing=call.data["when"],
        version=call.data["version"],
        from_versions=call.data["from_versions"] or None,
        subscription_ids=call.data["only"] or None,
        key=mark if re.fullmatch(r"[0-9a-f]{32}", mark) else "",
    )
    if START in request.POST and (answer := _start(request, move_request, call)) is not None:
        return answer
    version, subscriptions = resolve_move(move_request)
    if not subscriptions:
        raise NothingToMove(f"No running subscription that you chose is on another version than v{version.version}.")
    found = preview_move(subscriptions, target=get_target(version), timing=move_request.timing)
    context = {
        **page.admin_site.each_context(request),
        **_describe(version, subscriptions, found),
        "opts": page.model._meta,
        "title": f"Move {version.name} to v{version.version}",
        "at_once": move_request.timing == MoveTiming.NOW,
        "reason": call.reason,
        "carried": _carry(request),
        "confirmed_name": CONFIRMED,
        "start_name": START,
        "mark": (_MARK, uuid.uuid4().hex),
        "seen": (_SEEN, len(subscriptions)),
        "back": reverse("admin:invoicing_planmove_changelist"),
    }
    return TemplateResponse(request, "invoicing/plan_move_preview.html", context)


def _start(request: HttpRequest, move_request: MoveRequest, call: Call) -> HttpResponse | None:
    """Start what was confirmed, or return None when it is not any more what the person has seen."""
    _, subscriptions = resolve_move(move_request)
    seen = request.POST.get(_SEEN, "")
    if subscriptions and seen != str(len(subscriptions)):
        messages.warning(request, f"You confirmed {seen} subscriptions; now they are {len(subscriptions)}. Look again.")
        return None
    move = start_move(request=move_request, at=call.at, actor=call.actor, reason=call.reason)
    messages.success(request, f"{move} is on its way.")
    return HttpResponseRedirect(reverse("admin:invoicing_planmove_change", args=[move.pk]))


def _carry(request: HttpRequest) -> list[tuple[str, str]]:
    """Return what was typed, for the forms of the preview."""
    left_out = {CONFIRMED, START, _SEEN, _MARK, "csrfmiddlewaretoken"}
    return [(name, value) for name, values in request.POST.lists() if name not in left_out for value in values]


def _describe(version: PlanVersion, subscriptions: list[Subscription], found: MovePlan) -> dict[str, Any]:
    counts = Counter(each.plan_version.version for each in subscriptions)
    obstacles = found.list_obstacles()
    rows = [_build_row(each) for each in found.list_largest(_SHOWN_ROWS)]
    movable = [each for each in found.previews if not each.error_code]
    return {
        "plan_link": link_to(version.plan, version.name),
        "version_link": link_to(version, f"v{version.version}"),
        "subscription_count": len(subscriptions),
        "movable": found.movable,
        "versions": [(f"v{number}", format_quantity(counts[number])) for number in sorted(counts)],
        "totals": [_build_totals(total) for total in found.totals],
        "obstacles": [
            {
                "detail": obstacle.detail,
                "count": len(obstacle.subscriptions),
                "links": [link_to(each, each.account.name) for each in obstacle.subscriptions[:_SHOWN_OBSTACLES]],
                "more": max(0, len(obstacle.subscriptions) - _SHOWN_OBSTACLES),
            }
            for obstacle in obstacles
        ],
        "keeping": sum(bool(each.kept) for each in movable),
        "losing": sum(bool(each.lost) for each in movable),
        "rows": rows,
        "unlisted": max(0, found.movable - len(rows)),
    }


def _build_totals(total: MoveTotals) -> dict[str, str]:
    currency = total.currency
    return {
        "currency": currency.upper(),
        "subscriptions": format_quantity(total.subscriptions),
        "next_before": _format_amount(total.next_before, currency),
        "next_after": _format_amount(total.next_after, currency),
        "monthly_before": _format_amount(total.monthly_before, currency),
        "monthly_after": _format_amount(total.monthly_after, currency),
        "difference": _format_difference(total.monthly_difference, currency),
    }


def _build_row(preview: MovePreview) -> Row:
    subscription = preview.subscription
    currency = subscription.currency
    amounts = (preview.next_before, preview.next_after, preview.monthly_before, preview.monthly_after)
    return Row(
        account=link_to(subscription.account),
        subscription=link_to(subscription, f"…{subscription.public_id[-6:]}"),
        version=f"v{subscription.plan_version.version}",
        billed_next=_format_day(subscription),
        currency=currency.upper(),
        amounts=tuple(_format_amount(amount, currency) for amount in amounts),
        difference=_format_difference(preview.monthly_difference, currency),
        kept=preview.kept,
        lost=preview.lost,
    )


def _format_day(subscription: Subscription) -> str:
    moment = subscription.next_billing_at
    return f"{moment.astimezone(subscription.zone):%-d %b %Y}" if moment is not None else NOTHING


def _format_amount(amount: int, currency: str) -> str:
    return format_amount(amount, currency).replace("-", "\N{MINUS SIGN}")


def _format_difference(amount: int, currency: str) -> str:
    """Return an amount with its sign, also above zero."""
    return f"+{_format_amount(amount, currency)}" if amount > 0 else _format_amount(amount, currency)
