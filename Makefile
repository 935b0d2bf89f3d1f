# make demo    trains three real models through the API, moves one of them by a flag, tunes one, and says what it cost
# make test    everything a change must pass; make test-all adds what is slow
# make parity  puts every backend under the instrument, and writes docs/reference/parity.md; BACKENDS=a,b and WORKERS narrow it
# make playground  starts a test cluster and a test service to try kubernetes and sagemaker with
# make images  builds the base images with docker, podman or buildah; IMAGES="lyftlearn-dl" names others
# make dist    builds a release, twice, and compares; make lowest and make newest try it with other versions of what it needs
# make airflow starts a real Airflow with the DAGs of examples/airflow; make test-airflow kills its processes, one by one
# make docs    builds the documentation's site in build/docs
# make bench   measures, side by side with others, and writes benchmarks/results/
PYTHON ?= python3
BIN := .venv/bin
# Most tests wait for jobs.
WORKERS ?= 8
# Thousands of short processes import the checkout; without byte code each would compile it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: airflow browser dist images lowest newest not-tested parity parity-again release-check playground test test-again test-airflow test-all test-cluster test-sagemaker test-sdk test-spark tools lint types contracts api wheel docs docs-api requirements demo bench clean

test: not-tested browser .venv/ready lint types contracts api
	@.ci/tests-ended $(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"
	$(MAKE) --no-print-directory wheel

test-all: not-tested browser .venv/ready lint types contracts api
	$(BIN)/python -m pytest -q -n $(WORKERS)
	$(MAKE) --no-print-directory wheel

# What failed in the last `make test`, alone. Only tests that ran to their end can be made up for; where they did not, the
# checks before them say why.
test-again: .venv/ready
	@[ -e .venv/tests-ended ] || $(MAKE) --no-print-directory lint types contracts api
	@.ci/again $(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none -m "not slow"
	$(MAKE) --no-print-directory wheel

not-tested:
	@rm -f .venv/tests-ended

# What Python cannot install. Where this user may not either, it is done without.
tools:
	@.ci/tools $(PYTHON) bwrap

browser: tools
	@.ci/tools $(PYTHON) chromium runc podman zsh tcsh pg_ctlcluster

.venv/ready: requirements/test.txt pyproject.toml | tools
	$(PYTHON) -m venv .venv
	@.ci/quietly "pip install requirements/test.txt" .ci/install .venv -r requirements/test.txt
	@.ci/quietly "pip install lyftlearn" .ci/install .venv --no-build-isolation --no-deps --editable .
	touch $@

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python --warnings

contracts: .venv/ready
	$(BIN)/lint-imports

api: .venv/ready
	$(BIN)/python docs/api/generate.py --check

docs-api: .venv/ready
	$(BIN)/python docs/api/generate.py

# Every page, link and docstring; a warning is an error.
docs: .docs/ready
	.docs/bin/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going docs build/docs
	@echo "open build/docs/index.html"

.docs/ready: requirements/docs.txt pyproject.toml | tools
	$(PYTHON) -m venv .docs
	@.ci/quietly "pip install requirements/docs.txt" .ci/install .docs -r requirements/docs.txt
	@.ci/quietly "pip install lyftlearn" .ci/install .docs --no-deps --editable .
	touch $@

# The wheel, as a stranger gets it: built, installed alone into an empty environment, and used.
wheel: .venv/ready
	rm -rf dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist . > /dev/null
	$(BIN)/python tests/wheel/try_wheel.py dist/*.whl

# What a release consists of: wheel and source distribution, the same bytes from every checkout, and an SBOM.
dist: .dist/ready
	.dist/bin/python tests/wheel/make_dist.py

.dist/ready: requirements/dist.txt | tools
	$(PYTHON) -m venv .dist
	@.ci/quietly "pip install requirements/dist.txt" .dist/bin/python -m pip install --disable-pip-version-check -r requirements/dist.txt
	touch $@

# The wheel with the oldest versions of what it needs that are allowed, and with the newest there are.
lowest newest: .dist/ready
	.dist/bin/python tests/wheel/try_versions.py $@

# The base images, from the wheel of this checkout, by docker, podman or buildah: images/build says what can be set.
images: .venv/ready
	rm -rf dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist . > /dev/null
	images/build $(IMAGES)

# With LYFTLEARN_TEST_CONFIG, on real platforms: docs/reference/parity.md.
parity: browser .venv/ready
	LYFTLEARN_TEST_BACKENDS=$(BACKENDS) $(BIN)/python -m tests.parity.matrix --workers $(WORKERS)

# What failed in the last `make parity`, one after the other, without the rest beside it.
parity-again: browser .venv/ready
	$(BIN)/python -m tests.parity.matrix --again

# What a release needs beside `make test`: docs/reference/parity.md speaks of this very code. A branch need not run it.
release-check: .venv/ready
	$(BIN)/python -m tests.parity.matrix --check

playground: tools .venv/ready
	$(BIN)/python -m tests.doubles.playground

demo: tools .demo/ready
	.demo/bin/python examples/eta/submit.py --results .demo/results
	.demo/bin/python examples/eta/flip.py --results .demo/results
	.demo/bin/python examples/eta/search.py
	.demo/bin/lyftlearn cost --config examples/eta/cost.toml --by model --since 1h
	@echo "to look at these jobs in a browser: .demo/bin/pip install '.[dashboard]' && .demo/bin/lyftlearn dashboard"

.demo/ready: requirements/demo.txt pyproject.toml | tools
	$(PYTHON) -m venv .demo
	@.ci/quietly "pip install requirements/demo.txt" .ci/install .demo -r requirements/demo.txt
	@.ci/quietly "pip install lyftlearn" .ci/install .demo --no-deps --editable .
	touch $@

# Not editable: what is measured is what a user has. PARTS="kubernetes runtime" narrows it; the doubles are the tests'.
bench: .bench/ready .bench-toolkit/ready .bench-aws/ready .venv/ready
	@.ci/tools $(PYTHON) valgrind pg_ctlcluster
	@.ci/quietly "pip install lyftlearn" .ci/install .bench --no-deps --force-reinstall .
	.bench/bin/python -m benchmarks.every $(if $(PARTS),--only $(PARTS))

# The toolkit of SageMaker's own images, which a container's start is measured beside; it wants older libraries than others.
.bench-toolkit/ready: | tools
	$(PYTHON) -m venv .bench-toolkit
	@.ci/quietly "pip install sagemaker-training" .ci/install .bench-toolkit sagemaker-training==5.1.4
	touch $@

# Amazon's command line, which transfers are measured beside; it wants a botocore of its own.
.bench-aws/ready: | tools
	$(PYTHON) -m venv .bench-aws
	@.ci/quietly "pip install awscli" .ci/install .bench-aws awscli==1.46.3
	touch $@

.bench/ready: requirements/bench.txt | tools
	$(PYTHON) -m venv .bench
	@.ci/quietly "pip install requirements/bench.txt" .ci/install .bench -r requirements/bench.txt
	touch $@

clean:
	rm -rf .venv .airflow .dist .demo .docs .bench .bench-toolkit .bench-aws .sdk dist

# Pins, without the address of any registry. Needs uv.
requirements:
	uv pip compile -q --no-header --no-annotate --no-emit-index-url --python-version 3.11 requirements/dist.in -o requirements/dist.txt
	for name in airflow bench demo docs images test; do \
	  uv pip compile -q --no-header --no-annotate --no-emit-index-url --python-version 3.11 \
	    pyproject.toml requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

# The same suites against a real cluster or account, by variables: docs/how-to/kubernetes.md, docs/how-to/sagemaker.md.
test-cluster: .venv/ready
	$(BIN)/python -m pytest -q --timeout 1800 tests/backends/kubernetes/test_conformance.py

test-sagemaker: .venv/ready
	$(BIN)/python -m pytest -q tests/backends/sagemaker/test_conformance.py

# A real Airflow, in an environment of its own: it pins what the checkout's tests need in other versions.
airflow: .venv/ready .airflow/ready
	$(BIN)/python -m tests.doubles.airflow

test-airflow: .venv/ready .airflow/ready
	$(BIN)/python -m pytest -q tests/airflow

.airflow/ready: requirements/airflow.txt pyproject.toml | tools
	$(PYTHON) -m venv .airflow
	@.ci/quietly "pip install requirements/airflow.txt" .ci/install .airflow -r requirements/airflow.txt
	@.ci/quietly "pip install lyftlearn" .ci/install .airflow --no-deps --editable .
	touch $@

# Spark and Java, which the slow tests of Spark need: 400 MB, so in an environment of its own.
test-spark: .venv/ready .spark/ready
	$(BIN)/python -m pytest -q tests/backends/test_spark.py tests/backends/sagemaker/test_spark.py

.spark/ready: requirements/spark.txt | tools
	$(PYTHON) -m venv .spark
	@.ci/quietly "pip install requirements/spark.txt" .spark/bin/python -m pip install --disable-pip-version-check -r requirements/spark.txt
	touch $@

# Framework images, with the sagemaker SDK: 1 GB, so in an environment of its own.
test-sdk: .sdk/ready
	.sdk/bin/python -m pytest -q tests/backends/sagemaker/test_images.py

.sdk/ready: pyproject.toml | tools
	$(PYTHON) -m venv .sdk
	@.ci/quietly "pip install lyftlearn" .ci/install .sdk --editable ".[sagemaker,test]" pytest-timeout
	touch $@
