"""
Workers of a billing run that are killed: one process that starts them as copies of itself, which takes no time.

    python -m tests.faults.run_worker RUN

Each line of its input is how many milliseconds a worker may live, or `0` for as long as it takes. It answers `killed`
or `ended` when the worker is gone. A worker is a process of its own with its own session, and is killed with SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any
from uuid import UUID

import django


def drop_job(name: str, values: dict[str, Any]) -> None:
    """Documents are rendered by jobs, which are no part of the run."""


def main() -> None:
    django.setup()
    from django.conf import settings

    settings.JOBS_SENDER = "tests.faults.run_worker.drop_job"
    # Loaded before the copies are made, without a session, which copies could not share.
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.run_work import work_run

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for line in sys.stdin:
        worker = os.fork()
        if not worker:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            status = 1
            try:
                work_run(run_id=UUID(sys.argv[1]), actor=SYSTEM)
                status = 0
            finally:
                os._exit(status)
        milliseconds = int(line)
        if milliseconds and signal.sigtimedwait({signal.SIGCHLD}, milliseconds / 1000) is None:
            os.kill(worker, signal.SIGKILL)
        _, status = os.waitpid(worker, 0)
        signal.sigtimedwait({signal.SIGCHLD}, 0)
        code = os.waitstatus_to_exitcode(status)
        fate = "ended" if code == 0 else "killed" if code == -signal.SIGKILL else f"failed with {code}"
        sys.stdout.write(f"{fate}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
