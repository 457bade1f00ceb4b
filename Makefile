# `make demo` is the place to begin. Every target makes the environment .venv by itself, once.

MEMBERS := shared device cli services/manufacturer services/rendezvous services/owner services/discovery \
	services/broker-launcher services/device-plugin
PACKAGES := shared/ashore device/ashore_device cli/ashore_cli $(wildcard services/*/ashore_*)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help demo test peers kube soak fuzz lint bench bench-discovery bench-launcher bench-device-plugin docs lock clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## start everything here and bring a virtual device ashore
	@$(BIN)/ashore demo $(ARGS)

test: $(READY) ## run all tests; ARGS="-k words" chooses
	$(BIN)/pytest $(ARGS)

peers: $(READY) ## install the peers that tests of discovery meet, once
	$(BIN)/python -m tests.discovery.peers

kube: $(READY) ## build the Kubernetes control plane that tests need, once: 10 minutes
	$(BIN)/python -m tests.kube.binaries

soak: $(READY) ## an hour of lost packets without a false removal, as root; ARGS="60 1" is a minute of 1 %
	$(BIN)/python -m tests.discovery.soak $(if $(ARGS),$(ARGS),3600)

fuzz: $(READY) ## feed every reader of bytes from outside with what breaks it; ARGS="seconds [target...]"
	$(BIN)/python -m tests.fuzz.run $(ARGS)

lint: $(READY) ## check style, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(PACKAGES)
	MYPYPATH=examples/camera-firmware $(BIN)/mypy --strict examples/camera-firmware/camera_firmware
	$(BIN)/lint-imports

bench: $(READY) ## measure onboardings per second and CPU per device
	$(BIN)/python benchmarks/onboarding.py $(ARGS)

bench-discovery: $(READY) ## measure from a device that appears to a subscriber, best as root; memory, CPU
	$(BIN)/python benchmarks/discovery.py $(ARGS)

bench-launcher: $(READY) ## measure from a device that is seen to a Pod in a real API server; bursts, restarts, memory
	$(BIN)/python benchmarks/launcher.py $(ARGS)

bench-device-plugin: $(READY) ## measure from a burst of instances to a kubelet that knows them all; memory, CPU
	$(BIN)/python benchmarks/device_plugin.py $(ARGS)

docs: $(READY) ## write docs/reference from the code
	PYTHONPATH=. $(BIN)/python docs/generate.py

lock: $(READY) ## choose all versions anew
	$(BIN)/uv pip compile requirements.in --output-file requirements.lock --upgrade --quiet --no-header \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		$(foreach member,$(MEMBERS),--no-emit-package $(call package,$(member)))

clean: ## remove the environment and all caches; the data in .ashore stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

package = $(shell sed -n 's/^name = "\(.*\)"/\1/p' $(1)/pyproject.toml)

$(READY): requirements.lock $(MEMBERS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "ashore needs Python 3.11 or later, and $(PYTHON) is `$(PYTHON) --version 2>&1`." >&2; \
		echo "Where there is a later one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { echo "Making the environment $(VENV), once."; \
		rm -rf $(VENV); $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; }
	@echo "Installing what requirements.lock names; this takes half a minute."
	@rm -f $(VENV)/failed
	@# A count that overwrites itself is for people who watch; a log gets one line.
	@test -t 1 && terminal=1 || terminal=0; \
		{ $(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off --require-hashes \
		--requirement requirements.lock || touch $(VENV)/failed; } | awk -v terminal=$$terminal ' \
		function show(end) { printf "%s  %d packages%s", terminal ? "\r" : "", count, end; fflush() } \
		/^Collecting/ { count++; if (terminal) show("") } \
		/^Installing/ { show(" fetched; unpacking them") } END { print "" }'
	@test ! -e $(VENV)/failed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
		--no-deps --no-build-isolation --no-index $(MEMBERS:%=--editable ./%)
	@touch $@
