"""Who may act for an account."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from accounts.models import Account, Member
from accounts.services.members import LastOwner, MemberExists, add_member, change_member_role, remove_member
from billing_site.kernel.errors import AccountForbidden, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account, make_member

ROLES = ("owner", "admin", "member")
MAY_ADD = {
    *((None, role) for role in ROLES),
    *(("owner", role) for role in ROLES),
    ("admin", "admin"),
    ("admin", "member"),
}


@pytest.fixture
def account(db: None) -> Account:
    """Owned by `alice`."""
    return make_account(owner_user_id="alice")


def owner_of(account: Account) -> Member:
    return Member.objects.get(account=account, role="owner")


class TestAddMember:
    @pytest.mark.parametrize("caller", [None, *ROLES])
    @pytest.mark.parametrize("role", ROLES)
    def test_needs_the_right_role(self, account: Account, caller: str | None, role: str) -> None:
        def add() -> Member:
            return add_member(account=account, user_id="bob", role=role, caller_role=caller, at=AT, actor=ACTOR)

        if (caller, role) in MAY_ADD:
            assert add().role == role
            assert Event.objects.get(type="account.member_added").data["user_id"] == "bob"
        else:
            with pytest.raises(AccountForbidden):
                add()
            assert Member.objects.count() == 1

    def test_takes_a_subject_or_an_address(self, account: Account) -> None:
        assert add_member(account=account, email="c@acme.example", at=AT, actor=ACTOR).user_id == ""
        with pytest.raises(ValidationFailed):
            add_member(account=account, name="Nobody", at=AT, actor=ACTOR)

    def test_knows_who_is_there_already(self, account: Account) -> None:
        make_member(account, "bob")
        with pytest.raises(MemberExists):
            make_member(account, "bob")
        add_member(account=account, email="c@acme.example", at=AT, actor=ACTOR)
        with pytest.raises(MemberExists):
            add_member(account=account, user_id="carol", email="C@acme.example", at=AT, actor=ACTOR)
        make_member(make_account(), "bob")  # on another account


class TestChangeMemberRole:
    @pytest.mark.parametrize("caller", [None, *ROLES])
    @pytest.mark.parametrize("before", ROLES)
    @pytest.mark.parametrize("after", ROLES)
    def test_needs_the_right_role(self, account: Account, caller: str | None, before: str, after: str) -> None:
        member = make_member(account, "bob", before)
        allowed = caller in (None, "owner") or (caller == "admin" and "owner" not in (before, after))

        def change() -> Member:
            return change_member_role(member_id=member.pk, role=after, caller_role=caller, at=AT, actor=ACTOR)

        if allowed:
            assert change().role == after
            assert Event.objects.filter(type="account.member_updated").count() == (before != after)
        else:
            with pytest.raises(AccountForbidden):
                change()
            assert Member.objects.get(pk=member.pk).role == before

    def test_keeps_an_owner(self, account: Account) -> None:
        with pytest.raises(LastOwner):
            change_member_role(member_id=owner_of(account).pk, role="admin", at=AT, actor=ACTOR)


class TestRemoveMember:
    def test_takes_the_person_off(self, account: Account) -> None:
        member = make_member(account, "bob")
        remove_member(member_id=member.pk, caller_role="admin", at=AT, actor=ACTOR)
        assert not Member.objects.filter(pk=member.pk).exists()
        assert Event.objects.get(type="account.member_removed").data["user_id"] == "bob"
        with pytest.raises(NotFound):
            remove_member(member_id=member.pk, at=AT, actor=ACTOR)

    def test_lets_everybody_leave_but_the_last_owner(self, account: Account) -> None:
        remove_member(member_id=make_member(account, "bob").pk, caller_role="member", is_self=True, at=AT, actor=ACTOR)
        with pytest.raises(LastOwner):
            remove_member(member_id=owner_of(account).pk, caller_role="owner", is_self=True, at=AT, actor=ACTOR)

    def test_lets_no_admin_remove_an_owner(self, account: Account) -> None:
        make_member(account, "bob", "owner")
        with pytest.raises(AccountForbidden):
            remove_member(member_id=owner_of_named(account, "bob").pk, caller_role="admin", at=AT, actor=ACTOR)

    def test_of_nobody_is_not_found(self, db: None) -> None:
        with pytest.raises(NotFound):
            remove_member(member_id=new_uuid(), at=AT, actor=ACTOR)


def owner_of_named(account: Account, user_id: str) -> Member:
    return Member.objects.get(account=account, user_id=user_id)


@pytest.mark.django_db(transaction=True)
def test_two_owners_leaving_at_once_leave_one() -> None:
    account = make_account(owner_user_id="alice")
    make_member(account, "bob", "owner")
    start, refused = threading.Barrier(2), []

    def leave(member: Member) -> None:
        try:
            start.wait()
            remove_member(member_id=member.pk, at=AT, actor=ACTOR)
        except LastOwner as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=leave, args=[member]) for member in account.members.all()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(refused) == 1
    assert account.members.filter(role="owner").count() == 1
