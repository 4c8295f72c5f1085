# make reproduce, make test: nothing but Python 3.11 or newer, pip and make is needed; the rest is installed in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help reproduce smoke small test lab outputs readme site install install-vllm install-ray install-small install-site install-browser clean

help:
	@echo "make reproduce      every notebook at profile mini, tables and figures to figures/mini/"
	@echo "make smoke          the same at profile smoke, in minutes"
	@echo "make small          the same at profile small: natural English, a real model of 135 M parameters"
	@echo "make test           the notebooks' own checks, and tests/"
	@echo "make lab            JupyterLab on the first page"
	@echo "make outputs        the text outputs of a mini run, kept in nbs/"
	@echo "make readme         README.md from nbs/index.ipynb"
	@echo "make site           the pages as a site with search and reference, in _docs/html"
	@echo "make install-vllm   add vLLM (optional); likewise install-ray, install-small, install-browser"
	@echo "make clean          remove what tests and builds leave behind; .venv and runs/ stay"

reproduce: install
	$(BIN)/aquilt reproduce --profile mini

smoke: install
	$(BIN)/aquilt reproduce --profile smoke

small: install-small
	$(BIN)/aquilt reproduce --profile small

# two files of tests/ run side by side, the longest first (tests/conftest.py): the smoke run, with every notebook's checks
test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lab: install
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/nbs/index.ipynb

# the text outputs of an executed mini run, put into nbs/: what a page shows is evidence, as far as mini is
outputs: reproduce
	$(BIN)/python tools/keep_outputs.py

readme: install
	$(BIN)/python tools/make_readme.py

site: install-site
	$(BIN)/python tools/make_site.py

install: $(STAMP)

$(STAMP): settings.ini setup.py constraints.txt tools/install.sh
	PYTHON="$(PYTHON)" sh tools/install.sh $(VENV)
	touch $@

install-vllm install-ray install-small install-site install-browser: install-%: install
	sh tools/install.sh $(VENV) $*

clean:
	rm -rf build dist _proc _docs .pytest_cache .hypothesis
	find . -path ./$(VENV) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print0 | xargs -0 rm -rf
