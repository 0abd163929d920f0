import json

import openai
from control import GATEWAY, ended, equal, last_request_id, reject, release, run, send

client = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key="the callers own", max_retries=0, timeout=60)
chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
SAID = "Hello from gpt-4o. Each word comes when it is said, not at the end."


def call_succeeds_although_a_key_is_limited():
    reject()
    raw = client.chat.completions.with_raw_response.create(**chat)
    equal(raw.parse().choices[0].message.content, SAID)
    equal(raw.headers["x-tower-429-attempts"], "2")
    equal(raw.headers["x-tower-429-served-model"], "gpt-4o")
    assert raw.headers["x-tower-429-key"].lower() in ("alpha", "beta", "gamma")
    equal(raw.headers["x-request-id"], last_request_id())


def responses_api_responds_and_streams():
    equal(client.responses.create(model="gpt-4o", input="Hello").output_text, SAID)
    events = list(client.responses.create(model="gpt-4o", input="Hello", stream=True))
    equal("".join(event.delta for event in events if event.type == "response.output_text.delta"), SAID)
    equal(events[-1].type, "response.completed")


def each_chunk_arrives_before_the_next_is_sent():
    reject()
    hold = {"x-mock-hold": "openai-python"}
    words = []
    with client.chat.completions.create(**chat, stream=True, extra_headers=hold) as stream:
        for chunk in stream:
            words.append(chunk.choices[0].delta.content or "")
            # The mock sends the next chunk only now.
            release("openai-python")
    equal("".join(words), SAID)
    equal(len(words), 16)
    equal(ended("openai-python"), True)


def cancelled_stream_ends_upstream():
    hold = {"x-mock-hold": "openai-python-cancelled"}
    stream = client.chat.completions.create(**chat, stream=True, extra_headers=hold)
    next(stream)
    release("openai-python-cancelled")
    equal(next(stream).choices[0].delta.content, "Hello ")
    stream.close()
    equal(ended("openai-python-cancelled"), False)


def upload_of_some_mib_succeeds_although_a_key_is_limited():
    content = bytes(range(256)) * (5 * 4096)
    reject()
    raw = client.files.with_raw_response.create(file=("upload.bin", content), purpose="user_data")
    equal(raw.headers["x-tower-429-attempts"], "2")
    file = raw.parse()
    equal(file.bytes, 5 * 1024 * 1024)
    assert client.files.content(file.id).read() == content, "not what was uploaded"


def error_passes_through_unchanged():
    try:
        client.chat.completions.create(**chat, temperature=3)
    except openai.BadRequestError as error:
        equal(error.request_id, last_request_id())
        headers = {"content-type": "application/json", "authorization": "Bearer any"}
        status, body = send("/v1/chat/completions", "POST", json.dumps(chat | {"temperature": 3}).encode(), headers)
        equal((error.status_code, error.response.text), (status, body))
        equal(error.code, "decimal_above_max_value")
        return
    raise AssertionError("there was no error")


def caller_gets_the_providers_rejection_if_every_key_is_limited():
    reject(times=3, ms=3_600_000)
    try:
        client.chat.completions.create(**chat | {"model": "gpt-4o-mini"})
    except openai.RateLimitError as error:
        equal(error.code, "rate_limit_exceeded")
        equal(error.request_id, last_request_id())
        equal(error.response.headers["x-tower-429-attempts"], "3")
        equal(error.response.headers["x-ratelimit-remaining-requests"], "0")
        return
    raise AssertionError("there was no error")


def models_are_listed():
    equal([model.id for model in client.models.list()], ["gpt-4o", "gpt-4o-mini"])


run(
    models_are_listed,
    call_succeeds_although_a_key_is_limited,
    responses_api_responds_and_streams,
    each_chunk_arrives_before_the_next_is_sent,
    cancelled_stream_ends_upstream,
    upload_of_some_mib_succeeds_although_a_key_is_limited,
    error_passes_through_unchanged,
    caller_gets_the_providers_rejection_if_every_key_is_limited,
)
