import json

import openai
from control import GATEWAY, ask, ended, equal, last_request_id, refuse, release, run

client = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key="the callers own", max_retries=0, timeout=60)
chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
SAID = "Hello from gpt-4o. Each word comes when it is said, not at the end."


def an_answer_comes_although_a_key_is_limited():
    refuse()
    raw = client.chat.completions.with_raw_response.create(**chat)
    equal(raw.parse().choices[0].message.content, SAID)
    equal(raw.headers["x-tower-429-attempts"], "2")
    equal(raw.headers["x-tower-429-served-model"], "gpt-4o")
    assert raw.headers["x-tower-429-key"].lower() in ("alpha", "beta", "gamma")
    equal(raw.headers["x-request-id"], last_request_id())


def the_responses_api_answers_and_streams():
    equal(client.responses.create(model="gpt-4o", input="Hello").output_text, SAID)
    events = list(client.responses.create(model="gpt-4o", input="Hello", stream=True))
    equal("".join(event.delta for event in events if event.type == "response.output_text.delta"), SAID)
    equal(events[-1].type, "response.completed")


def each_chunk_of_a_stream_is_here_before_the_next_is_sent():
    refuse()
    hold = {"x-mock-hold": "openai-python"}
    words = []
    with client.chat.completions.create(**chat, stream=True, extra_headers=hold) as stream:
        for chunk in stream:
            words.append(chunk.choices[0].delta.content or "")
            # Only now may the mock send the next.
            release("openai-python")
    equal("".join(words), SAID)
    equal(len(words), 16)
    equal(ended("openai-python"), True)


def a_stream_that_is_cancelled_ends_upstream():
    hold = {"x-mock-hold": "openai-python-cancelled"}
    stream = client.chat.completions.create(**chat, stream=True, extra_headers=hold)
    next(stream)
    release("openai-python-cancelled")
    equal(next(stream).choices[0].delta.content, "Hello ")
    stream.close()
    equal(ended("openai-python-cancelled"), False)


def an_upload_of_some_mib_arrives_although_a_key_is_limited():
    content = bytes(range(256)) * (5 * 4096)
    refuse()
    raw = client.files.with_raw_response.create(file=("upload.bin", content), purpose="user_data")
    equal(raw.headers["x-tower-429-attempts"], "2")
    file = raw.parse()
    equal(file.bytes, 5 * 1024 * 1024)
    assert client.files.content(file.id).read() == content, "not what was uploaded"


def an_error_passes_through_whole():
    try:
        client.chat.completions.create(**chat, temperature=3)
    except openai.BadRequestError as error:
        equal(error.request_id, last_request_id())
        told = {"content-type": "application/json", "authorization": "Bearer any"}
        status, body = ask("/v1/chat/completions", "POST", json.dumps(chat | {"temperature": 3}).encode(), told)
        equal((error.status_code, error.response.text), (status, body))
        equal(error.code, "decimal_above_max_value")
        return
    raise AssertionError("there was no error")


def a_limit_of_every_key_is_told_in_the_providers_own_words():
    refuse(times=3, ms=3_600_000)
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
    an_answer_comes_although_a_key_is_limited,
    the_responses_api_answers_and_streams,
    each_chunk_of_a_stream_is_here_before_the_next_is_sent,
    a_stream_that_is_cancelled_ends_upstream,
    an_upload_of_some_mib_arrives_although_a_key_is_limited,
    an_error_passes_through_whole,
    a_limit_of_every_key_is_told_in_the_providers_own_words,
)
