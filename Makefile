# The house's commands. The first one run makes .venv; it needs python3 >= 3.11 and make.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DOCS_STAMP := .venv-docs/.installed
DIST_STAMP := .venv-dist/.installed
GGUF_STAMP := .venv-gguf/.installed
CONTRACT := protos/escalade/v1/cascade.proto
WEB := edge/web
# Of tests: one more than cores, for many wait for processes.
WORKERS = $(shell $(PYTHON) -c "import os; print(min(4, 1 + (os.cpu_count() or 1)))")
NEED_NODE = @command -v npm >/dev/null || { echo "$@: needs node 20 or newer and npm, which are not here" >&2; exit 1; }
NEED_CHROMIUM = @command -v chromium >/dev/null || command -v google-chrome >/dev/null || { echo "$@: needs Chromium, which is not here (Debian: apt install chromium)" >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-gpu test-gguf test-aarch64 test-android test-netns study study-three study-online study-ensembles sim-vs-live check lint format types imports contract breaking bench bench-web web test-web docs dist protos clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## The bundled cascade, end to end, on this machine
	$(BIN)/escalade demo

test: $(STAMP) ## Every test that takes seconds
	$(BIN)/pytest -m "not slow and not web" -n $(WORKERS)

test-slow: $(STAMP) ## Every test that takes longer
	$(BIN)/pytest -m slow

test-gpu: $(STAMP) ## Tests that need a CUDA device
	$(BIN)/pytest -m gpu

test-gguf: $(GGUF_STAMP) ## llama.cpp under the device; compiled the first time, a quarter of an hour
	.venv-gguf/bin/python -m pytest tests/edge/runtimes/test_llamacpp_runtime.py tests/export/gguf

test-aarch64: $(STAMP) ## Artifacts on emulated Raspberry Pi processors; Debian, root, minutes
	$(BIN)/python tests/aarch64/check.py

test-android: $(STAMP) ## The Android device's logic, on the JVM; needs java and npm or kotlinc
	$(BIN)/python tests/android/check.py

test-netns: $(STAMP) ## The kernel's network, measured on user-mode Linux; Debian, minutes
	$(BIN)/python tests/netns/check.py

check: $(STAMP) ## Style, types, who may import whom, the wire contract; under a minute
	@$(MAKE) --no-print-directory -j2 -k lint format types imports contract breaking

bench: $(STAMP) ## Side-by-side timings
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

study: $(STAMP) ## Train and compare every loss on the bundled tasks; hours, resumable
	$(BIN)/python -m benchmarks.study

study-three: $(STAMP) ## Small and medium models before a large one; an hour and more, resumable
	$(BIN)/python -m benchmarks.study_three $(ARGS)

study-online: $(STAMP) ## Online cascades on a folder of streams (DATA=, ENCODER=); hours, resumable
	$(BIN)/python -m benchmarks.study_online --data $(DATA) $(if $(ENCODER),--encoder $(ENCODER)) $(ARGS)

study-ensembles: $(STAMP) ## Cascades of ensembles (TEXTS=, STREAMS=, ENCODER=); hours, resumable
	$(BIN)/python -m benchmarks.study_ensembles $(if $(TEXTS),--texts $(TEXTS)) $(if $(STREAMS),--streams $(STREAMS)) $(if $(ENCODER),--encoder $(ENCODER)) $(ARGS)

sim-vs-live: $(STAMP) ## The simulator against live cascades; 15 quiet minutes, resumable
	$(BIN)/python -m benchmarks.sim_vs_live $(ARGS)

web: $(STAMP) ## The device in a browser: checked and built; needs node
	$(NEED_NODE)
	cd $(WEB) && npm ci --silent --no-fund --no-audit && npm run --silent check && npm run --silent build

test-web: $(STAMP) ## Its tests, with node and in headless Chromium
	$(NEED_NODE)
	$(NEED_CHROMIUM)
	@$(MAKE) --no-print-directory web
	cd $(WEB) && npm test --silent
	$(BIN)/pytest -m web

bench-web: $(STAMP) ## The device in a browser, timed in headless Chromium
	$(NEED_NODE)
	$(NEED_CHROMIUM)
	$(BIN)/python -m benchmarks.web

docs: $(DOCS_STAMP) ## The guides and the interfaces as a site, links checked; a minute
	.venv-docs/bin/python docs/site/build.py

dist: $(DIST_STAMP) ## Wheel and sdist, checked, and installed into an empty environment
	.venv-dist/bin/python tests/release/check.py

protos: $(STAMP) ## Generate the wire contract's stubs again
	$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=protos --pyi_out=protos \
		--grpc_python_out=protos --mypy_grpc_out=protos \
		--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc $(CONTRACT)

clean: ## Remove caches and build outputs; checkpoints and environments stay
	rm -rf build dist edge/web/build edge/web/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv*/*' -prune -exec rm -rf {} +
	find . -name '*.egg-info' -type d -not -path './.venv*/*' -prune -exec rm -rf {} +

# The parts of `check`.

lint: $(STAMP)
	$(BIN)/ruff check -q .

format: $(STAMP)
	$(BIN)/ruff format -q --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports --no-logo

contract: $(STAMP)
	$(BIN)/buf lint protos

breaking: $(STAMP)
	@tag=$$(git tag --list 'v*' --sort=-version:refname | head -n 1); \
	if [ -z "$$tag" ]; then echo "buf breaking: no release tag yet, nothing to compare with"; \
	else echo "buf breaking: against $$tag"; \
	$(BIN)/buf breaking protos --against ".git#tag=$$tag,subdir=protos"; fi

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "escalade needs python3 >= 3.11; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
		"Name another with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@

# Environments of their own: what makes the site or a release needs no torch.

$(DOCS_STAMP): docs/site/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --requirement $<
	@touch $@

$(DIST_STAMP): tests/release/requirements.txt
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/pip install --quiet --requirement $<
	@touch $@

# PyPI has llama.cpp's bindings as source; the rest is that of .venv.
$(GGUF_STAMP): tests/gguf_env.sh $(STAMP)
	sh tests/gguf_env.sh $(BIN)/python .venv-gguf
	@touch $@
