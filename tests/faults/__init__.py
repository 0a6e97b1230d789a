"""A cascade on bad days: processes die, links fail, and every request still ends as it should.

    cd tests && ../.venv/bin/python -m faults [--requests 10000] [--seed 1] [--json]

A device, a gateway and the bundled large model, in processes of their own and over TLS, with a
relay on every link. While clients ask, a seeded schedule kills, stops and drains processes, resets,
stalls and forgets connections, and corrupts what they carry. The history of all requests is then
held against what each model says undisturbed (`history.py`).
"""

import os

# Handshakes are meant to fail here, and gRPC would tell of each.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
