# Everything goes into .venv; nothing is fetched from a model hub.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test lint clean

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/tested: pyproject.toml .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

demo: .venv/installed  ## install, make example photos, score them into out.csv
	$(BIN)/python examples/make_photos.py examples/photos
	$(BIN)/qinsight score examples/photos/*.jpg --csv out.csv
	$(BIN)/qinsight score examples/photos/*.jpg

test: .venv/tested  ## the whole suite
	$(BIN)/python -m pytest

lint: .venv/tested  ## what pre-commit and CI ask for
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info examples/photos out.csv
