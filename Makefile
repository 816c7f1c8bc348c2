# Every target installs what it needs: `make demo` works on a fresh clone.
#   make PYTHON=python3.12 VENV=/elsewhere test    another interpreter, another folder
# On a GPU machine, `make CONSTRAINTS= demo` installs the newest versions that fit pyproject.toml.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
SCATTER_VENV ?= .venv-scatter
WHEELS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/graphseq/wheels

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SCATTER_INSTALLED := $(SCATTER_VENV)/.installed
PIP_FLAGS := --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))

PRINT_PACKAGES := import sysconfig; print(sysconfig.get_path("purelib"))
PRINT_BUILD := import sys, torch; print(f"torch{torch.__version__}-{sys.implementation.cache_tag}")

.PHONY: demo test lint bench scatter-test install
.DELETE_ON_ERROR:

# The main jobs on handwritten digits: what is on a picture, and which pictures look alike. No
# network, about a minute.
demo: $(INSTALLED)
	$(BIN)/graphseq train dagnn_digits gcn_digits mlp_digits \
	  ncnc_digits gae_digits cn_digits aa_digits ra_digits
	@echo "(graphseq is $(BIN)/graphseq, or activate the environment: source $(BIN)/activate)"

# The whole suite; with GRAPHSEQ_DATA set, the tests on real data too.
test: $(INSTALLED)
	$(BIN)/python -m pytest -q

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/graphseq bench

# Our reductions against torch-scatter, in a second environment that has it.
scatter-test: $(SCATTER_INSTALLED)
	GRAPHSEQ_REQUIRE_SCATTER=1 $(SCATTER_VENV)/bin/python -m pytest -q tests/graph/ops -k torch_scatter

install: $(INSTALLED)

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	touch $@

# torch-scatter comes as source that needs torch to build (about six minutes on two cores), so it
# is built without build isolation, once for each torch and Python, and kept outside the tree. The
# environment that it goes into borrows every other package, this one included, from $(VENV).
$(SCATTER_INSTALLED): $(INSTALLED)
	$(PYTHON) -m venv --without-pip --clear $(SCATTER_VENV)
	packages=$$($(BIN)/python -c '$(PRINT_PACKAGES)'); \
	own=$$($(SCATTER_VENV)/bin/python -c '$(PRINT_PACKAGES)'); \
	echo "import site; site.addsitedir('$$packages')" > "$$own/borrowed.pth"
	wheels="$(WHEELS)/$$($(BIN)/python -c '$(PRINT_BUILD)')"; \
	if ! ls "$$wheels"/torch_scatter-*.whl > /dev/null 2>&1; then \
	  echo "building torch-scatter, about six minutes; kept in $$wheels"; \
	  $(BIN)/python -m pip wheel $(PIP_FLAGS) --no-deps --no-build-isolation \
	    --wheel-dir "$$wheels/unfinished" torch-scatter && \
	  mv "$$wheels"/unfinished/torch_scatter-*.whl "$$wheels/"; \
	fi && \
	$(BIN)/python -m pip --python $(SCATTER_VENV)/bin/python install $(PIP_FLAGS) \
	  --no-deps --no-index --find-links "$$wheels" torch-scatter
	touch $@
