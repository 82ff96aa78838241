"""`python -m launcher.healthcheck`: exit 0 when the web server of this container answers GET /readyz."""

from __future__ import annotations

import http.client
import os
import sys


def choose_host(allowed: str) -> str:
    """Return a host name the site accepts, out of BILLING_ALLOWED_HOSTS."""
    first = allowed.split(",", maxsplit=1)[0].strip().lstrip(".")
    return "localhost" if first in {"", "*"} else first


def main() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8087")), timeout=4)
    try:
        connection.request("GET", "/readyz", headers={"Host": choose_host(os.environ.get("BILLING_ALLOWED_HOSTS", ""))})
        return 0 if connection.getresponse().status == http.client.OK else 1
    except OSError:
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
