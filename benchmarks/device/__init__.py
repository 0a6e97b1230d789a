"""Decoding on the device beside its peers: `python -m benchmarks.device`.

Side by side, in one run: llama.cpp (from the source distribution of llama-cpp-python),
onnxruntime-genai, and `escalade`. The first run fetches and builds what is missing under
runs/peers: llama.cpp takes a quarter of an hour on two cores, onnxruntime-genai's own
environment 1.5 GB (its model builder needs torch and transformers). cmake, gcc and taskset must
be there. Nothing of a peer enters the project's own environment.

Matched: the weights (one seeded float32 model in the shape of SmolLM2-135M), 4-bit symmetric
weights in blocks of 32 rounded to nearest, the head's bits (8: llama.cpp's default for this
width, the builder's `last_matmul:int8`, our default; the 4-bit heads are printed and compared
with no target), int8 activations, prompt ids, lengths, greedy choice, threads and the cores they
are pinned to. The head runs for a prompt's last position only. A response always has all its
tokens: no end-of-sequence id is met, and every worker's count is checked.

llama.cpp gets the fastest of its builds: its CPU backend is compiled for each set of instructions
that /proc/cpuinfo names (AVX2 to AVX-512 with VNNI, VBMI and BF16) and by `-march=native`;
llama-bench times them in turn, and one that dies, as on a machine that shows AMX and forbids it, is
said and dropped. What llama-bench itself says of the build taken stands beside our loop around it.

Not matched, because it belongs to the program compared: llama.cpp keeps keys and values and the
scales of blocks in float16, the two others in float32 (its 90 MB stand against their 99); it
was compiled for this very CPU, the others are wheels; its loop is C++, theirs is Python;
llama.cpp and genai read a prompt in pieces of 512 tokens or whole, our runtime in its chunks.

Two modes. `scored`: each token with its log-probability - for llama.cpp from all logits read
through `llama_get_logits_ith` in vectorized C++, for genai from `get_logits` in numpy, for ours
out of the graph. `plain`: for llama.cpp what llama-bench times (nothing read, next token given),
for genai `generate_next_token`. Ours always scores: what that costs is the share of a step that the
score's nodes take by onnxruntime's profiler.

The speed of the prompt (`prefill`) runs from the ids to the first token chosen; that of decoding
counts the passes after it. All programs are loaded anew in each round, since where weights come to
lie makes a tenth, and take turns, each round beginning with another. Ratios are of the same round;
medians with the smallest and the largest stand for all. With one thread, CPU time is counted too:
it hardly feels what else runs. With several it says little, since threads spin while they wait.

On a shared machine a response that others disturbed (by the system's count of their CPU time,
never by its speed) is timed again, and `--patience` waits for idle cores first. Wall times and
ratios of rows that stay `disturbed` by more than a few percent are not to be quoted, least of all
with 2 threads, where a runtime that spins for a thread without a core slows down tenfold.

Random weights serve for speed only: no quality may be read from them.
"""
