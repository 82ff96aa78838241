"""
Playing a story: set up, step by step, compare, and roll everything back.

One transaction holds it all. Each step has a savepoint of its own, so a step that is refused leaves nothing behind and
the story can go on. What the database would check at commit is checked after every step, because there may be none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import IntegrityError, transaction

from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from invoicing.models import CreditNote
from invoicing.rehearsal import clockwork
from invoicing.rehearsal.documents import Document, Newcomers, list_issued
from invoicing.rehearsal.expectations import Checked, check_expectation
from invoicing.rehearsal.story import Step, Story
from invoicing.rehearsal.world import SetUpRefused, World, check_promises, explain_refusal
from invoicing.services.credit_note_verification import verify_credit_note
from invoicing.services.verification import verify_invoice

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Moment:
    """A stop of the clock on its way, or the step itself: remarks, and the documents issued at that moment."""

    at: datetime
    remarks: tuple[str, ...]
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """That the product refused something: the problem code and what it said."""

    code: str
    detail: str


@dataclass(slots=True)
class PlayedStep:
    """What became of one step. `moments` are the stops on the way to it; `wanted` is the error it should meet."""

    line: int
    at: datetime
    zone: ZoneInfo
    text: str
    wanted: str = ""
    moments: list[Moment] = field(default_factory=list)
    refusal: Refusal | None = None
    remarks: tuple[str, ...] = ()
    documents: tuple[Document, ...] = ()
    checked: Checked | None = None

    @property
    def met(self) -> bool:
        """Whether it was refused exactly when it should be, and as it should be."""
        return (self.refusal.code if self.refusal else "") == self.wanted

    @property
    def holds(self) -> bool:
        return self.met and (self.checked is None or self.checked.met)


@dataclass(slots=True)
class Played:
    """A story that was played. `refused` tells why it could not even begin; `stopped` that a step ended it early."""

    story: Story
    org_id: str
    kept: bool
    steps: list[PlayedStep] = field(default_factory=list)
    checked: Checked | None = None
    verified: int = 0
    unproven: list[str] = field(default_factory=list)
    refused: SetUpRefused | None = None
    stopped: bool = False

    @property
    def holds(self) -> bool:
        """Whether everything is as the story expects it."""
        return (
            self.refused is None
            and not self.stopped
            and not self.unproven
            and all(step.holds for step in self.steps)
            and (self.checked is None or self.checked.met)
        )


def play_story(story: Story, *, keep: bool = False) -> Played:
    """
    Play a story and return what came of it; nothing stays in the database unless `keep`.

    Runs in test mode, whatever mode the site runs in: its accounts stand on a test clock. Jobs that were to start on
    commit are dropped with the transaction.
    """
    with _in_test_mode(), transaction.atomic():
        played = _Player(story, keep).play()
        if not keep or played.refused is not None:
            transaction.set_rollback(True)
            played.kept = False
    return played


@contextmanager
def _in_test_mode() -> Iterator[None]:
    before = settings.BILLING_LIVEMODE
    settings.BILLING_LIVEMODE = False
    try:
        yield
    finally:
        settings.BILLING_LIVEMODE = before


class _Player:
    def __init__(self, story: Story, keep: bool) -> None:
        self.story = story
        self.world = World(story)
        self.played = Played(story, self.world.org_id, keep)
        self.newcomers = Newcomers(self.world)

    def play(self) -> Played:
        """Play everything; a step that is refused, or not refused, against expectation is the last one."""
        try:
            with clock.travel(self.story.start):
                self.world.set_up()
                check_promises()
        except SetUpRefused as refusal:
            self.played.refused = refusal
            return self.played
        for step in self.story.steps:
            done = self._play_step(step)
            self.played.steps.append(done)
            if not done.met:
                self.played.stopped = True
                break
        if not self.played.stopped and self.story.expect is not None:
            self.played.checked = check_expectation(self.world, self.story.expect)
        self._verify()
        return self.played

    def _play_step(self, step: Step) -> PlayedStep:
        account = step.action.account if step.action is not None else ""
        text = step.action.describe() if step.action is not None else ("advance" if step.at is not None else "expect")
        done = PlayedStep(step.line, step.at or self.world.now, self.story.zone_of(account), text, step.error)
        try:
            if step.at is not None:
                clockwork.advance(self.world, step.at, stop=lambda remarks: self._stop(done, remarks))
                check_promises()
            with transaction.atomic(), clock.travel(self.world.now):
                if step.action is not None:
                    remarks = [*step.action.play(self.world), *clockwork.bill_thresholds(self.world)]
                    remarks += clockwork.collect_open(self.world)
                    done.remarks = (*remarks, *clockwork.look_at_alerts(self.world))
                check_promises()
        except DomainError as error:
            done.refusal = Refusal(error.code, explain_refusal(error).removeprefix(f"{error.code}: "))
        except IntegrityError as error:
            done.refusal = Refusal("storage_refused", str(error).splitlines()[0])
        except Exception as error:
            logger.exception("line %s of %s failed", step.line, self.story.path)
            done.refusal = Refusal("internal_error", f"{type(error).__name__}: {error}")
        done.documents = tuple(self.newcomers.take())
        if step.expect is not None and not step.expect.is_empty:
            done.checked = check_expectation(self.world, step.expect)
        return done

    def _stop(self, done: PlayedStep, remarks: list[str]) -> None:
        done.moments.append(Moment(self.world.now, tuple(remarks), tuple(self.newcomers.take())))

    def _verify(self) -> None:
        """Recompute every document from its trace: a rehearsed invoice explains itself like a real one."""
        for invoice in list_issued(self.world):
            self.played.verified += 1
            result = verify_invoice(invoice)
            self.played.unproven += [f"{invoice.number_text}: {difference}" for difference in result.differences]
        for note in CreditNote.objects.filter(org_id=self.world.org_id).select_related("invoice").order_by("id"):
            self.played.verified += 1
            differences = verify_credit_note(note).differences
            self.played.unproven += [f"{note.number_text}: {difference}" for difference in differences]
