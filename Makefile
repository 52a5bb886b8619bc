# Two commands do everything on a fresh machine:  make demo  and  make test
PYTHON ?= python3
# The pinned torch is the CPU build; CONSTRAINTS=/dev/null lets pip choose (for a GPU).
CONSTRAINTS ?= constraints.txt
# With a given environment (VENV=…) nothing is installed that is there already.
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)
DEMO ?= demo

.PHONY: demo test test-slow check mutants stress clean

demo: $(VENV)/.installed
	$(BIN)/python train_multiple.py --experiment_name repeat_copy --output_dir $(DEMO) --seq_length 8 --num_models 16 --stop_accuracy 0.96
	$(BIN)/python evaluate_multiple.py --models_dir $(DEMO)/repeat_copy
	$(BIN)/python train_multiple.py --experiment_name orthogonal --output_dir $(DEMO) --seq_length 8 --num_models 6 --stop_accuracy 0.96 --init orthogonal
	$(BIN)/python evaluate_multiple.py --models_dir $(DEMO)/orthogonal --no_figures
	$(BIN)/python analyze.py eigenvalue --summary_file $(DEMO)/repeat_copy/evaluation_summary.json
	$(BIN)/python analyze.py embedding --summary_file $(DEMO)/repeat_copy/evaluation_summary.json
	$(BIN)/python analyze.py persistence --summary_file $(DEMO)/repeat_copy/evaluation_summary.json
	$(BIN)/python analyze.py compare --summary_files $(DEMO)/repeat_copy/evaluation_summary.json $(DEMO)/orthogonal/evaluation_summary.json --labels "default init" "orthogonal init" --output_dir $(DEMO)/comparison_analysis
	$(BIN)/python analyze.py report --summary_file $(DEMO)/repeat_copy/evaluation_summary.json
	@echo
	@echo "Demo done: 16 + 6 networks trained, evaluated and analysed. Figures (PNG, PDF) and tables (CSV, JSON) are in"
	@echo "  $(DEMO)/repeat_copy/report.html  (one page of it all)"
	@ls -d $(DEMO)/comparison_analysis $(DEMO)/repeat_copy/*_analysis $(DEMO)/repeat_copy/model-1/results | sed 's/^/  /'

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Rerun to resume: results are in mutants.json.
mutants: $(VENV)/.installed-dev
	$(BIN)/python -m experiments.mutants --count 60 --seed 0

# Within three hours; make stress STRESS="--kills 20 --seconds 600" is a shorter form.
stress: $(VENV)/.installed-dev
	$(BIN)/python -m experiments.stress $(STRESS)

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once; a minute or two)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import sys; sys.exit(sys.version_info < (3, 11) and 'expected Python 3.11 or newer; got ' + sys.version.split()[0])"
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e ".[test,dev,cluster]"
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
