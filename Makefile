.PHONY: demo test check bench lock

# Train, evaluate, index, cross-check, then serve http://127.0.0.1:5000. Options: make demo ARGS="--no-serve"
demo: .venv/ready
	.venv/bin/lookalike demo $(ARGS)

# Style, types and tests, but for those that take long: make test ARGS="-m slow". Options for pytest: ARGS="tests/retrieval"
# Two processes begin with half of the tests each; the one that is done first takes over some of the other's.
test: .venv/ready check
	.venv/bin/pytest -n 2 --dist worksteal $(ARGS)

check: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# Every figure beside what it is compared with: benchmarks/results.md, in 20 minutes. Options: make bench ARGS="--quick"
bench: .venv/bench
	.venv/bin/python benchmarks/run.py $(ARGS)

# The peers that only benchmarks need; where they can't be installed, they are left out of the tables.
.venv/bench: .venv/ready benchmarks/requirements.lock
	-.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement benchmarks/requirements.lock
	touch $@

# The environment: Python 3.11 with exactly what requirements.lock names.
.venv/ready: requirements.lock pyproject.toml
	sh environment.sh .venv
	touch $@

# Take up new versions of the dependencies.
lock: .venv/ready
	.venv/bin/uv pip compile pyproject.toml --extra train --extra s3 --group dev --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-header --no-emit-index-url --no-annotate --quiet --output-file requirements.lock
	.venv/bin/uv pip compile --group bench --constraint requirements.lock --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-header --no-emit-index-url --no-annotate --quiet --output-file benchmarks/requirements.lock
