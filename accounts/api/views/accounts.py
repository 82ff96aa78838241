"""Accounts and the people who act for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from django.db.models import Value
from django.db.models.functions import Lower
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.accounts import (
    AccountCreateInput,
    AccountQuery,
    AccountSerializer,
    AccountUpdateInput,
    MemberAddInput,
    MemberRoleInput,
    MemberSerializer,
)
from accounts.models import Account, Member
from accounts.queries.access import (
    WRITING_ROLES,
    find_account,
    get_role,
    require_role,
    resolve_account,
    visible_accounts,
    with_caller_role,
)
from accounts.queries.snapshots import ADDRESS_FIELDS
from accounts.services.accounts import ExternalIdTaken, choose_handle, create_account, update_account
from accounts.services.members import LastOwner, MemberExists, add_member, change_member_role, remove_member
from billing_site.api.bodies import DeletedSerializer
from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ, both
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, CurrencyUnsupported, NotFound, ValidationFailed

WRITE = both("billing:account:write")
# How an account is billed is agreed with whoever runs this service.
BILLING_SETTINGS: Final = ("billing_threshold", "grace_hours", "invoice_grouping")


class AccountViewSet(BillingViewSet):
    """Who is billed."""

    scopes = {"list": BOTH_READ, "retrieve": BOTH_READ, "create": WRITE, "partial_update": WRITE}
    problems = {
        "create": [ExternalIdTaken, CurrencyUnsupported],
        "retrieve": [NotFound],
        "partial_update": [NotFound, AccountForbidden, CurrencyUnsupported],
    }
    operation_ids = {
        "list": "account_list",
        "create": "account_create",
        "retrieve": "account_get",
        "partial_update": "account_update",
    }

    @extend_schema(parameters=[AccountQuery], responses=list_of(AccountSerializer))
    def list(self, request: Request) -> Response:
        """List the accounts the caller may see."""
        query = query_serializer(AccountQuery, request)
        accounts = with_caller_role(self.principal, visible_accounts(self.principal))
        for name in ("external_id", "email"):
            if name in query:
                accounts = accounts.alias(**{f"{name}_key": Lower(name)}).filter(
                    **{f"{name}_key": Lower(Value(query[name].strip()))}
                )
        if "org_id" in query:
            accounts = accounts.filter(org_id=query["org_id"].strip().lower())
        if "status" in query:
            accounts = accounts.filter(status=query["status"])
        return self.page(accounts, AccountSerializer)

    @extend_schema(request=AccountCreateInput, responses={201: AccountSerializer})
    def create(self, request: Request) -> Response:
        """Create an account; a public caller becomes its owner."""
        body = AccountCreateInput(data=request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = dict(body.validated_data)
        owner = values.pop("owner_user_id", None)
        if not self.principal.is_internal:
            _refuse_internal_only("owner_user_id", owner)
            owner = self.principal.subject
        external_id, org_id = choose_handle(
            self.principal, external_id=values.pop("external_id", None), org_id=values.pop("org_id", None)
        )
        with _pointing_into_address():
            account = create_account(
                **values,
                external_id=external_id,
                org_id=org_id,
                owner_user_id=owner,
                at=clock.now(),
                actor=self.actor,
            )
        return self._answer(account, status=201)

    @extend_schema(responses=AccountSerializer)
    def retrieve(self, request: Request, account_id: str) -> Response:
        """Show one account with its profile."""
        return self._answer(self._get_visible(account_id))

    @extend_schema(request=AccountUpdateInput, responses=AccountSerializer)
    def partial_update(self, request: Request, account_id: str) -> Response:
        """Change the profile of an account."""
        account = self._get_visible(account_id)
        require_role(self.principal, account, WRITING_ROLES)
        body = AccountUpdateInput(data=request.data)
        body.is_valid(raise_exception=True)
        if not self.principal.is_internal:
            _refuse_internal_only("tier", body.validated_data.get("tier"))
            for name in (each for each in BILLING_SETTINGS if each in body.validated_data):
                raise ValidationFailed.of(f"/{name}", "internal_only", f"Only internal callers may set {name}.")
        with _pointing_into_address():
            account = update_account(
                account_id=account.pk, changes=body.validated_data, at=clock.now(account), actor=self.actor
            )
        return self._answer(account)

    def _get_visible(self, reference: str) -> Account:
        account = find_account(visible_accounts(self.principal), reference)
        if account is None:
            raise NotFound("account")
        return account

    def _answer(self, account: Account, status: int = 200) -> Response:
        account.caller_role = get_role(self.principal, account)  # type: ignore[attr-defined]
        return Response(AccountSerializer(account).data, status=status)


class MemberViewSet(BillingViewSet):
    """The people who may act for an account."""

    scopes = {"list": BOTH_READ, "create": WRITE, "partial_update": WRITE, "destroy": WRITE}
    problems = {
        "list": [AccountForbidden, NotFound],
        "create": [AccountForbidden, NotFound, MemberExists],
        "partial_update": [AccountForbidden, NotFound, LastOwner],
        "destroy": [AccountForbidden, NotFound, LastOwner],
    }
    operation_ids = {
        "list": "member_list",
        "create": "member_add",
        "partial_update": "member_update",
        "destroy": "member_remove",
    }

    @extend_schema(responses=list_of(MemberSerializer))
    def list(self, request: Request, account_id: str) -> Response:
        """List the people who may act for an account."""
        return self.page(Member.objects.filter(account=resolve_account(self.principal, account_id)), MemberSerializer)

    @extend_schema(request=MemberAddInput, responses={201: MemberSerializer})
    def create(self, request: Request, account_id: str) -> Response:
        """Give a person a role on an account."""
        account = resolve_account(self.principal, account_id, write=True)
        body = MemberAddInput(data=request.data)
        body.is_valid(raise_exception=True)
        member = add_member(
            account=account,
            **body.validated_data,
            at=clock.now(account),
            actor=self.actor,
            caller_role=get_role(self.principal, account),
        )
        return Response(MemberSerializer(member).data, status=201)

    @extend_schema(request=MemberRoleInput, responses=MemberSerializer)
    def partial_update(self, request: Request, account_id: str, member_id: str) -> Response:
        """Change the role of a member."""
        account = resolve_account(self.principal, account_id, write=True)
        body = MemberRoleInput(data=request.data)
        body.is_valid(raise_exception=True)
        member = change_member_role(
            member_id=self._get_member(account, member_id).pk,
            role=body.validated_data["role"],
            at=clock.now(account),
            actor=self.actor,
            caller_role=get_role(self.principal, account),
        )
        return Response(MemberSerializer(member).data)

    @extend_schema(responses={200: DeletedSerializer})
    def destroy(self, request: Request, account_id: str, member_id: str) -> Response:
        """Take a person off an account; members may remove themselves."""
        account = resolve_account(self.principal, account_id)
        member = self._get_member(account, member_id)
        remove_member(
            member_id=member.pk,
            at=clock.now(account),
            actor=self.actor,
            caller_role=get_role(self.principal, account),
            is_self=not self.principal.is_internal and member.user_id == self.principal.subject,
        )
        return Response({"id": member.public_id, "deleted": True})

    def _get_member(self, account: Account, reference: str) -> Member:
        key = Member.parse_id(reference)
        member = None if key is None else Member.objects.filter(account=account, pk=key).first()
        if member is None:
            raise NotFound("member")
        return member


@contextmanager
def _pointing_into_address() -> Iterator[None]:
    """Let findings about parts of the address point to where the body has them."""
    try:
        yield
    except ValidationFailed as refusal:
        refusal.errors = tuple(
            replace(finding, pointer=f"/address{finding.pointer}")
            if finding.pointer.removeprefix("/") in ADDRESS_FIELDS
            else finding
            for finding in refusal.errors
        )
        raise


def _refuse_internal_only(name: str, value: object) -> None:
    if value is not None:
        raise ValidationFailed.of(f"/{name}", "internal_only", f"Only internal callers may set {name}.")
