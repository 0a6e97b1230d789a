"""Peers' kinds of weights beside ours on a real model: `python -m benchmarks.device.kinds`.

Quality and speed of the same weights in one run: for each kind the KL of the next token to float32
and the share of places where both think the same token likeliest, teacher-forced on real text,
token by token as a response is decoded; and the speed of decoding with log-probabilities, all kinds
in turn, round after round. llama.cpp has its fastest build (see `benchmarks.device`), keys and
values in float16 as it chooses itself. Its K-quants want widths that 256 divides: where a model's
are others, it takes larger kinds instead, and the bits that are printed are those of the file. Its
importance matrix is read off `--matrix-tokens` of the same text, behind those that are measured:
nearer to them than what our exporter rounds by, which the model writes itself; `--bits` has
it round by those tokens too.
"""
