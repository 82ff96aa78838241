"""`service_action`: nothing runs without permission, page, reason and CSRF token; refusals are messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from accounts.models import TestClock
from billing_site.kernel import clock as kernel_clock
from billing_site.kernel.actors import Actor
from tests.backoffice.site_urls import calls

MAY_ACT = ("view_testclock", "stamp_testclock")
SignIn = Callable[..., Client]
MakeClock = Callable[[str], TestClock]


def action_url(name: str, clock: TestClock) -> str:
    return reverse(f"admin:accounts_testclock_{name}", args=[clock.pk])


def change_url(clock: TestClock) -> str:
    return reverse("admin:accounts_testclock_change", args=[clock.pk])


def texts(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


class TestOneObject:
    def test_a_first_click_shows_the_effect_and_does_nothing(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        page = sign_in(*MAY_ACT).get(action_url("stamp", make_clock("old")))
        assert page.status_code == 200
        body = page.content.decode()
        assert "The clock is stamped." in body
        assert "old is old" in body
        assert "old (2026-03-01 00:00Z)" in body
        assert calls == []

    def test_with_a_reason_the_service_gets_actor_time_and_reason(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        clock = make_clock("fine")
        at = datetime(2026, 5, 1, 12, tzinfo=UTC)
        client = sign_in(*MAY_ACT)
        with kernel_clock.travel(at):
            answer = client.post(action_url("stamp", clock), {"_confirmed": "1", "reason": "  asked by audit "})
        assert (answer.status_code, answer["Location"]) == (302, change_url(clock))
        assert texts(answer) == ["fine stamped."]
        [(name, call)] = calls
        assert (name, call.actor, call.at, call.reason) == ("fine", Actor("staff", "ada"), at, "asked by audit")

    @pytest.mark.parametrize("reason", ["", "    ", "ok"])
    def test_without_a_proper_reason_it_asks_again(self, sign_in: SignIn, make_clock: MakeClock, reason: str) -> None:
        page = sign_in(*MAY_ACT).post(action_url("stamp", make_clock("fine")), {"_confirmed": "1", "reason": reason})
        assert page.context["form"].errors["reason"]
        assert calls == []

    def test_extra_fields_are_checked_and_handed_over(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        client, url = sign_in(*MAY_ACT), action_url("advance", make_clock("fine"))
        refused = client.post(url, {"_confirmed": "1", "reason": "month end", "days": "0"})
        assert refused.context["form"].errors["days"]
        assert calls == []
        client.post(url, {"_confirmed": "1", "reason": "month end", "days": "3"})
        assert calls[0][1].data == {"days": 3}

    def test_without_the_permission_it_is_refused(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        client, url = sign_in("view_testclock"), action_url("stamp", make_clock("fine"))
        assert client.get(url).status_code == 403
        assert client.post(url, {"_confirmed": "1", "reason": "asked by audit"}).status_code == 403
        assert calls == []

    def test_without_the_right_to_see_the_object_it_is_refused(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        client = sign_in("stamp_testclock")
        assert client.get(action_url("stamp", make_clock("fine"))).status_code == 403

    def test_without_a_csrf_token_it_is_refused(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        client = sign_in(*MAY_ACT, enforce_csrf_checks=True)
        answer = client.post(action_url("stamp", make_clock("fine")), {"_confirmed": "1", "reason": "asked by audit"})
        assert answer.status_code == 403
        assert calls == []

    def test_a_refusal_is_shown_with_what_was_typed(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        page = sign_in(*MAY_ACT).post(
            action_url("stamp", make_clock("broken")), {"_confirmed": "1", "reason": "asked by audit"}
        )
        assert page.status_code == 409
        assert "This clock is broken." in page.content.decode()
        assert "asked by audit" in page.content.decode()

    def test_the_button_is_hidden_where_it_cannot_work(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        client = sign_in(*MAY_ACT)
        for name, offered in (("fine", True), ("done", False)):
            clock = make_clock(name)
            body = client.get(change_url(clock)).content.decode()
            assert (action_url("stamp", clock) in body) is offered
            assert action_url("advance", clock) in body

    def test_a_person_who_may_not_do_it_to_this_object_is_told_why(
        self, sign_in: SignIn, make_clock: MakeClock
    ) -> None:
        client, clock = sign_in(*MAY_ACT), make_clock("ada's own")
        assert action_url("stamp", clock) not in client.get(change_url(clock)).content.decode()
        answer = client.post(action_url("stamp", clock), {"_confirmed": "1", "reason": "asked by audit"})
        assert answer["Location"] == change_url(clock)
        assert texts(answer) == ["This clock is yours."]
        assert calls == []
        other = make_clock("bob's own")
        client.post(action_url("stamp", other), {"_confirmed": "1", "reason": "asked by audit"})
        assert [name for name, _ in calls] == ["bob's own"]

    def test_the_button_is_hidden_from_who_may_not_use_it(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        clock = make_clock("fine")
        body = sign_in("view_testclock").get(change_url(clock)).content.decode()
        assert action_url("stamp", clock) not in body

    def test_a_state_that_changed_meanwhile_is_refused(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        clock = make_clock("done")
        answer = sign_in(*MAY_ACT).post(action_url("stamp", clock), {"_confirmed": "1", "reason": "asked by audit"})
        assert answer["Location"] == change_url(clock)
        assert "not possible" in texts(answer)[0]
        assert calls == []


class TestManyObjects:
    def post(self, client: Client, clocks: list[TestClock], **more: str) -> Any:
        data = {"action": "stamp", "_selected_action": [str(clock.pk) for clock in clocks], "index": "0", **more}
        return client.post(reverse("admin:accounts_testclock_changelist"), data)

    def test_the_page_lists_what_is_affected_and_what_is_left_out(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        page = self.post(sign_in(*MAY_ACT), [make_clock("one"), make_clock("two"), make_clock("done")])
        assert page.context["object_count"] == 2
        assert page.context["skipped"] == ["done (2026-03-01 00:00Z)"]
        assert calls == []

    def test_objects_a_person_may_not_touch_are_left_out(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        clocks = [make_clock("one"), make_clock("ada's own")]
        page = self.post(sign_in(*MAY_ACT), clocks)
        assert page.context["object_count"] == 1
        assert page.context["skipped"] == ["ada's own (2026-03-01 00:00Z)"]

    def test_each_object_gets_its_own_outcome(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        clocks = [make_clock("one"), make_clock("broken"), make_clock("two")]
        answer = self.post(sign_in(*MAY_ACT), clocks, _confirmed="1", reason="asked by audit")
        assert sorted(name for name, _ in calls) == ["one", "two"]
        assert texts(answer) == ["broken (2026-03-01 00:00Z): This clock is broken.", "Stamp: 2 of 3 done."]

    def test_it_is_not_offered_or_run_without_the_permission(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        client, clock = sign_in("view_testclock"), make_clock("one")
        self.post(client, [clock], _confirmed="1", reason="asked by audit")
        assert calls == []
        assert "Stamp" not in client.get(reverse("admin:accounts_testclock_changelist")).content.decode()

    def test_nothing_can_be_deleted_in_bulk(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        clock = make_clock("one")
        client = sign_in(*MAY_ACT, "delete_testclock")
        data = {"action": "delete_selected", "_selected_action": [str(clock.pk)], "post": "yes"}
        client.post(reverse("admin:accounts_testclock_changelist"), data)
        assert TestClock.objects.filter(pk=clock.pk).exists()


class TestWithoutAnObject:
    def test_it_runs_from_the_list(self, sign_in: SignIn) -> None:
        url = reverse("admin:accounts_testclock_stamp_all")
        client = sign_in(*MAY_ACT)
        assert url in client.get(reverse("admin:accounts_testclock_changelist")).content.decode()
        answer = client.post(url, {"_confirmed": "1", "reason": "asked by audit"})
        assert answer["Location"] == reverse("admin:accounts_testclock_changelist")
        assert [name for name, _ in calls] == ["all"]
