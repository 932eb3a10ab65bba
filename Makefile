# The commands of the README and docs/. PYTHON chooses the interpreter, PORT where `make run` listens.
PYTHON ?= python3
export PORT ?= 8080
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VERSIONS := 3.8 3.9 3.10 3.11 3.12 3.13 3.14
OTHERS := $(foreach v,$(filter-out $(VERSION),$(VERSIONS)),$(shell python$(v) -c 'print("$(v)")' 2>/dev/null))
INSTALL := -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes

.PHONY: help run install test test-abuse test-container test-page test-aws test-explore deploy destroy benchmark lint lint-workflow audit lock check-readme python emulator tensorflow docker other-pythons

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: emulator .venv/installed-$(VERSION) ## serve the function on localhost:8080, in AWS's emulator, and a page on localhost:8081
	@.venv/bin/python -m web.serve

install: emulator tensorflow .venv/installed-$(VERSION) .venv-dev/installed-$(VERSION) ## install the packages of the function, notebooks and tests

EVERY_PYTHON := .venv/installed-$(VERSION) .venv-dev/installed-$(VERSION) $(foreach v,$(OTHERS),.venv-$(v)/installed-$(v))
test: emulator tensorflow $(EVERY_PYTHON) ## run every test that needs neither Docker nor a browser
	.venv-dev/bin/python -m pytest tests --ignore tests/container --ignore tests/page --ignore tests/aws --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-abuse: emulator tensorflow $(EVERY_PYTHON) ## send the function ten thousand requests, nearly all bad, on Python 3.8 and 3.13
	.venv-dev/bin/python -m pytest tests/test_abuse.py -m long --numprocesses 2

test-container: docker tensorflow .venv-dev/installed-$(VERSION) ## build the Lambda image with Docker, run it and test it
	.venv-dev/bin/python -m pytest tests/container

test-page: emulator tensorflow .venv/installed-$(VERSION) .venv-dev/installed-$(VERSION) ## test the page in a browser, Chromium
	.venv-dev/bin/python -m pytest tests/page

test-aws: docker tensorflow .venv-dev/installed-$(VERSION) .venv-aws/installed-$(VERSION) ## rehearse deploy.sh on this machine, with Docker, Chromium and a stand-in for AWS
	tests/harness/base_image.sh 3.13 >/dev/null
	.venv-dev/bin/python -m pytest tests/aws --numprocesses 2

test-explore: docker python .venv-aws/installed-$(VERSION) ## test the systems of explore_more/, in a process for each
	tests/harness/base_image.sh 3.13 >/dev/null
	for makefile in explore_more/*/Makefile; do $(MAKE) --no-print-directory -C "$${makefile%/*}" test || failed=1; done; exit $${failed:-0}

deploy: ## build the image, deploy it to AWS and prove it with a photo
	@./deploy.sh

destroy: ## remove from AWS all that `make deploy` made
	@./deploy.sh destroy

MEASURED := .venv-3.8/installed-3.8 .venv-3.13/installed-3.13 .venv-onnx/installed-3.13 .venv-keras/installed-3.13
benchmark: ## measure the function beside what else could serve the model
benchmark: docker emulator tensorflow other-pythons .venv/installed-$(VERSION) .venv-dev/installed-$(VERSION)
benchmark: $(MEASURED) build/avx2_only.so
	.venv-keras/bin/python benchmarks/make_models.py build/benchmarks
	.venv/bin/python -m benchmarks.benchmark
	.venv-dev/bin/python -m benchmarks.report

build/avx2_only.so: benchmarks/avx2_only.py benchmarks/avx2_only.c $(MEASURED)
	$(PYTHON) -m benchmarks.avx2_only $@ $(dir $(MEASURED))

lint: tensorflow .venv-dev/installed-$(VERSION) .venv-aws/installed-$(VERSION) ## check style and format
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/shellcheck .ci/run deploy.sh requirements/lock.sh explore_more/lean_layer/layer/lock.sh explore_more/million_photos/classify.sh explore_more/zero_administration/tests/rehearsal/cdk_docker tests/harness/base_image.sh tests/harness/stand_in/lambda-entrypoint.sh tests/harness/stand_in/bootstrap
	.venv-aws/bin/cfn-lint template.yaml .github/deploy_role.yaml explore_more/*/template.yaml

lint-workflow: ## check the GitHub workflow; needs npm
	npm ci --prefix tests/workflow --silent
	node tests/workflow/lint.mjs .github/workflows/*.yml

check-readme: emulator tensorflow .venv/installed-$(VERSION) .venv-dev/installed-$(VERSION) ## run the commands of README.md and docs/
	@.venv-dev/bin/python tests/check_readme.py

audit: tensorflow .venv-dev/installed-$(VERSION) ## look for known faults in the locked packages; needs the internet
	for lock in $$(git grep --files-with-matches -e --hash=sha256 -- '*.txt'); do echo $$lock; .venv-dev/bin/pip-audit --strict --disable-pip --require-hashes --requirement $$lock || failed=1; done; exit $${failed:-0}

lock: ## resolve requirements/*.in again; needs uv
	requirements/lock.sh
	for makefile in explore_more/*/Makefile; do $(MAKE) --no-print-directory -C "$${makefile%/*}" lock; done

# One line where this machine cannot run the function or the tests, before anything is installed.
python:
	@case "$(VERSION)" in 3.9 | 3.1[0-4]) ;; "") \
		echo "$(PYTHON) cannot be run; Python 3.9 to 3.14 is needed, such as: make run PYTHON=python3.13" >&2; exit 1 ;; *) \
		echo "$(PYTHON) is '$(VERSION)'; Python 3.9 to 3.14 is needed, such as: make run PYTHON=python3.13" >&2; exit 1 ;; esac

emulator: python
	@case "$$(uname -sm)" in "Linux x86_64" | "Linux aarch64") ;; *) \
		echo "AWS has no emulator for $$(uname -sm); use Docker: docker build --build-arg PYTHON_VERSION=3.13 -t clothing-classifier . && docker run --rm -p 8080:8080 clothing-classifier" >&2; exit 1 ;; esac

tensorflow: python
	@case "$(VERSION)" in 3.14) \
		echo "TensorFlow has no release for Python $(VERSION) yet; use another, such as: make test PYTHON=python3.13" >&2; exit 1 ;; esac

other-pythons:
	@case " $(OTHERS) " in *" 3.8 "*" 3.13 "*) ;; *) \
		echo "The benchmark needs Python 3.8 and 3.13 on this machine and a third one to run it, such as: make benchmark PYTHON=python3.11" >&2; exit 1 ;; esac

docker:
	@docker info >/dev/null 2>&1 || { echo "No Docker Engine answers here; install and start one" >&2; exit 1; }

# An environment from its locked packages: folder, Python version, interpreter, lock files.
define ENVIRONMENT
$(1)/installed-$(2): $(4)
	$(3) -m venv --clear $(1)
	$(1)/bin/python $$(INSTALL) $$(^:%=-r %)
	@touch $$@
endef
FUNCTION = requirements/python$(1).txt requirements/local.txt requirements/emulator.txt
$(eval $(call ENVIRONMENT,.venv,$(VERSION),$(PYTHON),$(call FUNCTION,$(VERSION))))
$(eval $(call ENVIRONMENT,.venv-dev,$(VERSION),$(PYTHON),requirements/dev.txt))
$(eval $(call ENVIRONMENT,.venv-aws,$(VERSION),$(PYTHON),requirements/aws.txt))
$(eval $(call ENVIRONMENT,.venv-onnx,3.13,python3.13,requirements/onnx.txt requirements/local.txt))
$(eval $(call ENVIRONMENT,.venv-keras,3.13,python3.13,requirements/keras.txt requirements/export.txt requirements/local.txt))
$(foreach v,$(OTHERS),$(eval $(call ENVIRONMENT,.venv-$(v),$(v),python$(v),$(call FUNCTION,$(v)))))
