# make demo | studio | test | lint | docs | pictures | package | bench | model | campaign | clean. Every target sets up what it
# needs in .venv.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

# The networks here are small: a second thread gains little, and costs tenfold on a busy machine.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: help demo studio test lint docs pictures package bench model campaign clean

help:
	@echo "make demo    a density, faces on request, a model trained from nothing, digits ($(DEMO)/index.html)"
	@echo "make studio  the same on a page in your browser: look, click, drop files on it"
	@echo "make test    run the tests"
	@echo "make lint    ruff, pyright, numpydoc on the public names, and spelling"
	@echo "make docs    build the site without network (docs/_site/index.html); make pictures redraws docs/gallery"
	@echo "make package build wheel and source distribution, and check them (dist/)"
	@echo "make bench   run every script in benchmarks/"
	@echo "make model   train, pack and judge the model in the package again: an hour and a half of a core"
	@echo "make campaign MINUTES=30   damage files, have every reader read them, and add to a table of how that ended"
	@echo "make clean   remove .venv and the tools' caches; runs/ stays"

demo: $(VENV)/.installed
	$(BIN)/gaussmix demo --output $(DEMO)

studio: $(VENV)/.installed
	$(BIN)/gaussmix studio

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/python .ci/docstrings.py
	$(BIN)/codespell

docs: $(VENV)/.installed-docs
	MPLBACKEND=agg $(BIN)/sphinx-build -W --keep-going -q -b html -d docs/_site/.doctrees docs docs/_site
	@rm -rf docs/_site/.doctrees docs/_site/.buildinfo
	@echo "docs/_site/index.html"

pictures: docs
	$(BIN)/python docs/site_pages.py

package: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python .ci/contents.py dist

bench: $(VENV)/.installed-dev
	@for script in $(sort $(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

model: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.built_in

MINUTES ?= 30
campaign: $(VENV)/.installed-dev
	$(BIN)/python tests/campaign/run.py --minutes $(MINUTES)

# constraints.txt pins torch: nothing newer, with gigabytes of CUDA libraries behind it, comes in.
$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || \
		{ echo "$(PYTHON) is not on the PATH. Install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gaussmix needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing gaussmix and torch into $(VENV): a minute or two"
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all]'
	$(BIN)/gaussmix warmup
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all,docs]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist docs/_site docs/generated
