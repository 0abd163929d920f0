"""The mock's own address, by which a test holds it and asks it; see examples/gateway/src/mock/control.rs."""

import json
import os
import urllib.request

GATEWAY = os.environ["GATEWAY_URL"]
MOCK = os.environ["MOCK_URL"]


def ask(path, method="GET", body=None, headers={}):
    """Asks the mock without the gateway, and gives status and text."""
    request = urllib.request.Request(MOCK + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def refuse(times=1, ms=1):
    ask(f"/mock/refuse?times={times}&ms={ms}", "POST", b"")


def release(name):
    ask(f"/mock/release/{name}", "POST", b"")


def ended(name):
    """Waits until the stream is over, and says whether it came to its end."""
    return json.loads(ask(f"/mock/ended/{name}")[1])["finished"]


def last_request_id():
    return json.loads(ask("/mock/last")[1])["request_id"]


def equal(seen, expected):
    assert seen == expected, f"{seen!r} is not {expected!r}"


def run(*tests):
    for test in tests:
        test()
        print("  ok:", test.__name__.replace("_", " "))
