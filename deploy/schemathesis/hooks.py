"""Who asks, when schemathesis does: an account of its own, and a fresh one wherever a token ends by what is asked."""

import json
import os
import urllib.request
import uuid

import schemathesis

BASE = os.environ["CONFAB_API"].rstrip("/")
# These end tokens, so each call comes with one that nobody else uses.
ENDING = ["/auth/logout", "/auth/change-password"]


def new_token():
    name = f"schema_{uuid.uuid4().hex[:16]}"
    account = {"email": f"{name}@example.com", "username": name, "password": "securepassword"}
    request = urllib.request.Request(
        f"{BASE}/auth/register", json.dumps(account).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["accessToken"]


class Bearer:
    def get(self, case, context):
        return new_token()

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.auth(refresh_interval=None).apply_to(path=ENDING)
class Disposable(Bearer):
    pass


@schemathesis.auth(refresh_interval=100_000).skip_for(path=ENDING)
class Lasting(Bearer):
    pass
