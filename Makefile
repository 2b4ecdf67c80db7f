# make demo   set up, build the demo's data, train, evaluate, and write the report
# make test   set up and run the tests; make slow runs the long ones
# make coverage  branch coverage of what writes, commits and reads shards (at least 95 %)
# make check  lint, format and types
# make reference  write docs/reference anew from the code
# make repro  rebuild whatever changed, for the build that params.yaml chooses
# make bench  run all benches in half an hour (BENCH=short: in ten minutes; BENCH=name: one of them;
#               MINUTES=30 stops between units; RUNS=folder trains again what docs/runs holds)
# make faults show that faults do no harm (FAULTS="R1 R3" some; SHORT=--short a tenth of the tries)
# make soak   two hours of builds, kills, reads and trainings: memory, files, descriptors flat?
# make mutants change the code that writes and reads shards: do its tests notice?
#               (MODULES="opendet/files.py" some; an hour, kept as it goes)
# make clean  remove what builds made (DVC's cache stays)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
READY := $(VENV)/.opendet-ready
RUN := PATH="$(abspath $(VENV))/bin:$$PATH"
FOLDER := datasets/$(shell sed -n 's/^build: *//p' params.yaml)

.PHONY: demo test check coverage reference repro slow bench faults soak mutants clean

# Nothing of these comes from a hub; a build of yours may.
demo test slow bench faults soak: export HF_HUB_OFFLINE := 1

demo: repro
	@$(RUN) dvc metrics show --json $(FOLDER)/metrics/filter.json $(FOLDER)/metrics/evaluate.json \
		| $(VENV)/bin/python -m json.tool --no-ensure-ascii
	@echo "the report: $(FOLDER)/report/report.html (all numbers: dvc metrics show)"

# DVC, killed as it writes its own lock file, leaves it empty and then refuses to begin.
repro: $(READY)
	@test -s .dvc/tmp/rwlock || rm -f .dvc/tmp/rwlock
	$(RUN) dvc repro

test: $(READY)
	$(RUN) pytest -n 2 --dist loadfile -m "not slow and not gpu"

slow: $(READY)
	$(RUN) pytest -m slow

bench: $(READY)
	$(RUN) python -m opendet.bench $(BENCH) $(if $(DEVICE),--device $(DEVICE)) \
		$(if $(MINUTES),--budget-minutes $(MINUTES)) $(if $(RUNS),--runs $(RUNS))

faults: $(READY)
	$(RUN) python -m opendet.faults $(FAULTS) $(SHORT)

soak: $(READY)
	$(RUN) python -m opendet.faults.soak $(if $(MINUTES),--minutes $(MINUTES))

mutants: $(READY)
	$(RUN) nice -n 19 python -m opendet.faults.mutants $(MODULES)

coverage: $(READY)
	$(RUN) pytest -m "not slow and not gpu" --cov --cov-report=term tests/test_*.py tests/curate tests/data

check: $(READY)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) python -m opendet.reference --check

reference: $(READY)
	$(RUN) python -m opendet.reference

clean:
	rm -rf .opendet .pytest_cache .mypy_cache .ruff_cache build dist
	git clean -fdXq datasets

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,logging,onnx,ray-train,s3,supervision,video]"
	touch $@
