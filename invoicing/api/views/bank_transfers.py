"""Bank transfers: the references that payers quote. What arrives by them is matched by `accounts.api`."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import choose_accounts, resolve_account
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import (
    AccountForbidden,
    AccountRequired,
    CurrencyUnsupported,
    InvalidState,
    NotFound,
)
from invoicing.api.serializers.bank_transfer import (
    BankInstructionInput,
    BankInstructionQuery,
    BankInstructionSerializer,
)
from invoicing.models import BankTransferInstruction
from invoicing.queries.bank_transfers import get_visible_instruction, list_instructions
from invoicing.services.bank_instructions import BankDetails, issue_instruction

_CURSOR = OpenApiParameter("cursor", str, description="Opaque position from next_cursor.")
_LIMIT = OpenApiParameter("limit", int, description="Page size, 1 to 200.")


class BankInstructionViewSet(BillingViewSet):
    """What accounts are told to pay to, and to quote."""

    queryset = BankTransferInstruction.objects.none()
    serializer_class = BankInstructionSerializer
    scopes = {"create": internal("billing:invoice:write"), "list": BOTH_READ, "retrieve": BOTH_READ}
    problems = {
        "create": [AccountRequired, NotFound, InvalidState, CurrencyUnsupported],
        "list": [AccountForbidden, NotFound],
        "retrieve": [NotFound],
    }
    operation_ids = {
        "create": "bank_transfer_create",
        "list": "bank_transfer_list",
        "retrieve": "bank_transfer_get",
    }

    @extend_schema(request=BankInstructionInput, responses={201: BankInstructionSerializer})
    def create(self, request: Request) -> Response:
        """Issue bank details and a unique payment reference to an account."""
        body = BankInstructionInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = resolve_account(self.principal, account_reference(request))
        values = {name: value for name, value in body.validated_data.items() if name not in ("account", "currency")}
        instruction = issue_instruction(
            account=account,
            currency=body.validated_data["currency"],
            details=BankDetails(**values),
            at=clock.now(account),
            actor=self.actor,
        )
        return Response(BankInstructionSerializer(instruction).data, status=201)

    @extend_schema(parameters=[BankInstructionQuery, _CURSOR, _LIMIT], responses=list_of(BankInstructionSerializer))
    def list(self, request: Request) -> Response:
        """List bank transfer instructions, newest first."""
        query = query_serializer(BankInstructionQuery, request)
        accounts = choose_accounts(self.principal, account_reference(request))
        return self.page(list_instructions(accounts, status=query.get("status")), BankInstructionSerializer)

    @extend_schema(responses=BankInstructionSerializer)
    def retrieve(self, request: Request, instruction_id: str) -> Response:
        """Show one bank transfer instruction."""
        return Response(BankInstructionSerializer(get_visible_instruction(self.principal, instruction_id)).data)
