"""What schemathesis cannot make up by itself: who asks, and of what there is a real one.

Everything else, right or wrong, is its own. Real ids and passwords are put in the place of made-up ones only where those had the
right form, so what was to be refused for its form still is.
"""

import json
import os
import re
import urllib.request
import uuid

import schemathesis

BASE = os.environ["CONFAB_API"].rstrip("/")
PASSWORD = "securepassword"
# These end tokens, so each call comes with one that nobody else uses.
ENDING = ["/auth/logout", "/auth/change-password"]


def register():
    name = f"schema_{uuid.uuid4().hex[:16]}"
    account = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
    request = urllib.request.Request(
        f"{BASE}/auth/register", json.dumps(account).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Bearer:
    def get(self, case, context):
        return register()["accessToken"]

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.auth(refresh_interval=None).apply_to(path=ENDING)
class Disposable(Bearer):
    pass


@schemathesis.auth(refresh_interval=100_000).skip_for(path=ENDING)
class Lasting(Bearer):
    pass


OTHERS = [register()["user"]["id"] for _ in range(3)]


def is_uuid(value):
    return isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", value)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Real people, the right password, and a key of its own for each request that is not a repetition."""
    body = case.body
    if isinstance(body, dict):
        for field in ["participantIds", "userIds"]:
            named = body.get(field)
            if isinstance(named, list) and 0 < len(named) <= len(OTHERS) and all(map(is_uuid, named)):
                body[field] = OTHERS[: len(named)]
        if isinstance(body.get("currentPassword"), str):
            body["currentPassword"] = PASSWORD
    if is_uuid((case.path_parameters or {}).get("user")):
        case.path_parameters["user"] = OTHERS[0]
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(r"[ -~]{1,128}", key):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
