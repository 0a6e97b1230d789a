"""Asks an endpoint through LangChain, as a user would; run in an environment of its own.

python chain.py URL MODEL PROMPT
"""

from __future__ import annotations

import asyncio
import json
import sys

from langchain_openai import ChatOpenAI, OpenAI

url, model, prompt = sys.argv[1:]
options = {"base_url": url, "api_key": "none", "model": model, "max_retries": 0}
chat = ChatOpenAI(**options)
answer = chat.invoke(prompt)
found: dict[str, object] = {"chat": answer.content, "usage": answer.usage_metadata["total_tokens"]}
found["streamed"] = "".join(piece.content for piece in chat.stream(prompt))
found["many"] = [one.content for one in chat.batch([prompt] * 4)]
found["later"] = asyncio.run(chat.ainvoke(prompt)).content
found["drawn"] = ChatOpenAI(temperature=0.7, seed=1, **options).invoke(prompt).content
with_logprobs = chat.bind(logprobs=True).invoke(prompt)
found["logprobs"] = [
    one["logprob"] for one in with_logprobs.response_metadata["logprobs"]["content"]
]
found["text"] = OpenAI(max_tokens=3, temperature=0, n=1, **options).invoke(prompt)
print(json.dumps(found))  # noqa: T201
