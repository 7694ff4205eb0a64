"""Renews the short-lived Coffer token of a workload, for clients of libSQL.

    import libsql
    from coffer_token import Token

    token = Token("https://coffer.example:8443", role_id, secret_id)
    db = token.keep(lambda text: libsql.connect("https://coffer.example:8443/t/acme/db/", auth_token=text))
    db().execute("SELECT 1")

These clients hold one token for the life of a connection. keep() therefore gives
a function that makes a new connection once the token was renewed, and else
returns the one that is there. Take it at the beginning of a transaction and not
within one: Coffer binds a transaction to the token that began it.

role_id and secret_id come from `coffer workload create`. Only the standard
library is needed; a private authority goes into `context` or SSL_CERT_FILE.
"""

import datetime
import json
import threading
import time
import urllib.request


class Token:
    """The token of a workload, renewed when a quarter of its life is left."""

    def __init__(self, url, role_id, secret_id, ttl="1h", context=None):
        self._request = {"role_id": role_id, "secret_id": secret_id, "ttl": ttl}
        self._login = url.rstrip("/") + "/api/v1/login/workload"
        self._context = context
        self._lock = threading.Lock()
        self._text = None
        self._renew_at = 0.0

    def text(self):
        """The token that holds now. Raises urllib.error.HTTPError if Coffer refuses."""
        with self._lock:  # who comes meanwhile waits for the one login
            if self._text is None or time.time() >= self._renew_at:
                self._renew()
            return self._text

    def renew(self):
        """To be called when Coffer says that the token does not hold any more."""
        with self._lock:
            self._renew()

    def _renew(self):
        asked = time.time()
        body = json.dumps(self._request).encode()
        request = urllib.request.Request(self._login, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:
            issued = json.load(answer)
        expires = issued["expires"].split(".")[0].rstrip("Z")
        ends = datetime.datetime.fromisoformat(expires + "+00:00").timestamp()
        self._text = issued["token"]
        self._renew_at = asked + 0.75 * (ends - asked)

    def keep(self, connect):
        """A function that gives connect(token), made anew when the token is."""
        held = {}

        def current():
            text = self.text()
            if held.get("token") != text:
                held["connection"], held["token"] = connect(text), text
            return held["connection"]

        return current
