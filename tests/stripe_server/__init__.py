"""
A real HTTP server on this machine that speaks Stripe's API, with state in memory.

Tests of everything that calls the payment provider run against it: the same paths, form-encoded bodies, errors,
idempotency keys, pages and expansion as the real one, and its rules (a lookup key belongs to one active price, an
amount never changes, the default price of a product cannot be archived). It shares no code with the product.

    with run_stripe_server() as stripe:            # or the fixture `stripe_server`
        stripe.url, stripe.test_key, stripe.live_key
        stripe.fail_next(500, method="POST")       # also drop_next and delay_next, see `faults`
        stripe.requests, stripe.writes             # what arrived
        stripe.store()                             # the objects in test mode

To add a resource, write one module in `resources` with

- a `Kind`: its name in answers, the prefix of its ids, what may be expanded, what is shown only when asked for;
- handlers, `Call -> object | Page | Deleted`; parameters are read through `call.parameters`, so that wrong and unknown
  ones are refused as Stripe refuses them; a broken rule raises `StripeError`;
- `ROUTES`, the paths;

and name the module in `resources/__init__.py`. A test compares its objects with Stripe's examples, see
`test_shapes.py`. Objects are plain dictionaries in exactly the form in which they are answered.
"""

from tests.stripe_server.server import StripeServer, run_stripe_server

__all__ = ["StripeServer", "run_stripe_server"]
