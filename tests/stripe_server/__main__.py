"""
Run the server by itself: `python -m tests.stripe_server --port 12111 --endpoint http://127.0.0.1:8000/hooks`.

Banks and networks act by themselves then, some seconds later, unless `--still` leaves it to the buttons and doors.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from tests.stripe_server.doors import WEBHOOK_SECRET
from tests.stripe_server.server import TEST_KEY, run_stripe_server

_TICK = 1.0


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.stripe_server", description="A Stripe of one's own.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=12111, help="port (default 12111; 0: any free one)")
    parser.add_argument("--endpoint", action="append", default=[], metavar="URL", help="where events go; repeatable")
    parser.add_argument("--secret", default=WEBHOOK_SECRET, help="signs the events (whsec_…)")
    parser.add_argument("--key", default=TEST_KEY, help="the secret key to take (sk_test_…)")
    parser.add_argument("--still", action="store_true", help="let nothing happen later by itself")
    return parser


def main(arguments: list[str]) -> int:
    """Serve until SIGINT or SIGTERM."""
    options = build_parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with run_stripe_server(host=options.host, port=options.port, key=options.key, is_lasting=True) as stripe:
        for url in options.endpoint:
            stripe.add_endpoint(url, secret=options.secret)
        sys.stdout.write(f"Stripe sandbox at {stripe.url}\n")
        sys.stdout.flush()
        while not stop.wait(_TICK):
            if not options.still:
                stripe.api.run_errands()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
