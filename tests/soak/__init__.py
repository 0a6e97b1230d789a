"""A server keeps nothing of clients that come for long, or leave in the middle of everything.

    cd tests && ../.venv/bin/python -m soak [--cancelled 50000 | --minutes 30] [--leak BYTES]

The bundled large model is served by a process of its own. Before and after, that process counts its
memory, tasks, descriptors and threads. `--leak` plants a leak of so many bytes a request: then it
must fail.
"""
