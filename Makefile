# make demo    a volume mounted, used and unmounted, with every command shown
# make test    all the tests (as root: real mounts, and apt for what they need)
# make check   ruff, mypy and bandit
# make audit   known vulnerabilities of what is installed: needs a database of advisories within reach
# make lock    tools/ci.lock, anew: what CI installs, by hash
# make check-isolators MESOS_SOURCE=DIR   the isolators against a real Mesos's headers
# make crash-walk   every scene of the crash walk, for hours: a part of it with WALK="-k 'ebs and unmount'"; for days,
#              with DVDCLI_CRASH_WALK=whole: tests/walk.py says what is folded otherwise
# make crash-walk-steps   writes anew what steps there are to be walked: tests/walk_points.toml
# make soak    everything at once while everything goes wrong, from a seed: SOAK="--seconds 120 --seed 7"
# make fuzz    bad input by machine, led by coverage, for everything that parses: FUZZ="--seconds 60 --target isolator"
# make picture the README's picture of list
# make docs    the manual pages and completions, from the commands themselves
# make dist    what is released, built and tried: sdist, wheel, zipapp, .deb
# make bench   what is claimed about speed, measured side by side
VENV := .venv
PY := $(VENV)/bin/python3
SOURCES := $(shell find bin dvdcli -name '*.py' -o -name '*.proto' -o -path 'bin/dvdcli') hatch_build.py pyproject.toml README.md LICENSE \
    $(wildcard man/man?/* completions/*)

.PHONY: demo test check audit lock docs dist check-isolators bench crash-walk crash-walk-steps soak fuzz picture clean

demo: $(VENV)/installed
	sh tools/demo.sh

test: $(VENV)/installed $(VENV)/test-tools
	sh tools/test.sh $(TESTS)

check: $(VENV)/installed $(VENV)/test-tools
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/bandit -q -c pyproject.toml -r dvdcli tools bin/dvdcli

audit: $(VENV)/test-tools
	sh tools/audit.sh

lock: $(VENV)/test-tools
	sh tools/lock.sh

docs: $(VENV)/installed
	$(PY) -I tools/docs.py

dist: $(VENV)/installed
	sh tools/dist.sh

check-isolators:
	sh isolators/check.sh $(MESOS_SOURCE)

bench: $(VENV)/installed
	$(PY) -I benchmarks/bench.py $(BENCH)
	$(PY) -I benchmarks/containers.py
	$(PY) -I benchmarks/back_ends.py

crash-walk: $(VENV)/installed $(VENV)/test-tools
	DVDCLI_CRASH_WALK=$${DVDCLI_CRASH_WALK:-changes} $(PY) -m pytest -q -n $$(nproc) -p tests.walk_report tests/test_crash_walk.py \
	    tests/test_killed_in_calls.py $(WALK)

crash-walk-steps: $(VENV)/installed $(VENV)/test-tools
	$(PY) -m tests.walk_ledger

soak: $(VENV)/installed $(VENV)/test-tools
	$(PY) -m tests.soak $(SOAK)

fuzz: $(VENV)/installed $(VENV)/test-tools
	@$(PY) -m pip install -q --group fuzz || { echo "fuzz: atheris has no wheel for this Python" >&2; exit 2; }
	nice -n 10 $(PY) -m tests.fuzz $(FUZZ)

picture: $(VENV)/installed
	$(PY) -I tools/picture.py

$(VENV)/installed: $(SOURCES) tools/setup.sh
	sh tools/setup.sh install

$(VENV)/test-tools: pyproject.toml tools/setup.sh
	sh tools/setup.sh test-tools

clean:
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz
