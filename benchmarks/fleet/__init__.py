"""How fast a fleet runs, beside SimPy and vllm-sr-sim; see benchmarks/README.md."""
