"""
Billing cycle doors.

They keep their own idempotency: the run is a row tied to the request's key, each subscription is billed in its own
transaction, and a repeat of the key (also after a crash) goes on with the same run and answers from its rows.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from billing_site.api.idempotency import HEADER, REPLAYED, mark_request
from billing_site.api.params import account_reference
from billing_site.api.permissions import AudienceRejected, Scopes, internal
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, ValidationFailed
from invoicing.api.serializers.cycle import (
    CycleInput,
    CycleRunAllSerializer,
    CycleRunInput,
    CycleRunSerializer,
    CycleRunUserInput,
)
from invoicing.models import BillingRun
from invoicing.queries.due import list_due, list_due_orgs
from invoicing.queries.previews import preview_subscriptions
from invoicing.queries.runs import get_org_names, list_results
from invoicing.services.run_work import work_run
from invoicing.services.runs import CycleInProgress, RunRequest, plan_run

_MONEY = internal("billing:money")


class CycleView(BillingAPIView):
    """What the three doors share."""

    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {"post": _MONEY}

    def read(self, serializer: type[CycleInput]) -> tuple[dict[str, Any], datetime]:
        """Return the body and the instant to bill up to. :raises ValidationFailed: for `at` in live mode."""
        if not isinstance(self.request.data, dict):
            raise ValidationFailed.of("", "not_an_object", "The body must be a JSON object.")
        bound = serializer(data=self.request.data)
        bound.is_valid(raise_exception=True)
        data = dict(bound.validated_data)
        if data.get("at") is not None and settings.BILLING_LIVEMODE:
            raise ValidationFailed.of("/at", "test_mode_only", "The clock can be moved in test mode only.")
        return data, data.get("at") or clock.now()

    def run(
        self, *, org_id: str, data: dict[str, Any], as_of: datetime, account: Account | None = None
    ) -> dict[str, Any]:
        """Plan and work off one run, or preview it, and return the answer."""
        if data["dry_run"]:
            return self._preview(org_id, data, as_of, account)
        run = plan_run(
            org_id=org_id,
            as_of=as_of,
            request=self.request_mark(),
            livemode=settings.BILLING_LIVEMODE,
            account=account,
            limit=data["limit"],
        )
        run = work_run(run_id=run.id, actor=self.actor)
        return answer_run(run)

    def request_mark(self) -> RunRequest:
        """Return who asks, and the request's own key when it carries one."""
        key, digest = mark_request(self.request, self.principal)
        return RunRequest(self.actor, key=key, hash=digest)

    def _preview(self, org_id: str, data: dict[str, Any], as_of: datetime, account: Account | None) -> dict[str, Any]:
        due = list_due(as_of=as_of, org_id=org_id, account_id=account.id if account else None, limit=data["limit"])
        previews = preview_subscriptions(subscription_ids=[each.subscription_id for each in due.items], as_of=as_of)
        results = [
            {
                "account_id": each.subscription.account.public_id,
                "subscription_id": each.subscription.public_id,
                "invoice_id": None,
                "success": True,
                "error": None,
                "amount": sum(draft.total for draft in each.drafts),
                "credit_applied": sum(invoice.credit_applied for invoice in each.invoices),
                "amount_due": sum(invoice.amount_due for invoice in each.invoices),
                "currency": each.subscription.currency,
            }
            for each in previews
        ]
        return {"run_id": None, "processed": len(results), "remaining": due.remaining, "results": results}

    def respond(self, body: dict[str, Any], serializer: type[Any], *, replayed: bool = False) -> Response:
        """Render the answer."""
        response = Response(serializer(body).data)
        if replayed:
            response[REPLAYED] = "true"
        return response

    def is_repeat(self) -> bool:
        """Tell whether a run of this request exists already."""
        mark = self.request_mark() if HEADER in self.request.headers else None
        return mark is not None and BillingRun.objects.filter(request_key=mark.key).exists()


def answer_run(run: BillingRun) -> dict[str, Any]:
    """Return the answer of a run, from its rows."""
    results = [asdict(result) for result in list_results(run)]
    return {
        "run_id": run.public_id,
        "processed": len(results),
        "remaining": run.remaining,
        "results": results,
    }


class CycleRunView(CycleView):
    """One organization."""

    operation_ids: ClassVar[dict[str, str]] = {"post": "cycle_run"}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"post": [CycleInProgress, "idempotency_key_reused"]}

    @extend_schema(request=CycleRunInput, responses=CycleRunSerializer)
    def post(self, request: Request) -> Response:
        """Bill everything that is due in the caller's organization."""
        data, as_of = self.read(CycleRunInput)
        org_id = data.get("org_id") or self.principal.org
        if org_id is None:
            raise ValidationFailed.of("/org_id", "required", "Name the organization; the token names none.")
        if self.principal.org not in (None, org_id):
            raise ValidationFailed.of("/org_id", "forbidden", "The token is limited to another organization.")
        replayed = self.is_repeat()
        return self.respond(self.run(org_id=org_id, data=data, as_of=as_of), CycleRunSerializer, replayed=replayed)


class CycleRunUserView(CycleView):
    """One account."""

    operation_ids: ClassVar[dict[str, str]] = {"post": "cycle_run_user"}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "post": ["not_found", "account_required", "idempotency_key_reused"]
    }

    @extend_schema(request=CycleRunUserInput, responses=CycleRunSerializer)
    def post(self, request: Request) -> Response:
        """Bill everything that is due for one account."""
        account = resolve_account(self.principal, account_reference(request))
        data, as_of = self.read(CycleInput)
        if account.test_clock is not None and data.get("at") is None:
            as_of = clock.now(account)
        replayed = self.is_repeat()
        body = self.run(org_id=account.org_id, data=data, as_of=as_of, account=account)
        return self.respond({"account_id": account.public_id, **body}, CycleRunSerializer, replayed=replayed)


class CycleRunAllView(CycleView):
    """Every organization."""

    operation_ids: ClassVar[dict[str, str]] = {"post": "cycle_run_all"}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "post": [CycleInProgress, AudienceRejected, "idempotency_key_reused"]
    }

    @extend_schema(request=CycleInput, responses=CycleRunAllSerializer)
    def post(self, request: Request) -> Response:
        """Bill everything that is due in every organization; needs a token without an org claim."""
        if self.principal.org is not None:
            raise AudienceRejected("The token is limited to one organization.")
        data, as_of = self.read(CycleInput)
        replayed = self.is_repeat()
        org_ids = self._list_orgs(as_of)
        names = get_org_names(org_ids)
        answers, left = [], data["limit"]
        for org_id in org_ids:
            if left <= 0:
                break
            body = self.run(org_id=org_id, data=data | {"limit": left}, as_of=as_of)
            left -= body["processed"]
            if body["results"]:
                answers.append({"org_id": org_id, "org_name": names[org_id], **body})
        total = sum(answer["processed"] for answer in answers)
        return self.respond(
            {"orgs": len(answers), "total_processed": total, "results": answers},
            CycleRunAllSerializer,
            replayed=replayed,
        )

    def _list_orgs(self, as_of: datetime) -> list[str]:
        """Return the organizations with something due; of a repeat, those that the first request began with too."""
        key = self.request_mark().key
        begun = BillingRun.objects.filter(request_key=key).values_list("org_id", flat=True) if key else []
        return sorted({*begun, *list_due_orgs(as_of=as_of)})
