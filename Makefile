# make demo and make test set up everything they need; nothing else has to be installed first
# than Python 3.11+, its venv module and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo run test torture check format lint types imports bench browser browser-pictures conformance prometheus postgresql deploy-check recipes fuzz lock

help: ## show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with hash-checked dependencies and the package

$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up $(VENV), about a minute"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup ## the whole job in one go, on throw-away certificates and real sockets
	$(BIN)/gateway demo

run: setup ## serve from config/gateway.yaml (or GATEWAY_CONFIG)
	$(BIN)/gateway run

# Two at a time, each file in one process, so that what its tests share is made once.
test: setup ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

torture: setup ## kill -9 under load, 100 times, with a line of account each; TORTURE="--rounds 1000"
	$(BIN)/python -m pytest -s --timeout 36000 --rounds 100 $(TORTURE) tests/stories/test_nothing_is_lost.py -k "kill_9 or sigterm"

check: format lint types imports test ## format, lint, types, import rules, tests

format: setup ## is everything formatted?
	$(BIN)/ruff format --check .

lint: setup ## ruff: mistakes and style
	$(BIN)/ruff check .

types: setup ## mypy, strict
	$(BIN)/mypy

imports: setup ## do imports run one way only?
	$(BIN)/lint-imports --no-cache

bench: setup bench/load bench/.venv/.installed ## measure side by side with other servers; BENCH="--rounds 1" and so on
	$(BIN)/python -m bench $(BENCH)

browser: setup browser/.venv/.installed ## the dashboard in headless Chromium, with axe-core; BROWSER="-k keyboard"
	@sh browser/install.sh
	cd browser && .venv/bin/python -m pytest -c pytest.ini -q $(BROWSER)

browser-pictures: setup browser/.venv/.installed ## pictures of every page of the dashboard, in browser/pictures
	@sh browser/install.sh
	cd browser && .venv/bin/python pictures.py $(PICTURES)

browser/.venv/.installed: browser/requirements.txt
	$(PYTHON) -m venv browser/.venv
	browser/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

conformance: setup conformance/.venv/.installed ## the door as others see it: OpenSSL, GnuTLS, scanners, curl; CONFORMANCE="--only zoo"
	@sh conformance/install.sh
	$(BIN)/python -m conformance $(CONFORMANCE)

# Not to be had (no wheel, no network): its examination is skipped, and says so.
conformance/.venv/.installed: conformance/requirements.txt
	$(PYTHON) -m venv conformance/.venv
	-conformance/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

prometheus: setup ## alerts and dashboard, by promtool and by a real Prometheus that scrapes a real gateway
	@sh deploy/checks/install.sh prometheus:prometheus promtool:prometheus
	$(BIN)/python -m pytest $(PROMETHEUS) deploy/checks/test_prometheus.py

recipes: setup ## docs/moving-in.md: the shadow beside an old stack, by a real nginx
	@sh deploy/checks/install.sh nginx:nginx-light
	$(BIN)/python -m pytest deploy/checks/test_shadow.py tests/stories/test_moving_in.py

postgresql: setup ## the shared spool on PostgreSQL 14 and Debian's, behind PgBouncer, with TLS of the server's own
	@sh deploy/checks/install.sh pg_ctlcluster:postgresql pgbouncer:pgbouncer
	$(BIN)/python -m deploy.checks.postgresql

deploy-check: setup deploy/checks/.venv/.installed ## units, manifests and haproxy.cfg, by the programs that read them
	@sh deploy/checks/install.sh systemd-analyze:systemd strace:strace haproxy:haproxy
	$(BIN)/python -m pytest $(DEPLOY_CHECK) deploy/checks/test_deploy.py

# Not to be had (no wheel, no network): what needs it is skipped, and says so.
deploy/checks/.venv/.installed: deploy/checks/requirements.txt deploy/checks/schema.txt
	$(PYTHON) -m venv deploy/checks/.venv
	-deploy/checks/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	-deploy/checks/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r deploy/checks/schema.txt
	@touch $@

fuzz: setup fuzz/.venv/.installed ## look for inputs that break something; FUZZ="http1 --seconds 600"
	nice fuzz/.venv/bin/python -m fuzz $(FUZZ)

fuzz/.venv/.installed: fuzz/requirements.txt requirements-runtime.lock
	$(PYTHON) -m venv fuzz/.venv
	fuzz/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements-runtime.lock -r fuzz/requirements.txt
	@touch $@

bench/load: bench/load.c bench/install.sh
	sh bench/install.sh
	gcc -O2 -Wall -D_GNU_SOURCE -o $@ bench/load.c -lssl -lcrypto -lpthread

bench/.venv/.installed: bench/requirements.txt
	$(PYTHON) -m venv bench/.venv
	bench/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt
	@touch $@

lock: ## pin all dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group dev --extra postgresql --output-file requirements.lock --upgrade pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --group build --extra postgresql --constraint requirements.lock --output-file requirements-runtime.lock pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --output-file bench/requirements.txt --upgrade bench/requirements.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --output-file conformance/requirements.txt --upgrade conformance/requirements.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --output-file deploy/checks/requirements.txt --upgrade deploy/checks/requirements.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --output-file fuzz/requirements.txt --upgrade fuzz/requirements.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --output-file browser/requirements.txt --upgrade browser/requirements.in
