# Every target sets up what it needs: a virtual environment with the pinned versions of
# constraints.txt. Needed before: Python 3.11 or newer, git and make.

PYTHON  ?= $(shell command -v python3.11 || command -v python3)
# Test processes, and more arguments for pytest: make test ARGS="tests/records -x"
WORKERS ?= 2
ARGS    ?=
# Where `make demo` writes, its first seed and how many.
DEMO    ?= demo
SEED    ?= 0
SEEDS   ?= 1
# Where `make browser` keeps the pictures it takes of reports, if anywhere.
SCREENSHOTS ?=
# How long `make fuzz` takes for each parser; how much `make bench-data` converts, how many times.
SECONDS ?= 60
ROWS    ?= 20000
ROUNDS  ?= 4

BIN   := .venv/bin
READY := .venv/.ready

# Arithmetic on more threads than cores is slower, and tests already run side by side.
test test-slow docs fuzz bench-data bench-prepare bench-sharing bench-densities bench-sprites bench-diagnose test-evaluators matrix bench-serve bench-choosing bench-studies bench-rounds bench-stopping bench-factors browser: export OMP_NUM_THREADS = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow fuzz bench-data bench-prepare bench-sharing bench
.PHONY: bench-quick lint types docs clean bench-densities bench-sprites bench-diagnose
.PHONY: test-evaluators matrix bench-serve bench-choosing bench-studies bench-rounds bench-stopping bench-factors browser

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY)  ## Make .venv with the pinned versions; instant when nothing changed

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "prefine needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,docs,dev]'
	@touch $@

demo: $(READY)  ## The whole way on a built-in world, about two minutes; then open demo/report.html
	$(BIN)/prefine demo --out $(DEMO) --seed $(SEED) --seeds $(SEEDS)

test: $(READY)  ## Everything that must hold, under fifteen minutes on two cores
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-slow: $(READY)  ## What takes longer: real data, fresh installations
	$(BIN)/python -m pytest -m "slow and not gpu and not network" --timeout 3600 $(ARGS)

browser: $(READY)  ## Reports and cards in headless Chromium, which it installs where it can; five minutes
	@sh tests/browser/install.sh
	PREFINE_SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest -m browser tests/browser $(ARGS)

matrix: $(READY)  ## The wheel in a fresh environment for each Python and set of versions; half an hour
	$(BIN)/python tests/matrix/run.py

test-evaluators: $(READY) .venv-eval/.ready  ## lm-evaluation-harness and inspect on an exported model
	PREFINE_EVAL_PYTHON=.venv-eval/bin/python $(BIN)/python -m pytest -m slow tests/leaving/test_evaluators.py

fuzz: $(READY)  ## Feed every parser changed inputs, guided by coverage; SECONDS for each
	$(BIN)/python -m pip install --quiet --requirement fuzz/requirements.txt
	$(BIN)/python fuzz/run.py --seconds $(SECONDS) --write docs/results/fuzz.json

bench-data: $(READY)  ## Rows a second and memory of converting, beside `datasets`; a quarter of an hour
	$(BIN)/python benchmarks/convert.py --rows $(ROWS) --rounds $(ROUNDS)

bench-prepare: $(READY) .venv-trl/.ready  ## Pairs a second, imports and the first step, beside TRL; twenty minutes
	$(BIN)/python benchmarks/prepare.py --rounds $(ROUNDS)

bench-sharing: $(READY)  ## When computing a prompt once pays; ten minutes
	$(BIN)/python benchmarks/sharing.py

bench-densities: $(READY)  ## Picture objectives on points in the plane, against the exact answer; fifteen minutes
	$(BIN)/python benchmarks/densities.py

bench-sprites: $(READY)  ## Picture objectives on sprites whose attributes are known; half an hour
	$(BIN)/python benchmarks/sprites.py

bench-diagnose: $(READY)  ## What `prefine diagnose` finds in runs made to be ill; a quarter of an hour
	$(BIN)/python benchmarks/diagnose.py

bench-choosing: $(READY)  ## How often compare-objectives names a winner, rightly and wrongly; half an hour
	$(BIN)/python benchmarks/choosing.py

bench-studies: $(READY)  ## Two whole studies of compare-objectives on the word world; forty minutes
	$(BIN)/python benchmarks/word_studies.py

bench-rounds: $(READY)  ## Rounds of sample, judge, train on the word world, and their controls; forty minutes
	$(BIN)/python benchmarks/rounds.py

bench-factors: $(READY)  ## Which factor of a recipe matters, on the word world; half an hour
	$(BIN)/python benchmarks/recipe_factors.py

bench-stopping: $(READY)  ## Whether `stop_early` stops when it should, on the word world; half an hour
	$(BIN)/python benchmarks/stopping.py

bench-serve: $(READY)  ## Rewards a second of the endpoint, and how long one waits; ten minutes
	$(BIN)/python benchmarks/serve.py

bench: $(READY) .venv-trl/.ready  ## Speed and memory beside TRL on the same steps; an hour on two cores
	$(BIN)/prefine bench --out out/bench.json

bench-quick: $(READY) .venv-trl/.ready  ## Four cases of it, five minutes; red where one is clearly slower
	$(BIN)/prefine bench --quick --baseline docs/results/bench.json

# TRL is timed in an environment of its own, with the same torch and transformers.
.venv-trl/.ready: constraints.txt
	$(PYTHON) -m venv .venv-trl
	.venv-trl/bin/python -m pip install --quiet --constraint constraints.txt torch transformers trl peft
	@touch $@

# Evaluators bring many libraries of their own, with pins of their own; of ours only torch stays.
.venv-eval/.ready: constraints.txt
	$(PYTHON) -m venv .venv-eval
	grep '^torch==' constraints.txt > .venv-eval/constraints.txt
	.venv-eval/bin/python -m pip install --quiet --constraint .venv-eval/constraints.txt torch accelerate peft "lm-eval[hf]" inspect-ai
	@touch $@

lint: $(READY)  ## Style, spelling and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/lint-imports

types: $(READY)  ## Pyright, strict where the mathematics and the records live
	$(BIN)/pyright

docs: $(READY)  ## Build docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -b html -W --keep-going docs docs/_build/html

clean:  ## Remove the environment and everything built
	rm -rf .venv .venv-trl .venv-eval build dist docs/_build docs/reference/generated
