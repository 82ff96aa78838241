"""
Which account a caller means, and which it may see.

A public caller acts through membership: the subject of its token is the `user_id` of a member. An internal caller
reaches every account, or those of one organization when its token has an `org` claim.
Source: contract chapter Accounts and tokens.
"""

from __future__ import annotations

from django.db.models import Case, CharField, Exists, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Lower

from accounts.models import Account, Member, MemberRole
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import AccountForbidden, AccountRequired, NotFound

WRITING_ROLES = (MemberRole.OWNER, MemberRole.ADMIN)


def visible_accounts(principal: Principal) -> QuerySet[Account]:
    """Return the accounts the caller may see: its memberships, or all (of its organization) when internal."""
    accounts = Account.objects.select_related("test_clock")
    if principal.is_internal:
        return accounts if principal.org is None else accounts.filter(org_id=principal.org)
    return accounts.filter(Exists(Member.objects.filter(account=OuterRef("pk"), user_id=principal.subject)))


def resolve_account(principal: Principal, reference: str | None, *, write: bool = False) -> Account:
    """
    Return the account the caller means by `reference` (public id or external id, trimmed, in any case).

    A public caller may leave it out: the account whose external id is its subject, or its only membership.
    :raises AccountRequired: when there is no reference and no single default.
    :raises AccountForbidden: when a public caller is no member, or with `write` only reads.
    :raises NotFound: when an internal caller names an account that is unknown or of another organization.
    """
    accounts = visible_accounts(principal)
    reference = (reference or "").strip()
    if reference:
        account = find_account(accounts, reference)
        if account is None and principal.is_internal:
            raise NotFound("account")
        if account is None:
            raise AccountForbidden
    else:
        account = _default_account(principal, accounts)
    if write:
        require_role(principal, account, WRITING_ROLES)
    return account


def find_account(accounts: QuerySet[Account], reference: str) -> Account | None:
    """Return the account of `accounts` with this public id or external id, or None."""
    key = Account.parse_id(reference)
    if key is not None:
        return accounts.filter(pk=key).first()
    return accounts.alias(handle=Lower("external_id")).filter(handle=Lower(Value(reference.strip()))).first()


def choose_accounts(principal: Principal, reference: str | None) -> QuerySet[Account]:
    """
    Return the accounts a list covers: the one named; without a name, a public caller's own or all it may see.

    :raises AccountForbidden: when a public caller names one it is no member of.
    :raises NotFound: when an internal caller names one that is unknown or of another organization.
    """
    accounts = visible_accounts(principal)
    if reference:
        return accounts.filter(pk=resolve_account(principal, reference).pk)
    own = None if principal.is_internal else find_account(accounts, principal.subject)
    return accounts if own is None else accounts.filter(pk=own.pk)


def _default_account(principal: Principal, accounts: QuerySet[Account]) -> Account:
    if principal.is_internal:
        raise AccountRequired
    key = Account.parse_id(principal.subject)
    is_own = Q(handle=Lower(Value(principal.subject.strip()))) if key is None else Q(pk=key)
    named = accounts.alias(handle=Lower("external_id")).annotate(is_own=Case(When(is_own, then=1), default=0))
    found = list(named.order_by("-is_own", "-id")[:2])
    if not found:
        raise NotFound("account", "You have no account yet.")
    if len(found) > 1 and not found[0].is_own:
        raise AccountRequired("You belong to several accounts: name one.")
    return found[0]


def get_role(principal: Principal, account: Account) -> str | None:
    """Return the role of a public caller on the account, or None when it is no member or internal."""
    if principal.is_internal:
        return None
    return Member.objects.filter(account=account, user_id=principal.subject).values_list("role", flat=True).first()


def require_role(principal: Principal, account: Account, roles: tuple[str, ...]) -> None:
    """:raises AccountForbidden: when a public caller holds none of `roles`. Internal callers pass."""
    if principal.is_internal:
        return
    role = get_role(principal, account)
    if role is None:
        raise AccountForbidden
    if role not in roles:
        raise AccountForbidden(f"Your role on this account is {role}; this needs {' or '.join(roles)}.")


def with_caller_role(principal: Principal, accounts: QuerySet[Account]) -> QuerySet[Account]:
    """Annotate each account with `caller_role`, null for internal callers."""
    if principal.is_internal:
        return accounts.annotate(caller_role=Value(None, output_field=CharField()))
    own = Member.objects.filter(account=OuterRef("pk"), user_id=principal.subject).values("role")[:1]
    return accounts.annotate(caller_role=Subquery(own))
