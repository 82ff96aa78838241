"""
The terms by which an unpaid invoice is asked for again: when, with which message, and what follows the last attempt.

Plain Python: no Django, no clock. Source: contract chapter Dunning; ADR 0056.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, cast, get_args

EndState = Literal["unpaid", "cancel", "free_plan"]
Message = Literal["failed", "retry", "last_notice", "ended", "none"]

END_STATES: Final[tuple[str, ...]] = get_args(EndState)
MESSAGES: Final[tuple[str, ...]] = get_args(Message)
MAX_RETRIES: Final = 10
MAX_DELAY_HOURS: Final = 24 * 60
MAX_TOTAL_HOURS: Final = 24 * 180


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a campaign says. Attempt 1 is the first one; `delays_hours[n - 1]` hours after attempt n comes the next.

    `messages` names the message after each attempt, one more than there are delays; empty: the usual ones.
    `on_overdue`: invoices that nobody charges are asked for, too, once they are past due.
    """

    delays_hours: tuple[int, ...]
    end_state: EndState = "unpaid"
    messages: tuple[Message, ...] = ()
    on_overdue: bool = False
    name: str = ""

    @property
    def attempts(self) -> int:
        """How many attempts there are, the first one included."""
        return len(self.delays_hours) + 1

    def is_last(self, step: int) -> bool:
        """Tell whether nothing comes after attempt `step`."""
        return step >= self.attempts

    def find_next(self, step: int, at: datetime) -> datetime | None:
        """Return when the attempt after attempt `step`, made at `at`, is due; None after the last one."""
        return None if self.is_last(step) else at + timedelta(hours=self.delays_hours[step - 1])

    def choose_message(self, step: int) -> Message:
        """Return what is mailed after attempt `step` failed."""
        if self.messages:
            return self.messages[min(step, self.attempts) - 1]
        if self.is_last(step):
            return "ended"
        if step == 1:
            return "failed"
        return "last_notice" if step == self.attempts - 1 else "retry"


@dataclass(frozen=True, slots=True)
class TermsFault:
    """What is wrong with terms: the field, a code and a sentence."""

    field: str
    code: str
    detail: str


def check_terms(*, delays_hours: Sequence[int], end_state: str, messages: Sequence[str]) -> list[TermsFault]:
    """Return what is wrong with terms that somebody typed; nothing when they can be used."""
    found = []
    if len(delays_hours) > MAX_RETRIES:
        found.append(TermsFault("delays_hours", "too_many", f"At most {MAX_RETRIES} retries are made."))
    if any(not 1 <= hours <= MAX_DELAY_HOURS for hours in delays_hours):
        found.append(TermsFault("delays_hours", "out_of_range", f"A delay is 1 to {MAX_DELAY_HOURS} hours."))
    elif sum(delays_hours) > MAX_TOTAL_HOURS:
        found.append(
            TermsFault("delays_hours", "out_of_range", f"It may take {MAX_TOTAL_HOURS // 24} days altogether, no more.")
        )
    if end_state not in END_STATES:
        found.append(TermsFault("end_state", "choice_unknown", f"One of: {', '.join(END_STATES)}."))
    if any(message not in MESSAGES for message in messages):
        found.append(TermsFault("messages", "choice_unknown", f"Each is one of: {', '.join(MESSAGES)}."))
    elif messages and len(messages) != len(delays_hours) + 1:
        found.append(
            TermsFault(
                "messages",
                "wrong_length",
                f"There are {len(delays_hours) + 1} attempts: name as many messages, or none for the usual ones.",
            )
        )
    elif "ended" in messages[:-1] or (messages and messages[-1] not in ("ended", "none")):
        found.append(
            TermsFault("messages", "wrong_order", "After the last attempt it is “ended” or none, and nowhere else.")
        )
    return found


def read_terms(
    *,
    delays_hours: Sequence[int],
    end_state: str,
    messages: Sequence[str] = (),
    on_overdue: bool = False,
    name: str = "",
) -> Terms:
    """
    Return stored terms.

    :raises ValueError: for terms that cannot be used.
    """
    faults = check_terms(delays_hours=delays_hours, end_state=end_state, messages=messages)
    if faults:
        raise ValueError("; ".join(f"{fault.field}: {fault.detail}" for fault in faults))
    return Terms(
        delays_hours=tuple(delays_hours),
        end_state=cast(EndState, end_state),
        messages=cast("tuple[Message, ...]", tuple(messages)),
        on_overdue=on_overdue,
        name=name,
    )
