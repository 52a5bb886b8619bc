# Two commands do everything on a fresh machine:  make demo  and  make test
PYTHON ?= python3
# The pinned torch is the CPU build; CONSTRAINTS=/dev/null lets pip choose (for a GPU).
CONSTRAINTS ?= constraints.txt
# With a given environment (VENV=…) nothing is installed that is there already.
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)
DEMO ?= demo
DEMO_PARTS := repeat_copy orthogonal fast_weights agents own_gru

.PHONY: demo test test-slow check docs mutants stress clean

RUN := $(BIN)/python
SUMMARY := evaluation_summary.json

# Five populations, each with the analyses that fit it, and a page about all of them.
demo: $(VENV)/.installed
	$(RUN) train_multiple.py --experiment_name repeat_copy --output_dir $(DEMO) --seq_length 8 --num_models 5 --stop_accuracy 0.96
	$(RUN) evaluate_multiple.py --models_dir $(DEMO)/repeat_copy
	$(RUN) train_multiple.py --experiment_name orthogonal --output_dir $(DEMO) --seq_length 8 --num_models 3 --stop_accuracy 0.96 --init orthogonal
	$(RUN) evaluate_multiple.py --models_dir $(DEMO)/orthogonal --no_figures
	$(RUN) analyze.py eigenvalue --summary_file $(DEMO)/repeat_copy/$(SUMMARY)
	$(RUN) analyze.py embedding --summary_file $(DEMO)/repeat_copy/$(SUMMARY)
	$(RUN) analyze.py persistence --summary_file $(DEMO)/repeat_copy/$(SUMMARY)
	$(RUN) analyze.py eigenvalue --summary_file $(DEMO)/orthogonal/$(SUMMARY)
	$(RUN) analyze.py compare --summary_files $(DEMO)/repeat_copy/$(SUMMARY) $(DEMO)/orthogonal/$(SUMMARY) --output_dir $(DEMO)/comparison_analysis
	$(RUN) train_multiple.py --experiment_name fast_weights --output_dir $(DEMO) --task associative_retrieval --model_type fw --num_models 4 --embedding_dim 50 --stop_accuracy 0.95
	$(RUN) evaluate_multiple.py --models_dir $(DEMO)/fast_weights --no_figures
	$(RUN) analyze.py match --summary_file $(DEMO)/fast_weights/$(SUMMARY)
	$(RUN) -m experiments.contextual_choice.train --num_models 4 --out $(DEMO)/agents
	$(RUN) evaluate_multiple.py --models_dir $(DEMO)/agents --no_figures --trace_sequences 8
	$(RUN) analyze.py match --summary_file $(DEMO)/agents/$(SUMMARY)
	$(RUN) -m experiments.own_models.latches --out $(DEMO)/own_gru
	$(RUN) analyze.py dynamics --summary_file $(DEMO)/own_gru
	for one in $(DEMO_PARTS); do $(RUN) analyze.py report --summary_file $(DEMO)/$$one || exit 1; done
	$(RUN) analyze.py report --summary_files $(DEMO_PARTS:%=$(DEMO)/%) --output_dir $(DEMO)
	@echo
	@echo "Demo done: five populations trained, evaluated and analysed. Figures (PNG, PDF) and tables (CSV, JSON) are in"
	@echo "  $(DEMO)/overview.html  (one page of it all, which leads to the others)"
	@ls -d $(DEMO)/comparison_analysis $(DEMO)/*/*_analysis $(DEMO)/repeat_copy/model-1/results | sed 's/^/  /'

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site is in build/docs; a warning is a failure. Figures of its gallery, in build/gallery, are drawn once for each code.
docs: $(VENV)/.installed-docs
	$(RUN) -m experiments.gallery
	$(BIN)/python -m sphinx -q -W -c docs -b html . build/docs
	@echo "Documentation: build/docs/index.html"

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

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
