"""Refusing callers that ask too often: 429 with Retry-After."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from billing_site.kernel import clock
from billing_site.kernel.actors import Principal
from billing_site.platform.services.call_counts import count_call

WINDOW = timedelta(minutes=1)


class GuessThrottle(BaseThrottle):
    """
    At most `BILLING_GUESSES_PER_MINUTE` calls of one caller to one operation in a minute.

    For operations that tell whether a secret word is right. Counted in the database, so all processes count together.
    """

    def __init__(self) -> None:
        self._wait = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Tell whether the call may go on; it is counted either way."""
        principal = request.user
        if not isinstance(principal, Principal):
            return True
        at = clock.now()
        counted = count_call(
            operation=f"{type(view).__name__}.{getattr(view, 'action', None) or (request.method or '').lower()}",
            caller=f"{principal.audience}:{principal.subject}",
            window=WINDOW,
            at=at,
        )
        self._wait = (counted.window_end - at).total_seconds()
        limit: int = settings.BILLING_GUESSES_PER_MINUTE
        return counted.calls <= limit

    def wait(self) -> float:
        """Return the seconds until calls are counted anew."""
        return max(1.0, self._wait)
