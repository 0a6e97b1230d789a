"""Asks an endpoint with OpenAI's own client for Python, in an environment of its own.

python ask.py URL MODEL PROMPT
"""

from __future__ import annotations

import json
import sys

import openai

url, model, prompt = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
messages = [{"role": "user", "content": prompt}]
found: dict[str, object] = {"models": [one.id for one in client.models.list()]}
found["model"] = client.models.retrieve(model).id
whole = client.chat.completions.create(model=model, messages=messages, logprobs=True)
choice = whole.choices[0]
found["chat"] = choice.message.content
found["logprobs"] = [one.logprob for one in choice.logprobs.content] if choice.logprobs else []
found["escalade"] = choice.escalade
found["usage"] = whole.usage.total_tokens
raw = client.chat.completions.with_raw_response.create(model=model, messages=messages)
found["tier"] = raw.headers["x-escalade-tier"]
text = client.completions.create(model=model, prompt=[prompt, prompt], max_tokens=3, logprobs=0)
found["texts"] = [one.text for one in text.choices]
pieces = list(
    client.chat.completions.create(
        model=model,
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"escalade": {"stream": "replace"}},
    )
)
found["streamed"] = "".join(one.choices[0].delta.content or "" for one in pieces if one.choices)
found["stream_usage"] = pieces[-1].usage.total_tokens
found["drawn"] = [
    one.message.content
    for one in client.chat.completions.create(
        model=model, messages=messages, n=3, temperature=0.8, top_p=0.9, seed=5, stop="\n"
    ).choices
]
with client.chat.completions.stream(model=model, messages=messages) as events:
    found["final"] = "".join(one.delta for one in events if one.type == "content.delta")


def refused(kind: type[openai.APIStatusError], **fields: object) -> list[object]:
    """What the client makes of a refusal."""
    try:
        client.chat.completions.create(**{"model": model, "messages": messages, **fields})
    except kind as error:
        return [error.status_code, error.code, error.param]
    return []


found["unknown_model"] = refused(openai.NotFoundError, model="gpt-4o")
found["tools"] = refused(
    openai.BadRequestError, tools=[{"type": "function", "function": {"name": "f"}}]
)
found["too_long"] = refused(
    openai.BadRequestError, messages=[{"role": "user", "content": prompt * 100}]
)
print(json.dumps(found))  # noqa: T201
