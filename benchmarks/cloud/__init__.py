"""Numbers of the server, each a paired run of one script; see benchmarks/README.md."""
