import json

import anthropic
from control import GATEWAY, ended, equal, last_request_id, reject, release, run, send

client = anthropic.Anthropic(base_url=GATEWAY, api_key="the callers own", max_retries=0, timeout=60)
message = {
    "model": "claude-sonnet-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello"}],
}
SAID = "Hello from claude-sonnet-5. Each word comes when it is said, not at the end."


def call_succeeds_although_a_key_is_limited():
    reject()
    raw = client.messages.with_raw_response.create(**message)
    equal(raw.parse().content[0].text, SAID)
    equal(raw.headers["x-tower-429-attempts"], "2")
    equal(raw.headers["x-tower-429-served-model"], "claude-sonnet-5")
    equal(raw.headers["request-id"], last_request_id())


def each_event_arrives_before_the_next_is_sent():
    reject()
    hold = {"x-mock-hold": "anthropic-python"}
    kinds, words = [], []
    with client.messages.create(**message, stream=True, extra_headers=hold) as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "content_block_delta":
                words.append(event.delta.text)
            # The mock sends the next event only now.
            release("anthropic-python")
    equal("".join(words), SAID)
    equal((kinds[0], kinds[-1], len(kinds)), ("message_start", "message_stop", 19))
    equal(ended("anthropic-python"), True)


def stream_helper_works():
    with client.messages.stream(**message) as stream:
        equal("".join(stream.text_stream), SAID)
        equal(stream.get_final_message().stop_reason, "end_turn")


def cancelled_stream_ends_upstream():
    hold = {"x-mock-hold": "anthropic-python-cancelled"}
    stream = client.messages.create(**message, stream=True, extra_headers=hold)
    equal(next(stream).type, "message_start")
    release("anthropic-python-cancelled")
    equal(next(stream).type, "content_block_start")
    stream.close()
    equal(ended("anthropic-python-cancelled"), False)


def error_passes_through_unchanged():
    wrong = message | {"max_tokens": None}
    try:
        client.messages.create(**wrong)
    except anthropic.BadRequestError as error:
        equal(error.request_id, last_request_id())
        equal(error.body["request_id"], error.request_id)
        headers = {"content-type": "application/json", "x-api-key": "any"}
        status, body = send("/v1/messages", "POST", json.dumps(wrong).encode(), headers)
        body = body.replace(last_request_id(), error.request_id)
        equal((error.status_code, error.response.text), (status, body))
        return
    raise AssertionError("there was no error")


run(
    call_succeeds_although_a_key_is_limited,
    each_event_arrives_before_the_next_is_sent,
    stream_helper_works,
    cancelled_stream_ends_upstream,
    error_passes_through_unchanged,
)
