"""gRPC-Web's frames and trailers: what is one, and what is refused in words."""

from __future__ import annotations

import re

import grpc
import pytest

from escalade.cloud.web.frames import message_frame, message_of, timeout_s_of, trailers_frame


def test_a_message_is_read_back() -> None:
    assert message_frame(b"abc") == b"\x00\x00\x00\x00\x03abc"
    assert message_of(message_frame(b"abc")) == b"abc"
    assert message_of(message_frame(b"")) == b""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "one frame of gRPC-Web, got 0 bytes"),
        (b"\x00\x00\x00", "got 3 bytes"),
        (b"\x01\x00\x00\x00\x00", r"uncompressed message \(0\), got flag 1"),
        (b"\x80\x00\x00\x00\x00", "got flag 128"),
        (b"\x00\x00\x00\x00\x05abc", "one frame of 5 bytes, as it says, got 3"),
        (message_frame(b"a") * 2, "one frame of 1 bytes, as it says, got 7"),
    ],
)
def test_what_is_no_message_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        message_of(body)


def test_trailers_say_how_it_ended() -> None:
    frame = trailers_frame(
        grpc.StatusCode.NOT_FOUND, "50 % of é\r\nx: y", [("a-bin", b"\x00\xff"), ("b", "c")]
    )
    assert frame[0] == 0x80
    assert int.from_bytes(frame[1:5]) == len(frame) - 5
    assert frame[5:].decode().split("\r\n") == [
        "grpc-status: 5",
        "grpc-message: 50 %25 of %C3%A9%0D%0Ax: y",
        "a-bin: AP8=",
        "b: c",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("10S", 10.0), ("250m", 0.25), ("1H", 3600.0), ("2M", 120.0), ("5u", 5e-6)],
)
def test_a_timeout_is_in_the_units_of_grpc(text: str, seconds: float | None) -> None:
    assert timeout_s_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["10", "S", "-1S", "123456789S", "1 S", "1s", "٣S"])
def test_a_timeout_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        timeout_s_of(text)
