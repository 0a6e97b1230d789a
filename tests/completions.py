"""A small OpenAI-compatible server for tests: HTTP on a real socket, and a real model behind it.

It is ours, and no proof that others speak so: it says what vLLM 0.32 says to the same requests, as
far as the backend reads it, and less where a test takes an offer away. Slow tests ask real ones.
One request has one connection.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Query, ScoreQuery

#: Answers in place of the model: raw bytes of HTTP, or whatever it does with the connection.
Misbehave = Callable[[asyncio.StreamWriter], Awaitable[None]]


class RefusedError(Exception):
    """What the server says no to."""

    def __init__(self, status: int, message: str = "no") -> None:
        super().__init__(message)
        self.status = status


class CompletionsServer:
    """Serves a model.

    Args:
        engine: computes; with a tokenizer that decodes.
        chat: offer a chat, and no completions.
        ids: take token ids and give them.
        streams: answer as a stream where that is asked for.
        max_logprobs: of each token of a prompt; 0 offers none.
        tokenize: answer `/tokenize` as llama.cpp does, and say no `prompt_token_ids`.
        says: what `/models` says of the model beside its name.
        key: that must be sent.
    """

    def __init__(
        self,
        engine: TransformersEngine,
        *,
        chat: bool = False,
        ids: bool = True,
        streams: bool = True,
        max_logprobs: int = 20,
        tokenize: bool = False,
        says: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> None:
        self.engine = engine
        self._chat, self._ids, self._streams = chat, ids, streams
        self._max_logprobs, self._tokenize, self._key = max_logprobs, tokenize, key
        window = {"max_model_len": engine.info.context_length}
        self._says = {"owned_by": "test", **(window if says is None else says)}
        self.url = ""
        #: Bodies of all completions and chats that were asked for.
        self.asked: list[dict[str, Any]] = []
        #: Header lines of all requests.
        self.headers: list[dict[str, str]] = []
        self.misbehave: Misbehave | None = None
        #: While it is clear, an answer that is streamed waits after its first token, any other
        #: before it.
        self.go_on = asyncio.Event()
        self.go_on.set()
        #: Requests whose client left before their answer.
        self.left = 0
        #: Requests under way.
        self.open = 0
        self._connections: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Leave whatever is under way."""
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open += 1
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split()
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.headers.append(headers)
            work = asyncio.create_task(self._answer(method, path, headers, body, writer))
            gone = asyncio.create_task(reader.read())
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            self.left += not work.done()
            for one in (work, gone):
                one.cancel()
            await asyncio.wait({work, gone})
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # a cancelled one is logged as a failure by `asyncio.start_server`
        finally:
            self.open -= 1
            self._connections.discard(task)
            writer.close()

    async def _answer(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        writer: asyncio.StreamWriter,
    ) -> None:
        with suppress(ConnectionError):
            try:
                if self._key and headers.get("authorization") != f"Bearer {self._key}":
                    raise RefusedError(401)
                if (method, path) == ("GET", "/v1/models"):
                    model = {"id": self.engine.info.model.name, **self._says}
                    await respond(writer, {"data": [model]})
                elif (method, path) == ("GET", "/version"):
                    await respond(writer, {"version": "1.0"})
                elif (method, path) == ("POST", "/tokenize") and self._tokenize:
                    text = json.loads(body)["content"]
                    await respond(writer, {"tokens": list(self.engine.encode(text))})
                elif (method, path) == ("POST", self.path):
                    self.asked.append(json.loads(body))
                    if self.misbehave is not None:
                        await self.misbehave(writer)
                    else:
                        await self._complete(self.asked[-1], writer)
                else:
                    raise RefusedError(404)
            except RefusedError as error:
                await respond(writer, {"error": {"message": str(error)}}, error.status)
            await writer.drain()

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self._chat else "/v1/completions"

    async def _complete(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        given = self._given(asked)
        stream = asked.get("stream") and self._streams
        if not stream:
            await self.go_on.wait()
        chosen, text, pieces = await asyncio.to_thread(self._compute, given, asked)
        finish = "stop" if chosen[-1] in self.engine.info.end_of_sequence_ids else "length"
        usage = {"prompt_tokens": len(given), "completion_tokens": len(chosen)}
        if stream:
            await self._send_stream(pieces, finish, usage, writer)
            return
        whole: dict[str, Any] = {"index": 0, "text": text, "finish_reason": finish}
        if self._says_ids(asked):
            whole |= {"token_ids": chosen, "prompt_token_ids": given}
        if asked.get("logprobs"):
            whole["logprobs"] = {
                name: [one for piece in pieces for one in piece["logprobs"][name]]
                for name in pieces[0]["logprobs"]
            }
        if asked.get("prompt_logprobs"):
            whole["prompt_logprobs"] = await asyncio.to_thread(
                self._of_prompt, given, asked["prompt_logprobs"]
            )
        if self._chat:
            whole["message"] = {"role": "assistant", "content": whole.pop("text")}
        await respond(writer, {"choices": [whole], "usage": usage})

    def _given(self, asked: dict[str, Any]) -> list[int]:
        """The ids of a prompt that is taken."""
        prompt = asked["messages"][0]["content"] if self._chat else asked["prompt"]
        if asked["model"] != self.engine.info.model.name:
            raise RefusedError(404)
        if not isinstance(prompt, str) and not self._ids:
            raise RefusedError(400, "prompt must be a string")
        given = list(self.engine.encode(prompt)) if isinstance(prompt, str) else list(prompt)
        window = self.engine.info.context_length
        if len(given) + asked["max_tokens"] > window:
            raise RefusedError(400, f"This model's maximum context length is {window} tokens.")
        if asked.get("prompt_logprobs", 0) > self._max_logprobs:
            raise RefusedError(400, "Requested prompt logprobs")
        return given

    def _says_ids(self, asked: dict[str, Any]) -> bool:
        return self._ids and not self._tokenize and bool(asked.get("return_token_ids"))

    def _compute(
        self, given: list[int], asked: dict[str, Any]
    ) -> tuple[list[int], str, list[dict[str, Any]]]:
        """The greedy answer: its tokens, its text, and a piece for each token."""
        answer = self.engine.generate(Query(tuple(given), asked["max_tokens"]), lambda: None)
        chosen = answer.chosen_ids
        [scores] = self.engine.score([ScoreQuery(tuple(given), tuple(chosen))], 2)
        pieces = []
        for at, token in enumerate(chosen):
            before = self.engine.decode(chosen[:at])
            piece: dict[str, Any] = {
                "text": self.engine.decode(chosen[: at + 1]).removeprefix(before)
            }
            if self._says_ids(asked):
                piece["token_ids"] = [token]
            own = scores.response_logprobs[at].item()
            best = dict(
                zip(scores.top_ids[at].tolist(), scores.top_logprobs[at].tolist(), strict=True)
            )
            if asked.get("logprobs") and self._tokenize:
                top = [{"id": one, "logprob": score} for one, score in best.items()]
                entry = {"id": token, "logprob": own, "top_logprobs": top}
                piece["logprobs"] = {"content": [entry]}
            elif asked.get("logprobs"):
                piece["logprobs"] = {
                    "token_logprobs": [own],
                    "top_logprobs": [{f"token_id:{one}": score for one, score in best.items()}],
                }
            pieces.append(piece)
        return chosen, answer.text, pieces

    def _of_prompt(self, given: list[int], k: int) -> list[dict[str, Any] | None]:
        [scores] = self.engine.score([ScoreQuery(tuple(given[:1]), tuple(given[1:]))], k)
        rows: list[dict[str, Any] | None] = [None]
        for at, token in enumerate(given[1:]):
            best = zip(scores.top_ids[at].tolist(), scores.top_logprobs[at].tolist(), strict=True)
            row = {str(one): {"logprob": score} for one, score in best}
            row.setdefault(str(token), {"logprob": scores.response_logprobs[at].item()})
            rows.append(row)
        return rows

    async def _send_stream(
        self,
        pieces: list[dict[str, Any]],
        finish: str,
        usage: dict[str, int],
        writer: asyncio.StreamWriter,
    ) -> None:
        writer.write(STREAM_HEAD)
        for at, piece in enumerate(pieces):
            last = at == len(pieces) - 1
            choice = {**piece, "index": 0, "finish_reason": finish if last else None}
            if self._chat:
                choice["delta"] = {"content": choice.pop("text")}
            writer.write(event({"choices": [choice]}))
            await writer.drain()
            await self.go_on.wait()
        writer.write(event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def event(content: object) -> bytes:
    """One event of a stream."""
    return f"data: {json.dumps(content)}\n\n".encode()


def http(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def respond(writer: asyncio.StreamWriter, content: object, status: int = 200) -> None:
    """Send JSON."""
    writer.write(http(json.dumps(content).encode(), f"{status} STATUS"))
    await writer.drain()


@asynccontextmanager
async def completions(
    engine: TransformersEngine, *, tls: ssl.SSLContext | None = None, **offers: Any
) -> AsyncIterator[CompletionsServer]:
    """A server on a free port, while the block runs."""
    server = CompletionsServer(engine, **offers)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        server.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/v1"
        try:
            yield server
        finally:
            await server.close()
