.PHONY: demo test check bench lock

# Train, evaluate, index, cross-check, then serve http://127.0.0.1:5000. Options: make demo ARGS="--no-serve"
demo: .venv/ready
	.venv/bin/lookalike demo $(ARGS)

# Check style and types, and run the tests. The long ones: make test ARGS="-m slow". Some: make test ARGS="tests/retrieval"
# Two processes run half of the tests each; the one that finishes first steals tests from the other.
test: .venv/ready check
	.venv/bin/pytest -n 2 --dist worksteal $(ARGS)

check: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# Measure everything and write benchmarks/results.md, in about 20 minutes. Options: make bench ARGS="--quick"
bench: .venv/bench
	.venv/bin/python benchmarks/run.py $(ARGS)

# The libraries that only benchmarks need; those that can't be installed are left out of the tables.
.venv/bench: .venv/ready benchmarks/requirements.lock
	-.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement benchmarks/requirements.lock
	touch $@

# The environment: Python 3.11 with the dependencies of requirements.lock.
.venv/ready: requirements.lock pyproject.toml
	sh environment.sh .venv
	touch $@

# Upgrade the dependencies.
lock: .venv/ready
	.venv/bin/uv pip compile pyproject.toml --extra train --extra s3 --extra raw --extra jxl --extra parquet --extra import --extra text --group dev --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-header --no-emit-index-url --no-annotate --quiet --output-file requirements.lock
	.venv/bin/uv pip compile pyproject.toml --extra s3 --extra raw --extra jxl --extra text --constraint requirements.lock \
		--python-platform linux --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
		--quiet --output-file serving.lock
	.venv/bin/uv pip compile --group bench --constraint requirements.lock --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-header --no-emit-index-url --no-annotate --quiet --output-file benchmarks/requirements.lock
