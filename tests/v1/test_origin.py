"""Origins of pages."""

from __future__ import annotations

import pytest

from escalade.v1.origin import check_origin


@pytest.mark.parametrize(
    "origin", ["https://a.example", "http://127.0.0.1:8000", "http://[::1]:80", "http://localhost"]
)
def test_origins_as_browsers_send_them_are_taken(origin: str) -> None:
    check_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "null",
        "a.example",
        "https://a.example/",
        "https://A.example",
        "ftp://a",
        "https://é",
    ],
)
def test_what_would_match_none_or_all_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="must be a page's scheme, host and port"):
        check_origin(origin)
