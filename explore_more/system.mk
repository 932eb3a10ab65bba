# The Makefiles of the systems share this file: it makes the environment, runs the tests, deploys an image and removes it.
# PYTHON is the interpreter, and OLDEST the oldest one that the locks must support. To deploy, set AWS credentials and
# AWS_REGION in the environment. BASE, the image to build on, and REGISTRY, a registry to push to instead of the
# account's own, work as in deploy.sh. A system whose image needs files of the repository sets BUILD_CONTEXT to its root,
# and one whose template has parameters sets PARAMETERS.
PYTHON ?= python3
OLDEST ?= 3.9
NAME ?= explore-more-$(subst _,-,$(notdir $(CURDIR)))
LOCKS ?= $(wildcard requirements/*.txt)
BUILD_CONTEXT ?= .
SHELL := bash
.SHELLFLAGS := -Eeuo pipefail -c
.ONESHELL:
.PHONY: help run test deploy destroy deploy-image destroy-image lock

export AWS_PAGER :=
export BUILDX_NO_DEFAULT_ATTESTATIONS := 1
ifdef AWS_REGION
export AWS_DEFAULT_REGION := $(AWS_REGION)
endif

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

.venv/installed: $(LOCKS)
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes $(^:%=-r %)
	touch $@

test: .venv/installed ## test it; the rehearsal of AWS needs the repository and Docker
	.venv/bin/python -m pytest tests

lock: ## resolve requirements/*.in again; needs uv
	for file in requirements/*.in; do
	  uv pip compile --quiet --universal --python-version $(OLDEST) --generate-hashes --no-header --no-annotate \
	    "$$file" --output-file "$${file%.in}.txt"
	done

# A repository that is deleted with its stack, even if it has images in it.
define IMAGES
Resources:
  Images: {Type: AWS::ECR::Repository, Properties: {EmptyOnDelete: true}}
Outputs:
  Uri: {Value: !GetAtt Images.RepositoryUri}
endef
export IMAGES

# How "$$image" is built; a Makefile may set BUILD otherwise. With --load, a builder in a container hands its image over.
BUILD_OPTIONS = $$(! docker buildx version >/dev/null 2>&1 || echo --load) --platform linux/amd64 \
  $(if $(BASE),--build-arg BASE=$(BASE))
BUILD = docker build $(BUILD_OPTIONS) --file Dockerfile --tag "$$image" $(BUILD_CONTEXT)

# Push the image of ./Dockerfile to a repository of its own, and deploy ./template.yaml with its ImageUri.
deploy-image:
	@set -x  # show each command
	repository=$$(mktemp)
	trap 'rm "$$repository"' EXIT
	echo "$$IMAGES" >"$$repository"
	aws cloudformation deploy --stack-name $(NAME)-images --template-file "$$repository" --no-fail-on-empty-changeset
	uri=$$(aws cloudformation describe-stacks --stack-name $(NAME)-images \
	  --query 'Stacks[0].Outputs[0].OutputValue' --output text)
	image=$${REGISTRY:-$${uri%%/*}}/$${uri#*/}
	aws ecr get-login-password | docker login --username AWS --password-stdin "$${image%%/*}"
	$(BUILD)
	docker push "$$image"
	digest=$$(docker inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$$image" | grep "^$$image@")
	aws cloudformation deploy --stack-name $(NAME) --template-file template.yaml --no-fail-on-empty-changeset \
	  --capabilities CAPABILITY_IAM --parameter-overrides "ImageUri=$$digest" $(PARAMETERS)
	# Only now is no image in use but the one with the tag.
	old=$$(aws ecr list-images --repository-name "$${uri#*/}" --filter tagStatus=UNTAGGED --output text \
	  --query "join(' ', imageIds[].join('=', ['imageDigest', imageDigest]))")
	[[ -z $$old || $$old == None ]] || aws ecr batch-delete-image --repository-name "$${uri#*/}" --image-ids $$old

# Remove both stacks, with the image.
destroy-image:
	for stack in $(NAME) $(NAME)-images; do
	  aws cloudformation delete-stack --stack-name "$$stack"
	  aws cloudformation wait stack-delete-complete --stack-name "$$stack"
	done
