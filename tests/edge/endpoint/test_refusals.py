"""What cannot be given is refused by name, as OpenAI would."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.endpoint.openai import read_chat, read_text
from escalade.edge.errors import RefusedError

USER = [{"role": "user", "content": "hi"}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]

#: The fields of a chat, and the code and the field that are named.
CHATS = [
    ({"tools": [{"type": "function"}]}, "unsupported_parameter", "tools"),
    ({"tool_choice": "required"}, "unsupported_parameter", "tool_choice"),
    ({"functions": [{}]}, "unsupported_parameter", "functions"),
    ({"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
    ({"response_format": {"type": "json_schema"}}, "unsupported_parameter", "response_format"),
    ({"modalities": ["text", "audio"]}, "unsupported_parameter", "modalities"),
    ({"audio": {}}, "unsupported_parameter", "audio"),
    ({"logit_bias": {"50256": -100}}, "unsupported_parameter", "logit_bias"),
    ({"presence_penalty": 0.5}, "unsupported_parameter", "presence_penalty"),
    ({"frequency_penalty": -1}, "unsupported_parameter", "frequency_penalty"),
    ({"store": True}, "unsupported_parameter", "store"),
    ({"reasoning_effort": "high"}, "unsupported_parameter", "reasoning_effort"),
    ({"logprobs": True, "top_logprobs": 2}, "unsupported_parameter", "top_logprobs"),
    ({"temprature": 1}, "unknown_parameter", "temprature"),
    ({"stream_options": {"x": 1}, "stream": True}, "unknown_parameter", "stream_options.x"),
    ({"stream_options": {}}, "invalid_value", "stream_options"),
    ({"escalade": {"stream": "maybe"}}, "invalid_value", "escalade.stream"),
    ({"escalade": {"threshold": 1}}, "unknown_parameter", "escalade.threshold"),
    ({"temperature": "hot"}, "invalid_type", "temperature"),
    ({"temperature": 2.1}, "invalid_value", "temperature"),
    ({"top_p": 0}, "invalid_value", "top_p"),
    ({"n": 0}, "invalid_value", "n"),
    ({"n": 128}, "too_many_choices", "n"),
    ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "invalid_value", "max_tokens"),
    ({"seed": 1.5}, "invalid_type", "seed"),
    ({"seed": 10**30}, "invalid_value", "seed"),
    ({"stream": "yes"}, "invalid_type", "stream"),
    ({"stop": [""]}, "invalid_value", "stop"),
    ({"stop": ["x"] * 17}, "invalid_value", "stop"),
    ({"stop": [1]}, "invalid_type", "stop[0]"),
    ({"top_logprobs": 1}, "invalid_value", "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "invalid_value", "top_logprobs"),
    ({"model": "gpt-4o"}, "model_not_found", "model"),
    ({"model": 5}, "invalid_type", "model"),
    ({"model": ...}, "missing_required_parameter", "model"),
    ({"messages": ...}, "missing_required_parameter", "messages"),
    ({"messages": "hi"}, "invalid_type", "messages"),
    ({"messages": ["hi"]}, "invalid_type", "messages[0]"),
    ({"messages": []}, "empty_array", "messages"),
    ({"messages": IMAGE}, "unsupported_value", "messages[0].content[0].type"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "unsupported_value", "messages[0].role"),
    ({"messages": [{"role": "king", "content": "x"}]}, "invalid_value", "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "invalid_type", "messages[0].content"),
    ({"messages": [{**USER[0], "tool_calls": [1]}]}, "unsupported_value", "messages[0].tool_calls"),
    ({"messages": [{"role": "user", "content": [7]}]}, "invalid_type", "messages[0].content[0]"),
    ({"messages": [*USER, *USER]}, "unsupported_value", "messages"),
    ({"messages": [{"role": "user", "content": " "}]}, "invalid_prompt", "messages"),
]

#: The same of a completion.
TEXTS = [
    ({"echo": True}, "unsupported_parameter", "echo"),
    ({"suffix": "x"}, "unsupported_parameter", "suffix"),
    ({"best_of": 3}, "unsupported_parameter", "best_of"),
    ({"logprobs": 6}, "invalid_value", "logprobs"),
    ({"logprobs": True}, "invalid_type", "logprobs"),
    ({"logprobs": 1}, "unsupported_parameter", "logprobs"),
    ({"prompt": ...}, "missing_required_parameter", "prompt"),
    ({"prompt": []}, "empty_array", "prompt"),
    ({"prompt": 7}, "invalid_type", "prompt"),
    ({"prompt": ["x", 7]}, "invalid_type", "prompt[1]"),
    ({"prompt": [10**9]}, "invalid_value", "prompt"),
    ({"prompt": [[1, "x"]]}, "invalid_type", "prompt[0]"),
    ({"prompt": ["x"] * 65}, "too_many_choices", "n"),
    ({"prompt": "g2p: " + "a" * 200}, "context_length_exceeded", "prompt"),
    ({"prompt": ""}, "invalid_prompt", "prompt"),
    ({"messages": USER}, "unknown_parameter", "messages"),
]


def changed(whole: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


def test_every_refusal_names_the_field(serve: Any, scripted_cloud: Any) -> None:
    served = serve()
    for path, base, table in (
        ("/v1/chat/completions", {"model": "cascade", "messages": USER}, CHATS),
        ("/v1/completions", {"model": "cascade", "prompt": "hi"}, TEXTS),
    ):
        for changes, code, param in table:
            reply = served.call("POST", path, changed(base, changes))
            assert 400 <= reply.status < 500, (changes, reply.json)
            assert (reply.error["code"], reply.error["param"]) == (code, param), reply.json
            assert reply.error["type"] == "invalid_request_error"
            assert "\n" not in reply.error["message"]
    assert scripted_cloud.asked == []
    assert served.call("GET", "/health").json["under_way"] == 0


def test_what_asks_for_nothing_is_taken(serve: Any) -> None:
    nothing = {
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "logit_bias": {},
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "store": False,
        "modalities": ["text"],
        "user": "me",
        "metadata": {"a": "b"},
        "parallel_tool_calls": True,
        "service_tier": "auto",
        "stop": None,
        "seed": None,
        "functions": None,
    }
    assert serve().chat(**nothing).status == 200


def test_what_is_no_request_is_said(serve: Any) -> None:
    served = serve()
    for raw, code in (
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[]", "invalid_type"),
        (b"null", "invalid_type"),
        (b'{"model": NaN}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "invalid_json"),
    ):
        reply = served.call("POST", "/v1/completions", raw)
        assert (reply.status, reply.error["code"]) == (400, code), raw[:20]


def test_routes_methods_and_types_are_checked(serve: Any) -> None:
    served = serve()
    assert served.call("GET", "/").error["code"] == "unknown_url"
    assert served.call("POST", "/v1/embeddings", {}).status == 404
    reply = served.call("GET", "/v1/chat/completions")
    assert (reply.status, reply.error["code"]) == (405, "method_not_allowed")
    reply = served.call("POST", "/v1/completions", b"{}", content_type="text/plain")
    assert (reply.status, reply.error["code"]) == (415, "unsupported_content_type")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["model", "messages", "prompt", "n", "stop", "seed", "stream", "tools", "logprobs", "escalade"]
)


@given(st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=6))
def test_whatever_comes_is_read_or_refused(fields: dict[str, Any]) -> None:
    raw = json.dumps(fields).encode(errors="replace")
    for read in (read_chat, read_text):
        with suppress(RefusedError):
            assert read(raw).model == fields["model"]
