# Needs python3 >= 3.10, make and git; the tests also need a C compiler and Python's headers,
# because they run uWSGI, which is built from source. Everything else goes into .venv.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.up-to-date
# What `make demo` needs: the project without the tools for its tests.
BASE   := $(VENV)/.up-to-date-base
# What `make docs` needs: that, and what builds the site.
SITE   := $(VENV)/.up-to-date-site
# More arguments for the command that a target runs: make test ARGS="-x -k reaper"
ARGS   ?=
# How many processes run tests side by side.
WORKERS ?= 4
# How many run the tests that have to be in time; none with WORKERS=0 or 1.
TWO := $(if $(filter 0 1,$(WORKERS)),0,2)

.DEFAULT_GOAL := help
.PHONY: help setup demo docs package pictures cast prometheus test test-docs test-kafka \
        test-oldest test-pythons lint format types bench bench-quick clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv and install the project and its tools into it

# A stamp is as new as pyproject.toml, or the installation is done again.
$(BASE): pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
	  { echo "$(PYTHON) was not found; name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed, $(PYTHON) is $$($(PYTHON) -V);" \
	         "name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot create a virtual environment;" \
	         "on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	$(PY) -m pip install --quiet --editable '.[cli]'
	@touch $@

$(SITE): $(BASE)
	$(PY) -m pip install --quiet --editable '.[cli]' --group docs
	@touch $@

$(STAMP): $(SITE)
	@$(PY) -c "$$NATIVE_BUILD"
	$(PY) -m pip install --quiet --editable '.[cli]' --group dev --group uwsgi
	@touch $@

define NATIVE_BUILD
import os, pathlib, shutil, sys, sysconfig
compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "gcc").split()[0]
header = pathlib.Path(sysconfig.get_path("include"), "Python.h")
lacking = [f"the C compiler {compiler}"] * (not shutil.which(compiler))
lacking += [f"Python's headers ({header})"] * (not header.exists())
if lacking:
    sys.exit("The tests run uWSGI, which is built from source, and " + " and ".join(lacking)
             + " was not found; on Debian and Ubuntu: apt-get install build-essential"
             + " python3-dev")
endef
export NATIVE_BUILD

demo: $(BASE) ## Watch idle producers disconnect and wake up, on an embedded cluster
	$(VENV)/bin/waterdrop demo $(ARGS)

# What is published, looked at as an index and as a user would: the files, the page, the
# types of the installed wheel, and the sdist, installed in an empty environment.
PACKAGE := .venv-package
package: ## Build the wheel and the sdist, and check both
	rm -rf build/dist $(PACKAGE)
	$(PYTHON) -m venv $(PACKAGE)
	$(PACKAGE)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(PACKAGE)/bin/python -m pip install --quiet --group package
	$(PACKAGE)/bin/python -m build --outdir build/dist .
	$(PACKAGE)/bin/python -m twine check --strict build/dist/*
	$(PACKAGE)/bin/check-wheel-contents build/dist/*.whl
	$(PACKAGE)/bin/python -m pip install --quiet build/dist/*.whl
	$(PACKAGE)/bin/python -m pip check
	cd build/dist && PATH="$(CURDIR)/$(PACKAGE)/bin:$$PATH" \
	  pyright --verifytypes waterdrop_py --ignoreexternal > ../types.txt; \
	  tail -n 5 ../types.txt; grep -q "score: 100%" ../types.txt || { cat ../types.txt; exit 1; }
	$(PYTHON) -m venv --clear $(PACKAGE)
	$(PACKAGE)/bin/python -m pip install --quiet build/dist/*.tar.gz
	$(PACKAGE)/bin/python -m pip check
	cd build/dist && "$(CURDIR)/$(PACKAGE)/bin/python" -c \
	  'import waterdrop_py; print("installed:", waterdrop_py.__version__)'

# A broken reference fails, and so does every other warning. Needs no network.
docs: $(SITE) ## Build the documentation into build/docs (needs Python 3.11 or newer)
	$(PY) -m sphinx -q -b html -n -W --keep-going -E -d build/doctrees docs build/docs
	@echo "built: build/docs/index.html"

# With ARGS=--measure, the runs behind two of the pictures are made again.
pictures: $(BASE) ## Draw the pictures of the documentation (ARGS=--measure)
	$(PY) -m docs.pictures $(ARGS)

# In an environment of its own: termtosvg needs an old setuptools.
CAST := .venv-cast
cast: ## Record the demo for the README, as an animation
	$(PYTHON) -m venv $(CAST)
	$(CAST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(CAST)/bin/python -m pip install --quiet --editable '.[cli]' --group cast
	$(CAST)/bin/python -m docs.pictures.cast

test-docs: $(STAMP) ## Run the examples of the README, the pages and the docstrings
	$(PY) -m pytest tests/docs -n $(TWO) $(ARGS)

# Debian's package, unpacked and not installed: that would start a service. Without it,
# the test of the board says that it has checked the names in its queries only.
PROMETHEUS := $(VENV)/prometheus
prometheus: $(STAMP) ## Fetch the Prometheus that reads the metrics in `make test`
	@command -v prometheus >/dev/null || [ -d $(PROMETHEUS) ] || \
	  ! command -v apt-get >/dev/null || { \
	    into=$(CURDIR)/$(PROMETHEUS); folder=$$(mktemp -d); cd $$folder; \
	    { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } \
	      >log 2>&1 && dpkg -x prometheus_*.deb $$into || \
	      echo "prometheus could not be fetched: $$(tail -n 1 log)"; rm -rf $$folder; }

# Side by side, because most tests wait; then those that measure time, two at a time, so
# that each has a core. ARGS may choose tests of one part only: exit code 5 says that the
# other part had none. A test that hangs ends its worker, and with that the run.
SIDE_BY_SIDE := -m pytest --dist worksteal --max-worker-restart=0
# $(call test_with,python,processes,paths and options)
define test_with
@$(1) $(SIDE_BY_SIDE) -n $(2) -m 'not timed' $(3); first=$$?; \
case $$first in 0|5) ;; *) exit $$first;; esac; \
$(1) $(SIDE_BY_SIDE) -n $(TWO) -m timed $(3); timed=$$?; \
[ $$timed -eq 5 ] && exit $$first; exit $$timed
endef

# The tests start hundreds of interpreters, which read each other's bytecode.
test: export PYTHONDONTWRITEBYTECODE =
test: $(STAMP) prometheus ## Run every test that needs no broker (ARGS="-x -k reaper", WORKERS=4)
	$(call test_with,$(PY),$(WORKERS),$(ARGS))

test-kafka: $(STAMP) ## Start a real Apache Kafka (needs Java 17 and Maven) and test on it
	$(PY) -m pytest tests/kafka $(ARGS)

# The oldest confluent-kafka that pyproject.toml allows.
OLDEST := .venv-oldest
test-oldest: ## Run the tests with the oldest confluent-kafka that is supported
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(OLDEST)/bin/python -m pip install --quiet --editable '.[cli]' --group dev \
	  'confluent-kafka==2.13.0'
	$(call test_with,$(OLDEST)/bin/python,$(TWO),tests/unit tests/concurrency $(ARGS))

# Every interpreter that pyenv has, or name them: make test-pythons PYTHONS="a b".
PYTHONS ?= $(wildcard $(HOME)/.pyenv/versions/3.1[0-9].*/bin/python3)
test-pythons: ## Run the tests that depend on the interpreter on each one there is
	@for python in $(PYTHONS); do \
	  venv=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "== $$venv"; \
	  $$python -m venv $$venv && \
	  $$venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1' && \
	  $$venv/bin/python -m pip install --quiet --editable '.[cli]' --group dev && \
	  $$venv/bin/python -m pytest tests/unit tests/concurrency \
	    tests/scenarios/test_exit.py tests/scenarios/test_fork.py \
	    tests/scenarios/test_gevent.py tests/scenarios/test_aio.py tests/scenarios/test_aio_pools.py \
	    tests/scenarios/test_reentrance.py $(ARGS) || exit 1; \
	done

lint: $(STAMP) ## Check style, which room imports which, and the length of files
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(VENV)/bin/lint-imports --no-logo
	@git ls-files 'waterdrop_py/*.py' | xargs wc -l | awk '$$2 != "total" && $$1 > 350 \
	  { print $$2 ": " $$1 " lines; at most 350 are allowed"; long = 1 } END { exit long }'

format: $(STAMP) ## Mend what the linter can mend by itself
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

types: $(STAMP) ## Check the types
	$(PY) -m mypy

# A whole run here, then what depends on the interpreter on every other one there is
# (make bench PYTHONS= leaves those out; ARGS=--kafka adds a real Kafka to the first).
BENCH := build/bench
bench: $(STAMP) ## Measure beside bare confluent_kafka and others; writes docs/project/benchmarks.md
	@rm -rf $(BENCH)
	$(PY) -m pip install --quiet --editable '.[cli]' --group bench
	$(PY) -m benchmarks --output $(BENCH)/0.json $(ARGS)
	@here=$$($(PY) -c 'import sys; print(sys.version_info[:2])'); \
	for python in $(PYTHONS); do \
	  name=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  [ "$$($$python -c 'import sys; print(sys.version_info[:2])')" = "$$here" ] \
	    && continue; \
	  echo "== Python $$name"; venv=.venv-$$name; \
	  $$python -m venv $$venv && \
	  $$venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1' && \
	  $$venv/bin/python -m pip install --quiet --editable '.[cli]' --group bench && \
	  $$venv/bin/python -m benchmarks --quick --matrix \
	    --output $(BENCH)/$$name.json || exit 1; \
	done
	$(PY) -m benchmarks.page --command 'make bench$(if $(ARGS), ARGS="$(ARGS)")' \
	  $(BENCH)/*.json

bench-quick: $(STAMP) ## The same in about two minutes, with less certain figures
	$(PY) -m pip install --quiet --editable '.[cli]' --group bench
	$(PY) -m benchmarks --quick $(ARGS)

clean: ## Remove .venv and every cache
	rm -rf $(VENV) .venv-* .import_linter_cache .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
