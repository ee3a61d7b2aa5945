# On a fresh machine with Python 3.11, pip, make and git, every target sets up all it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo check test test-all test-prism test-flink lint bench bench-engines bench-lattice bench-shards bench-stores bench-training bench-training-steps photographs clean

demo: .venv/.installed
	$(BIN)/q1net audit tests/photographs --output out/demo --group 'photographs/([^/]+)/'

# While developing: what needs neither TensorFlow nor Beam.
check: lint
	$(BIN)/pytest -n auto --hypothesis-profile=dev tests/core tests/contracts/test_layers.py --ignore=tests/core/network

test: lint
	$(BIN)/pytest -n auto --dist=worksteal --hypothesis-profile=ci

test-all: lint
	$(BIN)/pip install --quiet 'jax>=0.10,<0.11'
	$(BIN)/pytest -n auto --dist=worksteal --hypothesis-profile=all -m ''
	$(BIN)/pip install --quiet '.[finetune]'
	KERAS_BACKEND=torch $(BIN)/pytest tests/training/test_finetune.py tests/training/test_widths.py

# Beam's engine in Go, built from its module: the engines' tests on it too.
test-prism: .venv/.developing .cache/bin/prism
	Q1NET_PRISM=$(CURDIR)/.cache/bin/prism $(BIN)/pytest -m '' tests/engines

.cache/bin/prism:
	GOBIN=$(CURDIR)/.cache/bin go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0

# Apache Flink with two task managers, of Java 17: the engines' tests on it, one task manager killed.
test-flink: .venv/.developing .cache/flink/.verified
	Q1NET_FLINK=$(CURDIR)/.cache/flink $(BIN)/pytest tests/engines/test_flink.py

# What fails to download is tried again, and no connection is waited for without end.
MAVEN := mvn --batch-mode --quiet --update-snapshots --file tests/engines/flink/pom.xml \
	-Dmaven.wagon.http.retryHandler.count=5 -Dmaven.wagon.rto=60000 \
	-Daether.connector.http.retryHandler.count=5 -Daether.connector.requestTimeout=60000 \
	dependency:copy-dependencies

.cache/flink/.fetched: tests/engines/flink/pom.xml
	rm -rf .cache/flink
	$(MAVEN) || (sleep 20 && $(MAVEN)) || (sleep 60 && $(MAVEN))
	touch $@

.cache/flink/.verified: .cache/flink/.fetched tests/engines/flink/sha256sums
	cd .cache/flink && sha256sum --check --strict --quiet $(CURDIR)/tests/engines/flink/sha256sums
	test $$(ls .cache/flink | wc -l) = $$(wc -l < tests/engines/flink/sha256sums)
	touch $@

lint: .venv/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.developing
	$(BIN)/python benchmarks/audit.py

# Prism and Flink take part once `make test-prism` and `make test-flink` have fetched them.
bench-engines: .venv/.developing
	Q1NET_PRISM=$(wildcard $(CURDIR)/.cache/bin/prism) \
	Q1NET_FLINK=$(patsubst %/.verified,%,$(wildcard $(CURDIR)/.cache/flink/.verified)) \
	$(BIN)/python benchmarks/engines.py

bench-lattice: .venv/.developing
	$(BIN)/python benchmarks/lattice.py

bench-stores: .venv/.developing
	$(BIN)/python benchmarks/stores.py

bench-shards: .venv/.developing
	$(BIN)/python benchmarks/shards.py

bench-training: .venv/.developing
	$(BIN)/python benchmarks/training_readers.py

# PyTorch and JAX count where they are installed: pip install '.[finetune]' jax
bench-training-steps: .venv/.developing
	$(BIN)/python benchmarks/training_steps.py

# KODAK is a folder with the 24 lossless Kodak photographs.
photographs: .venv/.developing
	$(BIN)/python tests/support/make_photographs.py $(KODAK)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python setup.py
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.developing: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .cache out
