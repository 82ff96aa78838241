"""Jobs in tests: recorded instead of handed to a broker, and run on request in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SentJob:
    """One job as the broker would have got it."""

    name: str
    arguments: dict[str, Any]


class SentJobs(list[SentJob]):
    """The jobs sent since the test began, in order. Compare it with a list of `SentJob`."""

    @property
    def names(self) -> list[str]:
        return [job.name for job in self]

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the arguments of every job called `name`."""
        return [job.arguments for job in self if job.name == name]

    def run(self, *, at_most: int = 100) -> list[str]:
        """
        Run the recorded jobs, and those they send in turn, as a worker would; return their names in order.

        :raises AssertionError: when more than `at_most` ran, which means that a job sends itself for ever.
        """
        from billing_site.celery import app

        app.loader.import_default_modules()
        done: list[str] = []
        while self:
            assert len(done) < at_most, f"jobs send each other without end: {done[-5:]}"
            job = self.pop(0)
            done.append(job.name)
            app.tasks[job.name](**job.arguments)
        return done


recorded = SentJobs()


def record_job(name: str, arguments: dict[str, Any]) -> None:
    """The `JOBS_SENDER` of the tests. Arguments go through JSON, as they do on the way to a broker."""
    recorded.append(SentJob(name, json.loads(json.dumps(arguments))))


def run_job(name: str, arguments: dict[str, Any]) -> None:
    """A `JOBS_SENDER` for tests of other processes and threads: the job is done when the sender gets it."""
    from billing_site.celery import app

    app.loader.import_default_modules()
    app.tasks[name](**json.loads(json.dumps(arguments)))
