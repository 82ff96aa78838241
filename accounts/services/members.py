"""
Who may act for an account.

`caller_role` is the role of the person who asks on that account; None is our staff or an internal service, which may
do everything. Members read, admins also write, only owners change owners, and one owner stays.
Source: contract chapter Accounts and tokens.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import Account, Member, MemberRole
from accounts.queries.snapshots import describe_member
from accounts.services.account_locks import lock_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AccountForbidden, DomainError, NotFound, ValidationFailed
from billing_site.platform.services import events


class MemberExists(DomainError):
    code, title, status = "member_exists", "This person is a member already", 409


class LastOwner(DomainError):
    code, title, status = "last_owner", "The only owner cannot lose the role", 409


@transaction.atomic
def add_member(
    *,
    account: Account,
    at: datetime,
    actor: Actor,
    user_id: str = "",
    email: str = "",
    name: str = "",
    role: str = MemberRole.MEMBER,
    caller_role: str | None = None,
    reason: str = "",
) -> Member:
    """
    Give a person, known by token subject or e-mail address, a role and return the membership.

    :raises AccountForbidden: when the caller may not write, or is no owner and grants that role.
    :raises MemberExists: when the subject or the address is on the account already.
    """
    _require_allowed(caller_role, touches_owner=role == MemberRole.OWNER)
    user_id, email = user_id.strip(), email.strip()
    if not user_id and not email:
        raise ValidationFailed.of("/user_id", "required", "Name the person by user_id or email.")
    lock_account(account.pk)
    member = Member(account=account, user_id=user_id, email=email, name=name.strip(), role=role, added_at=at)
    try:
        with transaction.atomic():
            member.save(force_insert=True)
    except IntegrityError as error:
        if "_once_per_account" not in str(error):
            raise
        raise MemberExists(f"{user_id or email} is a member of this account already.") from error
    _emit("account.member_added", member, at=at, actor=actor, reason=reason)
    return member


@transaction.atomic
def change_member_role(
    *, member_id: UUID, role: str, at: datetime, actor: Actor, caller_role: str | None = None, reason: str = ""
) -> Member:
    """
    Set a member's role and return the membership; the same role again changes nothing.

    :raises AccountForbidden: when the caller may not write, or is no owner and one side of the change is owner.
    :raises LastOwner: when it is the only owner.
    """
    member = _lock_member(member_id)
    _require_allowed(caller_role, touches_owner=MemberRole.OWNER in (member.role, role))
    if member.role == role:
        return member
    if member.role == MemberRole.OWNER:
        _require_another_owner(member)
    previous, member.role = member.role, role
    member.save(update_fields=["role", "updated_at"])
    _emit("account.member_updated", member, at=at, actor=actor, previous={"role": previous}, reason=reason)
    return member


@transaction.atomic
def remove_member(
    *,
    member_id: UUID,
    at: datetime,
    actor: Actor,
    caller_role: str | None = None,
    is_self: bool = False,
    reason: str = "",
) -> None:
    """
    Take a person off an account. Members may remove themselves (`is_self`), whatever their role.

    :raises AccountForbidden: when the caller may not write, or is no owner and removes one.
    :raises LastOwner: when it is the only owner.
    """
    member = _lock_member(member_id)
    if not is_self:
        _require_allowed(caller_role, touches_owner=member.role == MemberRole.OWNER)
    if member.role == MemberRole.OWNER:
        _require_another_owner(member)
    _emit("account.member_removed", member, at=at, actor=actor, reason=reason)
    member.delete()


def _lock_member(member_id: UUID) -> Member:
    account_id = Member.objects.filter(pk=member_id).values_list("account_id", flat=True).first()
    if account_id is None:
        raise NotFound("member")
    lock_account(account_id)  # two owners cannot both leave at once
    member = Member.objects.select_for_update().filter(pk=member_id).first()
    if member is None:
        raise NotFound("member")
    return member


def _require_allowed(caller_role: str | None, *, touches_owner: bool) -> None:
    if caller_role == MemberRole.MEMBER:
        raise AccountForbidden("Only owners and admins change who belongs to an account.")
    if touches_owner and caller_role not in (None, MemberRole.OWNER):
        raise AccountForbidden("Only owners change owners.")


def _require_another_owner(member: Member) -> None:
    others = Member.objects.filter(account_id=member.account_id, role=MemberRole.OWNER).exclude(pk=member.pk)
    if not others.exists():
        raise LastOwner("At least one owner stays: make somebody else owner first.")


def _emit(
    type: str,
    member: Member,
    *,
    at: datetime,
    actor: Actor,
    previous: dict[str, str] | None = None,
    reason: str = "",
) -> None:
    events.emit(
        type,
        subject=member,
        account_id=member.account_id,
        at=at,
        actor=actor,
        data=describe_member(member),
        previous=previous,
        reason=reason,
    )
