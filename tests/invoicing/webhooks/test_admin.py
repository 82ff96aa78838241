"""The inbox in the admin: what came is shown without secrets, and can be handled again."""

from __future__ import annotations

import html
import json

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from invoicing.admin.inbound_event import mask_body
from invoicing.models import InboundEvent
from invoicing.services.inbound_events import store_event
from tests.factories.platform import AT
from tests.support import world
from tests.support.inbound_event_states import new_event

LIST = "admin:invoicing_inboundevent_changelist"
pytestmark = pytest.mark.django_db


def sign_in(role: str = "billing") -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def page_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def store(event_id: str, **values: object) -> InboundEvent:
    store_event(new_event(event_id, **values), at=AT)  # type: ignore[arg-type]
    return InboundEvent.objects.get(event_id=event_id)


def change_url(event: InboundEvent) -> str:
    return reverse("admin:invoicing_inboundevent_change", args=[event.pk])


def test_lists_and_narrows_and_says_how_it_is_doing() -> None:
    store("evt_1")
    parked = store("evt_2", object_id="sub_2")
    InboundEvent.objects.filter(pk=parked.pk).update(
        status="parked", last_error="it rains", account=world.open_account()
    )
    client = sign_in("viewer")
    page = page_of(client, reverse(LIST))
    assert "1 pending, the oldest since 1 Mar 2026 12:30 UTC; 0 of them failed before; 1 parked." in page
    assert list(client.get(reverse(LIST), {"status__exact": "parked"}).context["cl"].result_list) == [parked]
    assert list(client.get(reverse(LIST), {"q": "sub_2"}).context["cl"].result_list) == [parked]


def test_shows_what_came_without_secrets() -> None:
    body = {
        "data": {
            "object": {
                "client_secret": "pi_1_secret_abc",
                "description": "paid with 4242 4242 4242 4242",
                "card": {"number": "4000056655665556", "last4": "5556"},
                "key": "sk_" + "live_" + "a" * 24,
            }
        }
    }
    event = store("evt_1", body=json.dumps(body).encode())
    page = page_of(sign_in("viewer"), change_url(event))
    assert '"last4": "5556"' in page
    for secret in ("pi_1_secret_abc", "4242 4242", "4000056655665556", "a" * 24):
        assert secret not in page
    assert mask_body({"number": "", "x": [{"iban": "DE1"}]}) == {"number": "", "x": [{"iban": "[hidden]"}]}


@pytest.mark.parametrize("body", [b"not json", b"\xff"])
def test_shows_nothing_of_what_cannot_be_read(body: bytes) -> None:
    event = store("evt_1", body=body)
    assert "not json" not in page_of(sign_in("viewer"), change_url(event))


def test_handles_again_what_is_settled() -> None:
    event = store("evt_1")
    InboundEvent.objects.filter(pk=event.pk).update(status="stored", outcome="Kept.", handled_at=AT)
    url = change_url(event).replace("/change/", "/handle-again/")
    assert sign_in("viewer").post(url, {"_confirmed": "1", "reason": "the plan is there now"}).status_code == 403
    sign_in("billing").post(url, {"_confirmed": "1", "reason": "the plan is there now"}, follow=True)
    event.refresh_from_db()
    assert (event.status, event.replays) == ("pending", 1)
