"""
A real HTTP server on this machine that speaks Stripe's API, with state in memory.

Tests of everything that calls the payment provider run against it: the same paths, form-encoded bodies, errors,
idempotency keys, pages and expansion as the real one, and its rules (a lookup key belongs to one active price, an
amount never changes, the default price of a product cannot be archived). It shares no code with the product.

    with run_stripe_server() as stripe:            # or the fixture `stripe_server`
        stripe.url, stripe.test_key, stripe.live_key, stripe.webhook_secret
        stripe.fail_next(500, method="POST")       # also drop_next and delay_next, see `faults`
        stripe.drop_next(path="/v1/payment_intents", moment="after")       # charged, and nobody was told
        stripe.requests, stripe.writes             # what arrived
        stripe.store(), stripe.objects("charge")   # the objects in test mode

Every change makes an event. They go, signed, to the endpoints that callers make or a test adds:

        stripe.add_endpoint("http://127.0.0.1:8000/hooks")                 # or receive=function, see there
        stripe.deliver_all()                       # wait until all are delivered
        stripe.duplicate_webhooks("payment_intent.*"); stripe.reverse_webhooks(3); stripe.hold_webhooks()
        stripe.lose_webhooks(); stripe.delay_webhooks(60); stripe.release_webhooks(); stripe.resend("evt_…")

Test cards do what Stripe's do (see `cards`). Banks and customers act when they are told to:

        stripe.decline_next("insufficient_funds"); stripe.change_card("pm_…", decline_code="expired_card")
        stripe.authenticate("pi_…"); stripe.open_dispute("pi_…"); stripe.close_dispute("dp_…", "won")
        stripe.settle()                            # refunds arrive or fail, disputes are born, payouts are paid
        stripe.change("pi_…", {"amount": 1})       # a drift

The same doors are open to other processes under `/_sandbox`, see `doors`.

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
