"""gRPC and the proxies of the environment: this machine is never dialled through one."""

from __future__ import annotations

from typing import Any

import pytest

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.v1.address import parse_address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "localhost."])
def test_what_is_here_is_dialled_directly(
    proxy_asked: list[str], scripted_cloud: Any, host: str
) -> None:
    client = CloudClient(f"{host}:{parse_address(scripted_cloud.address).port}")
    assert client.model_info().model.name == "scripted-large"
    assert proxy_asked == []
    client.close()


@pytest.mark.parametrize("plaintext", [True, False])
def test_what_is_elsewhere_is_dialled_through_the_proxy(
    proxy_asked: list[str], plaintext: bool
) -> None:
    client = CloudClient("192.0.2.1:50051", deadline_s=0.5, plaintext=plaintext)
    with pytest.raises(CloudError, match="UNAVAILABLE|DEADLINE"):
        client.model_info()
    client.close()
    assert set(proxy_asked) == {"CONNECT 192.0.2.1:50051"}


def test_unless_the_environment_says_otherwise(
    proxy_asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "192.0.2.1")
    client = CloudClient("192.0.2.1:50051", deadline_s=0.1, plaintext=True)
    with pytest.raises(CloudError):
        client.model_info()
    client.close()
    assert proxy_asked == []
