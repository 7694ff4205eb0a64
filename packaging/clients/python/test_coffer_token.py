"""Runs against a Coffer that serves: COFFER_URL, COFFER_ROLE_ID, COFFER_SECRET_ID."""

import json
import os
import threading
import time
import unittest
import urllib.error
import urllib.request

from coffer_token import Token

URL, ROLE, SECRET = (os.environ[name] for name in ("COFFER_URL", "COFFER_ROLE_ID", "COFFER_SECRET_ID"))


def select_one(text):
    """What a client of libSQL sends."""
    body = json.dumps({"requests": [{"type": "execute", "stmt": {"sql": "SELECT 41 + 1"}}, {"type": "close"}]}).encode()
    request = urllib.request.Request(URL + "/t/acme/db/v2/pipeline", body, {"Authorization": "Bearer " + text})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["results"][0]["response"]["result"]["rows"][0][0]["value"]


class TokenTest(unittest.TestCase):
    def test_one_login_serves_all(self):
        token, seen = Token(URL, ROLE, SECRET), set()
        threads = [threading.Thread(target=lambda: seen.add(token.text())) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(seen), 1)
        self.assertEqual(select_one(seen.pop()), "42")

    def test_renews(self):
        token, made = Token(URL, ROLE, SECRET, ttl="2s"), []
        current = token.keep(lambda text: made.append(text) or text)
        self.assertEqual(select_one(current()), "42")
        self.assertEqual(current(), made[0])
        time.sleep(2.1)  # that is what two seconds take
        with self.assertRaises(urllib.error.HTTPError) as refused:
            select_one(made[0])
        self.assertEqual(refused.exception.code, 401)
        self.assertEqual(select_one(current()), "42")
        self.assertEqual(len(made), 2)

    def test_refused(self):
        with self.assertRaises(urllib.error.HTTPError) as refused:
            Token(URL, ROLE, "cfs_" + "a" * 52).text()
        self.assertEqual(refused.exception.code, 401)
        self.assertNotIn("cfs_", str(refused.exception))


if __name__ == "__main__":
    unittest.main()
