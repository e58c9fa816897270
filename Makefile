# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
# Everything here works in a fresh clone; what is made once is kept in .venv and .ros.
# In a ROS 2 workspace an ordinary `colcon build` needs none of this.

PYTHON ?= python3
JOBS ?= 4
# Of which PyPI has wheels: kilted or jazzy. Where ROS 2 is installed and sourced, that is used.
ROS ?= kilted
SUFFIX := $(if $(filter kilted,$(ROS)),,-$(ROS))
# The folders are passed on to tools/run.
export VENV := $(abspath $(or $(VENV),.venv$(SUFFIX)))
export WORKSPACE := $(abspath $(or $(WORKSPACE),.ros$(SUFFIX)))
# Compiled tests are kept: else every process of `make test` would compile them all for itself.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help prepare demo test test-quick test-rclpy fuzz soak audit lint generate docs bench bench-gpu clean

help:
	@echo 'make demo    sample photos through the ROS 2 node; the results are in demo_output/'
	@echo 'make test    all tests; TESTS=test/library for some of them'
	@echo 'make test-quick  the tests that need neither a full-size network nor a node'
	@echo 'make test-rclpy RCLPY_RELEASE=...'
	@echo '             the ROS tests with newer releases of rclpy; without the folder it says which'
	@echo 'make fuzz COUNT=100000 MINUTES=60'
	@echo '             COUNT messages and a fifth as many files, damaged in all ways; each for MINUTES at most'
	@echo 'make soak HOURS=0.2'
	@echo '             the node under the load of a fast camera, with bounds and plots; SOAK=--help for more'
	@echo 'make audit   bandit and pip-audit; the latter needs the network'
	@echo 'make lint    ruff, mypy, the linters of colcon test, no private attributes of other packages'
	@echo 'make generate    what follows from the settings: config/seg.yaml, tables, types'
	@echo 'make docs    the documentation as a site with the API reference, in site/'
	@echo 'make bench   the library and the node beside the naive script; BENCH="--repeats 3" for less'
	@echo 'make bench-gpu   onnxruntime on a GPU beside the processor, in less than 8 minutes; PYTHON has onnxruntime-gpu'
	@echo 'make clean   remove all that was made here'
	@echo 'PYTHON=python3.12 chooses the interpreter, ROS=jazzy the distribution in place of kilted.'

prepare:
	@$(PYTHON) tools/prepare.py --ros $(ROS) --venv $(VENV) --workspace $(WORKSPACE)

demo: prepare
	@tools/run python demo/run_demo.py --output demo_output

# Four processes at a time, also on two cores: tests of nodes wait for them half of the time. Each takes
# whole files, so that a node or a network of a file is started once, and has a ROS domain of its own.
# JOBS=0 runs all in one process. The order of files is that of test/conftest.py.
DISTRIBUTED := --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
test: prepare
	@tools/run pytest $(DISTRIBUTED) $(TESTS)

# What needs neither a full-size network nor a node: less than a minute.
test-quick: prepare
	@tools/run pytest $(DISTRIBUTED) -m 'not slow' $(TESTS)

test-rclpy: prepare
	@tools/run python tools/rclpy_releases.py --repository "$(RCLPY_RELEASE)" $(RELEASES)

COUNT ?= 100000
MINUTES ?= 600
fuzz: prepare
	@tools/run python test/helpers/fuzz.py --messages $(COUNT) --files $$(($(COUNT) / 5)) --minutes $(MINUTES) $(FUZZ)

lint:
	@$(PYTHON) tools/prepare.py --ros $(ROS) --venv $(VENV)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/python tools/ament_lint.py
	@$(VENV)/bin/mypy
	@$(VENV)/bin/python tools/private_attributes.py instance_seg_ros

generate:
	@$(PYTHON) tools/generate.py

# Docstrings are read, not imported: neither ROS nor OpenCV is needed. Not --quiet: mkdocs counts only the
# warnings that it shows.
docs:
	@test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/pip install --quiet -r docs/requirements.txt
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo 'site/index.html'

bench: prepare
	@$(VENV)/bin/pip install --quiet -r benchmarks/requirements.txt
	@tools/run python benchmarks/run.py $(BENCH)

# Beyond ruff's rules of bandit in `make lint`; the advisories come from the network.
AUDITED := instance_seg_ros launch scripts demo examples
audit:
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/pip install --quiet -r tools/audit-requirements.txt
	@.venv-audit/bin/bandit --quiet --configfile pyproject.toml --recursive $(AUDITED)
	@grep -v '^ros-' tools/requirements-$(ROS).txt > .venv-audit/audited.txt
	@.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r .venv-audit/audited.txt

HOURS ?= 0.17
soak: prepare
	@$(VENV)/bin/pip install --quiet -r benchmarks/requirements.txt
	@tools/run python benchmarks/soak.py --hours $(HOURS) $(SOAK)

# The environment is yours: onnxruntime-gpu needs the CUDA of the machine.
bench-gpu:
	@cd benchmarks && PYTHONPATH=.. $(PYTHON) gpu.py $(BENCH)

clean:
	rm -rf $(VENV) $(WORKSPACE) .venv-* .ros-* demo_output benchmark_output soak_output site .mypy_cache .pytest_cache .ruff_cache
