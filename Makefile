# Every target sets up what it needs. To use an environment of your own, which has Detectron2 (compiled or
# not) and the packages of setup.cfg: make PY=/path/to/python <target>
ifeq ($(origin PY), undefined)
PY := .venv/bin/python
READY := .venv/.ready
endif
PYTHON ?= python3

CONFIG ?= projects/MHKD/configs/KidneyROI/mhkd_R18_FPN_cpu.yaml
STAGE ?= -1
OUTPUT_DIR ?= output/$(basename $(notdir $(CONFIG)))
OPTS ?=
ARGS ?=
GPUS ?= 1
STEPS ?= recommended
SOAK ?= sample
TABLE ?= I
DATASET ?= kidney_roi
SIZE ?= cpu
SEEDS ?= 0
FACTORS ?= 2,4,8,16
FOLDS ?=
FOLD ?=
OUT ?= $(OUTPUT_DIR)/slides
MHKD = $(PY) -m mhkd
RUN = --config-file $(CONFIG) --num-gpus $(GPUS)
# Each word as it is, so that OPTS="SOLVER.STEPS (10,20)" gets past the shell.
quoted = $(foreach word,$(1),'$(subst ','\'',$(word))')

.DEFAULT_GOAL := help
.PHONY: help setup demo train eval overlay curves table detect view test coverage laboratory architecture lock licences soak lint bench clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  Variables: CONFIG=<yaml> OUTPUT_DIR=<folder> STAGE=<step, 0 = teacher> GPUS=<processes>'
	@echo '             OPTS="KEY VALUE ..." (config overrides) ARGS="--flag" (of the command behind a target)'

setup: $(READY) ## create .venv with everything pinned (about 4 minutes, 6 GB)

# Every file that is fetched has one of the hashes in the lock. Detectron2 stays as it is where there is one already.
.venv/.ready: setup.cfg requirements/lock-build.txt requirements/lock.txt requirements/detectron2.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --require-hashes -r requirements/lock-build.txt
	.venv/bin/python -m pip install -q --require-hashes --no-deps --no-build-isolation -r requirements/lock.txt
	.venv/bin/python -c "import mhkd.compat, detectron2" 2>/dev/null || \
	  .venv/bin/python -m pip install -q --use-pep517 --no-build-isolation --no-deps -r requirements/detectron2.txt
	.venv/bin/python -m pip install -q --no-build-isolation --no-deps -e .
	touch $@

demo: $(READY) ## slides, teacher, taught student, LR-only student, table and pictures, small, on a CPU (STEPS=paper)
	$(MHKD) demo --steps $(STEPS) $(ARGS)

train: $(READY) ## train up to STAGE, teacher included; finished steps are skipped, an interrupted one resumes
	$(MHKD) train $(RUN) --resume $(ARGS) OUTPUT_DIR $(OUTPUT_DIR) MHKD.STAGE $(STAGE) $(call quoted,$(OPTS))

eval: $(READY) ## score the trained student on LR (OPTS="MHKD.EVAL teacher" or "MHKD.EVAL direct": the teacher)
	$(MHKD) eval $(RUN) $(ARGS) OUTPUT_DIR $(OUTPUT_DIR) $(call quoted,$(OPTS))

overlay: $(READY) ## pictures of what the student finds: false positives red, false negatives yellow
	$(MHKD) overlay --student $(OUTPUT_DIR)/student --dataset-of $(CONFIG) --out $(OUTPUT_DIR)/overlays $(ARGS)

curves: $(READY) ## losses and scores over the iterations as OUTPUT_DIR/curves.png
	$(MHKD) curves $(OUTPUT_DIR) $(ARGS)

# TABLE=resolution, resizing and attention are classification's: FACTORS=2,4,8,16. FOLD=1: one of FOLDS alone.
table: $(READY) ## the paper's TABLE (I to VI, all) on DATASET: SIZE=cpu|full SEEDS=0,1 FOLDS=5 ARGS=--dry-run
	$(MHKD) table $(TABLE) --dataset $(DATASET) --size $(SIZE) --seeds $(SEEDS) --factors $(FACTORS) \
	  $(if $(FOLDS),--folds $(FOLDS)) $(if $(FOLD),--fold $(FOLD)) --num-gpus $(GPUS) --opts "$(OPTS)" $(ARGS)

# --student-mpp and --slide-mpp, where student or slides do not record them, go into ARGS.
detect: $(READY) ## find glomeruli on SLIDE=<files, folders> with the student in OUTPUT_DIR; results in OUT
	$(MHKD) detect $(SLIDE) --student $(OUTPUT_DIR)/student --out $(OUT) $(ARGS)

view: $(READY) ## look at the results in OUT in a browser
	$(MHKD) view $(OUT) $(ARGS)

test: $(READY) ## run the tests, on up to four processors
	$(PY) -m pytest -q -n auto --maxprocesses 4 --dist loadfile $(ARGS)

coverage: $(READY) ## run the tests and print which lines none of them reaches (twice the time)
	$(PY) -m pytest -q --cov --cov-report=term-missing:skip-covered $(ARGS)

laboratory: ## install a wheel with [detect] in a fresh environment, measure it and run it on a slide
	$(PYTHON) .ci/laboratory.py $(ARGS)

architecture: $(READY) ## draw docs/architecture.svg from the imports
	$(PY) docs/architecture.py

# Versions stay as they are unless a pin asks for another: ARGS=--upgrade takes the newest. For Python from 3.11 on.
LOCK = $(PY) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command "make lock" $(ARGS)
lock: $(READY) ## write requirements/lock*.txt, every version and hash, from the pins beside them
	$(PY) -m pip install -q uv==0.13.9
	$(LOCK) requirements/build.txt -o requirements/lock-build.txt
	$(LOCK) requirements/detect.txt -o requirements/lock-detect.txt
	$(LOCK) requirements/base.txt requirements/test.txt -o requirements/lock.txt

licences: $(READY) ## write docs/licences.md, the licence of each package of the lock
	$(PY) docs/licences.py

soak: $(READY) ## try RELIABILITY.md's promises over many cases, half an hour (SOAK=full: all, resumable)
	$(PY) tests/soak $(if $(filter full,$(SOAK)),--full) $(ARGS)

lint: $(READY) ## check style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(READY) ## every benchmark, as benchmarks/README.md with a picture (after make demo; half an hour)
	$(PY) -m pip install -q --no-deps -r requirements/benchmark.txt
	$(PY) benchmarks/report.py $(ARGS)

clean: ## remove what the demo and the tests leave; never a training
	rm -rf output/demo .coverage .pytest_cache .ruff_cache .hypothesis
