# The newcomer's door. `make help` lists what there is.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Fuse a synthetic recording over real ROS 2; or your own: BAG=<bag> RGB=<topic> THERMAL=<topic>
	@$(PYTHON) tools/bootstrap.py $(VENV) demo
	@$(RUN) -m fusion_ros.cli demo $(if $(BAG),--bag "$(BAG)") $(if $(RGB),--rgb "$(RGB)") \
		$(if $(THERMAL),--thermal "$(THERMAL)") $(if $(OUT),--out "$(OUT)") $(ARGS)

test: ## The whole test suite, in JOBS=2 processes
	@$(PYTHON) tools/bootstrap.py $(VENV) test
	@$(RUN) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: ## Style and import checks
	@$(PYTHON) tools/bootstrap.py $(VENV) test
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

bench: ## Methods in each engine, metrics, alignment, tracking, steps of training, each against a plain writing; loading
	@$(PYTHON) tools/bootstrap.py $(VENV) test
	@$(RUN) -m fusion_ros.cli bench $(ARGS)
	@$(RUN) -m tools.metrics_bench
	@$(RUN) -m tools.alignment_bench
	@$(RUN) -m tools.tracking_bench
	@$(RUN) -m tools.training_bench

docs: ## Write docs/parameters.md, the table of metrics, and the settings of training, from the code
	@$(PYTHON) tools/bootstrap.py $(VENV) demo
	@$(RUN) -m tools.parameter_docs
	@$(RUN) -m tools.metric_docs
	@$(RUN) -m tools.training_docs

clean: ## Remove the environment and everything that was generated
	rm -rf $(VENV) build install log out .pytest_cache .ruff_cache
