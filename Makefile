# make demo, make test: the two commands of the README. Each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVERS := nginx=nginx-light sshd=openssh-server sudo=sudo cvtsudoers=sudo ss=iproute2 openssl=openssl chromium=chromium \
	zstd=zstd git=git softhsm2-util=softhsm2 node=nodejs npm=npm slapd=slapd ldapmodify=ldap-utils \
	samba-tool=samba samba=samba-ad-dc /usr/share/samba/setup=samba-ad-provision wbinfo=winbind kinit=krb5-user \
	pg_ctlcluster=postgresql mariadbd=mariadb-server
MINISTACK := ministack==1.5.33

.PHONY: fuzz demo test lint wheel docs bench servers lock clean

demo: $(VENV)/.demo
	$(BIN)/affidavit demo

test: $(VENV)/.dev $(VENV)/.tools servers
	$(BIN)/python -m pytest -q -n auto --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Hundreds of thousands of damaged stores and bundles, and tens of thousands of power cuts: half an hour on two cores.
fuzz: $(VENV)/.dev
	FUZZ_CASES=100000 CRASH_VARIANTS=100 $(BIN)/python -m pytest -q -n auto --dist loadfile tests/evidence_store/test_store_fuzz.py tests/evidence_store/test_store_crash.py
	FUZZ_CASES=25000 FLIP_STEP=1 $(BIN)/python -m pytest -q -n auto --dist loadfile tests/evidence_store/test_bundle_fuzz.py tests/evidence_store/test_bundle_tamper.py tests/evidence_store/test_bundle_leaves.py

wheel: $(VENV)/.dev
	$(BIN)/python .ci/wheel.py

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/collect.py

# Real servers that tests start on loopback. Where they cannot be installed, the tests that need them say so.
servers:
	@.ci/servers $(SERVERS)
	@command -v npm >/dev/null && .ci/third-party || echo "note: no npm, so bundles are not held against Sigstore's verifier" >&2

# Hashes for every platform, no addresses.
lock:
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 --extra demo pyproject.toml -o requirements/demo.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements/dev.txt

$(VENV)/.demo: requirements/demo.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/.demo

# An emulator that needs another botocore than ours has an environment of its own.
$(VENV)/.tools: $(VENV)/.dev
	$(BIN)/uv venv -q --allow-existing $(VENV)/tools
	$(BIN)/uv pip install -q --python $(VENV)/tools/bin/python $(MINISTACK) cryptography
	touch $@

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
