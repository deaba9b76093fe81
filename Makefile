# Two commands: `make demo` and `make test`; while one works, `make fast`. All set their environment up once; the
# second time that takes seconds.
# On Linux without a GPU: make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PYTHON ?= python3
PIP_ARGS ?=
# Test processes side by side, each on a core of its own.
WORKERS ?= 2
# Every round is a process of its own: without byte code on the disk each compiles the whole package again.
unexport PYTHONDONTWRITEBYTECODE
# Packages of the system are installed while pip works, and lint runs beside mypy.
MAKEFLAGS += -j2
VENV := .venv
BIN := $(VENV)/bin
# Compilers that pip starts take as many cores as there are, whatever make runs beside them.
INSTALL := env -u MAKEFLAGS $(BIN)/python -m pip install $(PIP_ARGS) --constraint constraints.txt

AXE_VERSION := 4.14.1
AXE := build/axe-$(AXE_VERSION).min.js

.PHONY: demo llama-cpp test fast lint types bench nightly real docs axe docs-site picture references proto clean clang chromium bubblewrap shells

demo: $(VENV)/.demo-ready clang
	$(BIN)/decodebench demo

# llama.cpp for the demo and for measuring.
llama-cpp: $(VENV)/.llama-cpp-ready

test: lint types clang chromium bubblewrap axe
	$(BIN)/python -m pytest -m "not nightly" -n $(WORKERS) --no-loadscope-reorder

# While one works: what needs no engine, in a minute and a half.
fast: lint types
	$(BIN)/python -m pytest -m "not nightly and not engine" -n $(WORKERS) --no-loadscope-reorder \
		tests/core tests/collate tests/viz tests/test_architecture.py

lint: $(VENV)/.dev-ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev-ready
	@mkdir -p build/types && ln -sfn ../.. build/types/decodebench
	$(BIN)/mypy

# The plugin overheads against the engines' own tools; takes about half an hour on a quiet machine.
bench: $(VENV)/.dev-ready
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/engines.py

# Everything, the long matrices and a Ray cluster included.
nightly: lint types clang chromium bubblewrap shells axe $(VENV)/.ray-ready
	$(MAKE) docs-site
	$(BIN)/python -m pytest

# Published models out of packages of the index, through every engine: docs/real_models.md. At most 45 minutes on two
# cores, part of nightly; `make real PROMPTS=2 TOKENS=16` takes some minutes.
PROMPTS ?= 8
TOKENS ?= 128
real: $(VENV)/.dev-ready clang
	REAL_PROMPTS=$(PROMPTS) REAL_TOKENS=$(TOKENS) $(BIN)/python -m pytest tests/real

# Regenerate what docs/ takes from the code.
docs: $(VENV)/.dev-ready
	$(BIN)/python -c "from decodebench.core.records.metrics import markdown; print(markdown(), end='')" > docs/metrics.md
	$(BIN)/python -c "from decodebench.collate.findings import markdown; print(markdown(), end='')" > docs/findings.md
	$(BIN)/python -c "from pathlib import Path; from decodebench.core.conformance.kit import with_table; \
		page = Path('docs/conformance.md'); page.write_text(with_table(page.read_text()))"
	$(BIN)/python -c "import decodebench; from decodebench.core.host.hook_reference import markdown; \
		print(markdown(decodebench), end='')" > docs/hooks.md
	$(BIN)/python docs/command_reference.py > docs/cli.md
	$(BIN)/python docs/api_reference.py > docs/api.md
	$(BIN)/python -c "from decodebench.core.errors import markdown; print(markdown(), end='')" > docs/errors.md

# The README and docs/ as a site in build/site; a link that leads nowhere fails it.
SITE_PAGES := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs plugins/reference/MODEL_CARD.md examples/tiny_models/README.md
docs-site: $(VENV)/.site-ready
	rm -rf build/site-pages && mkdir -p build/site-pages
	tar -cf - $(SITE_PAGES) | tar -xf - -C build/site-pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The picture in the README: the first screen of the page about the latest experiment of OUTPUT; look at it.
OUTPUT ?= benchmark_output
picture: $(VENV)/.demo-ready chromium
	$(BIN)/decodebench report $(OUTPUT)
	chromium --headless=new --no-sandbox --hide-scrollbars --window-size=1200,860 --virtual-time-budget=4000 \
		--screenshot=docs/images/page.png "file://$(abspath $(OUTPUT))/report.html"

# Redraw the images that the tests compare figures with; look at them before committing.
references: $(VENV)/.dev-ready
	$(BIN)/python -m pytest tests/viz/test_references.py --write-references

# Regenerate the gRPC code of the verification server from its definition.
PROTO := plugins/draft_target/proto
proto: $(VENV)/.dev-ready
	$(BIN)/python -m grpc_tools.protoc -I $(PROTO) --python_out $(PROTO) --pyi_out $(PROTO) --grpc_python_out $(PROTO) \
		verification.proto
	sed -i.bak 's/^import verification_pb2/from . import verification_pb2/' $(PROTO)/verification_pb2_grpc.py
	rm $(PROTO)/verification_pb2_grpc.py.bak

# tinygrad compiles its CPU kernels with clang. Installed where that needs no password; without it the rest works.
clang:
	@command -v clang >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes clang >/dev/null; } || \
		echo "clang is not installed: tinygrad will not be measured (apt-get install clang)"

# The tests open the HTML page in a real browser. Installed where that needs no password; without it they are skipped.
chromium: | clang
	@{ command -v chromium && command -v chromedriver; } >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes chromium chromium-driver >/dev/null; } || \
		echo "chromium is not installed: the page is not tested in a browser (apt-get install chromium chromium-driver)"

# Completion is tested in the shells themselves, at night. Installed where that needs no password; else it is skipped.
shells: | bubblewrap
	@{ command -v zsh && command -v fish; } >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes zsh fish >/dev/null; } || \
		echo "zsh or fish is not installed: completion is not tested in it (apt-get install zsh fish)"

# axe-core checks in that browser whether everybody can use the page. It comes from npm; without npm it is skipped.
axe: $(AXE)
$(AXE):
	@mkdir -p build && npm pack --silent --pack-destination build axe-core@$(AXE_VERSION) >/dev/null 2>&1 && \
		tar -xzf build/axe-core-$(AXE_VERSION).tgz -C build package/axe.min.js && mv build/package/axe.min.js $@ && \
		rm -r build/package build/axe-core-$(AXE_VERSION).tgz || \
		echo "axe-core is not here: the page is not checked for accessibility (npm pack axe-core)"

# Programs that models write are run in it, and in nothing else. Installed where that needs no password.
bubblewrap: | chromium
	@[ "$$(uname)" != Linux ] || command -v bwrap >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes bubblewrap >/dev/null; } || \
		echo "bubblewrap is not installed: code of models is not run (apt-get install bubblewrap)"

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'decodebench needs Python >= 3.11, this is ' + sys.version)"
	$(PYTHON) -m venv $(VENV)

# Everything that has wheels, pip's progress shown. llama-cpp-python has none on the package index: it comes with the
# demo where PIP_ARGS names an index that has one, and else with `make llama-cpp`, which compiles it.
$(VENV)/.demo-ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --prefer-binary --editable ".[wheels]"
	@$(BIN)/python -c "import llama_cpp" 2>/dev/null || \
		$(INSTALL) --quiet --only-binary llama-cpp-python --editable ".[llama-cpp]" 2>/dev/null || \
		echo "without llama.cpp, which has no wheel here: \`make llama-cpp\` compiles it, about five minutes, once"
	@touch $@

# Compiled while everything else is downloaded: a wheel is built without touching the environment. Only the engine is: what
# llama.cpp has for images and for programs of its own makes up half of its files, and llama-cpp-python leaves no switch
# for the latter.
LLAMA_CPP_WHEEL := build/wheels/.llama-cpp-ready
ENGINE_ALONE := build/wheels/engine_alone.cmake
$(LLAMA_CPP_WHEEL): constraints.txt | $(VENV)/bin/python
	@mkdir -p $(@D) && echo 'set(LLAMA_BUILD_COMMON OFF)' >$(ENGINE_ALONE)
	@$(BIN)/python -c "import llama_cpp" 2>/dev/null || { \
		echo "compiling llama-cpp-python: about five minutes, once; it needs a C/C++ compiler and cmake"; \
		env -u MAKEFLAGS \
			CMAKE_ARGS="-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama_cpp_INCLUDE=$(abspath $(ENGINE_ALONE)) $(CMAKE_ARGS)" \
			$(BIN)/python -m pip wheel --quiet $(PIP_ARGS) --prefer-binary --no-deps --constraint constraints.txt \
			--wheel-dir $(@D) llama-cpp-python; }
	@touch $@

$(VENV)/.llama-cpp-ready: $(LLAMA_CPP_WHEEL) | $(VENV)/.demo-ready
	$(INSTALL) --prefer-binary --find-links $(<D) --editable ".[llama-cpp]"
	@touch $@

$(VENV)/.site-ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable ".[site]"
	@touch $@

# For the nightly tests alone: a cluster takes minutes to test (docs/scaling.md).
$(VENV)/.ray-ready: $(VENV)/.dev-ready
	$(INSTALL) --prefer-binary --editable ".[ray]"
	@touch $@

$(VENV)/.dev-ready: $(VENV)/.demo-ready $(VENV)/.llama-cpp-ready
	$(INSTALL) --prefer-binary --editable ".[dev]"
	@touch $@
