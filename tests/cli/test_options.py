"""Options that several verbs share: keys that come through a pipe."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from escalade.cli.options import open_options


def test_a_key_from_a_pipe_can_be_read_for_each_member(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_bytes(b"key")
    writer = threading.Thread(target=pipe.write_bytes, args=(b"key",))
    writer.start()
    key = open_options(trusted_key=pipe).trusted_key
    writer.join()
    assert key is not None
    assert [key.read_bytes() for _ in range(2)] == [b"key", b"key"]
    assert open_options(trusted_key=file).trusted_key == file
    assert open_options(trusted_key=tmp_path / "none").trusted_key == tmp_path / "none"
    assert open_options().trusted_key is None
