"""Run in a network namespace: packets of one connection are dropped, new connections work.

Prints what became of queries as JSON; ends with 77 where packets cannot be dropped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripted import scripted

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb


def ip(*words: str) -> None:
    ran = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.stdout.write(f"ip {' '.join(words)}: {ran.stderr}")
        sys.exit(77)


def drop_what_is_open(port: int) -> None:
    """Both ways, for every connection to the port that is there now."""
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    for line in [line for table in tables for line in table.read_text().splitlines()[1:]]:
        here, there, state = line.split()[1:4]
        near, far = (int(one.rpartition(":")[2], 16) for one in (here, there))
        if state == "01" and far == port:
            for sport, dport in ((near, far), (far, near)):
                ports = ("sport", str(sport), "dport", str(dport))
                ip("rule", "add", "pref", "1", "ipproto", "tcp", *ports, "blackhole")


def ask(client: CloudClient) -> tuple[str, int]:
    try:
        answered = client.generate(pb.GenerateRequest(prompt=pb.Prompt(text="x")))
    except CloudError:
        return "lost", 0
    assert answered is not None
    return "deferred", answered.attempts


def main() -> None:
    ip("link", "set", "lo", "up")
    # The rule for addresses of this machine comes first of all, unless it is moved.
    ip("rule", "add", "pref", "9", "lookup", "local")
    ip("rule", "del", "pref", "0")
    found: dict[str, object] = {}
    with scripted() as cloud:
        port = int(cloud.address.rpartition(":")[2])
        for name, deadline_s, count in (("short", 2.0, 3), ("long", 20.0, 2)):
            client = CloudClient(cloud.address, deadline_s=deadline_s)
            said = [ask(client)]
            drop_what_is_open(port)
            said += [ask(client) for _ in range(count)]
            found[name] = [outcome for outcome, _ in said]
            found["attempts"] = said[1][1]
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()


main()
