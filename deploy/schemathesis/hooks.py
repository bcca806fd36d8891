"""What schemathesis cannot make up by itself: who asks, and of what there is a real one.

Everything else, right or wrong, is its own. Real ids and passwords are put in the place of made-up ones only where those had the
right form, so what was to be refused for its form still is.
"""

import json
import os
import re
import subprocess
import urllib.request
import uuid

import schemathesis

with open(os.environ["CONFAB_STATE"], encoding="utf-8") as state:
    CLUSTER = json.load(state)
BASE = CLUSTER["gateways"][0]["url"].rstrip("/")
PASSWORD = "securepassword"
# These end tokens, so each call comes with one that nobody else uses.
ENDING = ["/auth/logout", "/auth/change-password"]
# These take an admin.
ADMINISTRATIVE = ["/api/rooms/system/cleanup"]


def post(path, body, token=None):
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{BASE}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def register():
    name = f"schema_{uuid.uuid4().hex[:16]}"
    return post("/auth/register", {"email": f"{name}@example.com", "username": name, "password": PASSWORD})


class Bearer:
    def get(self, case, context):
        return register()["accessToken"]

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.auth(refresh_interval=None).apply_to(path=ENDING)
class Disposable(Bearer):
    pass


@schemathesis.auth(refresh_interval=100_000).skip_for(path=ENDING + ADMINISTRATIVE)
class Lasting(Bearer):
    token = None

    def get(self, case, context):
        Lasting.token = super().get(case, context)
        return Lasting.token


@schemathesis.auth(refresh_interval=100_000).apply_to(path=ADMINISTRATIVE)
class Administrative(Bearer):
    def get(self, case, context):
        account = register()
        command = [f"{CLUSTER['programs']}/confab-worker", "create-admin", "--promote", "--email", account["user"]["email"]]
        settings = {**os.environ, "DATABASE_URL": CLUSTER["postgres"]["url"]}
        subprocess.run(command, env=settings, stdin=subprocess.DEVNULL, check=True, timeout=30)
        return account["accessToken"]


OTHERS = [register()["user"]["id"] for _ in range(3)]


UUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
MESSAGE_ID = r"[1-9][0-9]{0,17}"
KEY = r"[!-~]([ -~]{0,126}[!-~])?"


def is_uuid(value):
    return isinstance(value, str) and re.fullmatch(UUID, value)


def is_list_of(pattern, value):
    return isinstance(value, list) and all(isinstance(entry, str) and re.fullmatch(pattern, entry) for entry in value)


def new_group():
    return post("/conversations", {"participantIds": OTHERS, "type": "group"}, Lasting.token)["id"]


def new_message():
    """A message in a conversation that nobody has left: none of those that are about is sure to be there still."""
    return post("/messages", {"conversationId": new_group(), "content": "hello"}, Lasting.token)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Real people and messages, the right password, and a key of its own for each request that is not a repetition."""
    body = case.body
    if isinstance(body, dict):
        for field in ["participantIds", "userIds"]:
            named = body.get(field)
            if isinstance(named, list) and 0 < len(named) <= len(OTHERS) and is_list_of(UUID, named):
                body[field] = OTHERS[: len(named)]
        if isinstance(body.get("currentPassword"), str):
            body["currentPassword"] = PASSWORD
        if case.operation.path == "/messages/mark-as-read" and is_uuid(body.get("conversationId")) and Lasting.token:
            message = new_message()
            body["conversationId"] = message["conversationId"]
            if is_list_of(MESSAGE_ID, body.get("messageIds")):
                body["messageIds"] = [message["id"] for _ in body["messageIds"]]
    path = case.path_parameters or {}
    if is_uuid(path.get("user")):
        path["user"] = OTHERS[0]
    # Who has left a conversation does not find it any more, which is no fault: nobody else uses the one that is left here.
    if case.operation.path == "/chats/conversations/{id}/leave" and is_uuid(path.get("id")) and Lasting.token:
        path["id"] = new_group()
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(KEY, key):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
