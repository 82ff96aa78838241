"""Which account a caller means: audience by role by organization."""

from __future__ import annotations

import pytest

from accounts.models import Account
from accounts.queries.access import choose_accounts, get_role, resolve_account, visible_accounts, with_caller_role
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import AccountForbidden, AccountRequired, NotFound
from tests.factories.accounts import make_account, make_member

pytestmark = pytest.mark.django_db

SERVICE = Principal("internal", "svc")
ACME_SERVICE = Principal("internal", "svc", org="acme")


def person(subject: str) -> Principal:
    return Principal("public", subject)


@pytest.fixture
def acme() -> Account:
    """`acme/shop`, owned by alice; bob is admin, carol a member."""
    account = make_account("acme/shop", owner_user_id="alice")
    make_member(account, "bob", "admin")
    make_member(account, "carol", "member")
    return account


@pytest.fixture
def globex() -> Account:
    """Nobody's but its own."""
    return make_account("globex/shop")


# (caller, account, read, write): True for allowed, else the refusal.
MATRIX = [
    (SERVICE, "acme", True, True),
    (SERVICE, "globex", True, True),
    (ACME_SERVICE, "acme", True, True),
    (ACME_SERVICE, "globex", NotFound, NotFound),
    (person("alice"), "acme", True, True),
    (person("bob"), "acme", True, True),
    (person("carol"), "acme", True, AccountForbidden),
    (person("dave"), "acme", AccountForbidden, AccountForbidden),
    (person("alice"), "globex", AccountForbidden, AccountForbidden),
    (person("globex/shop"), "globex", True, True),
    # Subjects are compared exactly: an identity provider may tell Alice and alice apart.
    (person("Alice"), "acme", AccountForbidden, AccountForbidden),
    # A public token never becomes internal, whatever it is called or holds.
    (Principal("public", "svc", frozenset({"billing:money"}), org="acme"), "acme", AccountForbidden, AccountForbidden),
]


class TestResolveAccount:
    @pytest.mark.parametrize(("caller", "name", "read", "write"), MATRIX)
    @pytest.mark.parametrize("spelling", ["id", "external", "shouted"])
    def test_of_a_named_account(
        self,
        acme: Account,
        globex: Account,
        caller: Principal,
        name: str,
        read: type[Exception] | bool,
        write: type[Exception] | bool,
        spelling: str,
    ) -> None:
        account = {"acme": acme, "globex": globex}[name]
        reference = {
            "id": account.public_id,
            "external": str(account.external_id),
            "shouted": f"  {str(account.external_id).upper()} ",
        }[spelling]
        for wanted, is_write in ((read, False), (write, True)):
            if wanted is True:
                assert resolve_account(caller, reference, write=is_write) == account
            else:
                with pytest.raises(wanted):  # type: ignore[arg-type]
                    resolve_account(caller, reference, write=is_write)

    @pytest.mark.parametrize(("caller", "error"), [(SERVICE, NotFound), (person("alice"), AccountForbidden)])
    @pytest.mark.parametrize("reference", ["acme/nobody", "acc_" + "0" * 26, "sub_" + "0" * 26, "' OR 1=1 --"])
    def test_of_an_unknown_account_tells_nothing(
        self, acme: Account, caller: Principal, error: type[Exception], reference: str
    ) -> None:
        with pytest.raises(error):
            resolve_account(caller, reference)

    @pytest.mark.parametrize("reference", [None, "", "  "])
    def test_of_internal_callers_needs_a_name(self, acme: Account, reference: str | None) -> None:
        with pytest.raises(AccountRequired):
            resolve_account(SERVICE, reference)

    def test_defaults_to_the_account_of_the_subject(self, acme: Account) -> None:
        own = make_account("alice")
        assert resolve_account(person("alice"), None) == own
        assert resolve_account(person("alice"), "acme/shop") == acme

    def test_defaults_to_a_sole_membership(self, acme: Account) -> None:
        assert resolve_account(person("carol"), None) == acme

    def test_asks_for_a_name_when_there_are_several(self, acme: Account, globex: Account) -> None:
        make_member(globex, "carol")
        with pytest.raises(AccountRequired):
            resolve_account(person("carol"), None)

    def test_finds_none_for_a_stranger(self, acme: Account) -> None:
        with pytest.raises(NotFound):
            resolve_account(person("dave"), None)

    def test_does_not_hand_over_an_account_whose_handle_was_taken_by_another(self) -> None:
        make_account("alice", owner_user_id="mallory")
        with pytest.raises(NotFound):
            resolve_account(person("alice"), None)


class TestVisibleAccounts:
    def test_follow_membership_and_organization(self, acme: Account, globex: Account) -> None:
        assert set(visible_accounts(SERVICE)) == {acme, globex}
        assert set(visible_accounts(ACME_SERVICE)) == {acme}
        assert set(visible_accounts(person("carol"))) == {acme}
        assert set(visible_accounts(person("dave"))) == set()

    def test_say_the_callers_role(self, acme: Account, globex: Account) -> None:
        make_member(globex, "carol", "admin")
        carol = person("carol")
        roles = {row.pk: row.caller_role for row in with_caller_role(carol, visible_accounts(carol))}  # type: ignore[attr-defined]
        assert roles == {acme.pk: "member", globex.pk: "admin"}
        assert get_role(carol, acme) == "member"
        assert get_role(SERVICE, acme) is None


class TestChooseAccounts:
    def test_without_a_name_is_the_own_account_or_all_visible(self, acme: Account, globex: Account) -> None:
        own = make_account("carol")
        assert set(choose_accounts(person("carol"), None)) == {own}
        assert set(choose_accounts(person("bob"), None)) == {acme}
        assert set(choose_accounts(SERVICE, None)) == {acme, globex, own}

    def test_with_a_name_is_that_one(self, acme: Account, globex: Account) -> None:
        assert set(choose_accounts(SERVICE, "GLOBEX/shop")) == {globex}
        with pytest.raises(AccountForbidden):
            choose_accounts(person("bob"), "globex/shop")
