"""Controls the mock at its own address; see examples/gateway/src/mock/control.rs."""

import json
import os
import urllib.request

GATEWAY = os.environ["GATEWAY_URL"]
MOCK = os.environ["MOCK_URL"]


def send(path, method="GET", body=None, headers={}):
    """Sends a request to the mock without the gateway, and returns status and text."""
    request = urllib.request.Request(MOCK + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def reject(times=1, ms=1):
    send(f"/mock/reject?times={times}&ms={ms}", "POST", b"")


def release(name):
    send(f"/mock/release/{name}", "POST", b"")


def ended(name):
    """Waits until the stream has ended, and returns whether it was complete."""
    return json.loads(send(f"/mock/ended/{name}")[1])["finished"]


def last_request_id():
    return json.loads(send("/mock/last")[1])["request_id"]


def equal(seen, expected):
    assert seen == expected, f"{seen!r} is not {expected!r}"


def run(*tests):
    for test in tests:
        test()
        print("  ok:", test.__name__.replace("_", " "))
