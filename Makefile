# Everything goes into .venv; nothing is fetched from a model hub.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# A test process for each core, up to four; the one that finishes first takes tests from the other.
SPREAD := -n logical --maxprocesses 4 --dist worksteal

.PHONY: demo test test-page docs lint constraints audit clean

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[data]'
	touch $@

.venv/tested: pyproject.toml .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

demo: .venv/installed  ## install, make example photos, score them into out.csv
	$(BIN)/python examples/make_photos.py examples/photos
	$(BIN)/qinsight score examples/photos/*.jpg --csv out.csv
	$(BIN)/qinsight score examples/photos/*.jpg
	@echo "The command is $(BIN)/qinsight; after \`source $(BIN)/activate\` it is qinsight: try qinsight score photos/"

test: .venv/tested  ## the whole suite
	$(BIN)/python -m pytest $(SPREAD)

# Gradio takes an older Pillow than the suite runs with, so it has an environment of its own above .venv.
build/serve/installed: pyproject.toml .venv/tested
	$(BIN)/python -m venv build/serve
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	$$(build/serve/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/below.pth
	build/serve/bin/python -m pip install --quiet --disable-pip-version-check -e '.[serve,browser]'
	touch $@

test-page: build/serve/installed  ## the page of qinsight serve, and pictures under its Pillow
	build/serve/bin/python -m pytest $(SPREAD) tests/core/page tests/commands/test_serve.py tests/browser tests/core/images

docs: .venv/tested  ## the documentation as a site, in build/site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

lint: .venv/tested  ## what pre-commit and CI ask for
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

constraints: .venv/tested  ## write the versions that are installed here, for pip install -c constraints.txt
	mkdir -p build
	(echo "# The versions that the whole suite passed with: pip install -c constraints.txt qinsight"; \
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | sed 's/+[a-z0-9.]*$$//') > build/constraints.txt

audit: .venv/tested  ## a report of known weaknesses of what is installed; it fails nothing
	mkdir -p build
	test -x build/audit/bin/pip-audit || ($(PYTHON) -m venv build/audit && \
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit) || true
	-build/audit/bin/pip-audit --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
	--progress-spinner off --timeout 20 > build/pip-audit.txt 2>&1
	cat build/pip-audit.txt || true

clean:
	rm -rf .venv build *.egg-info examples/photos out.csv
