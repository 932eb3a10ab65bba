#!/usr/bin/env bash
# From this checkout to a live POST /predict on AWS, and back to nothing.
#
#   ./deploy.sh                  build, push, create or update everything, and prove it with a photo
#   ./deploy.sh status           show what is deployed
#   ./deploy.sh destroy [--yes]  remove all that this script made
#
# Needs the AWS CLI (1 or 2) with credentials, and to deploy also Docker, curl and git. Progress goes to
# stderr, the address of the API to stdout. Exit status 2: refused before anything was changed.
#
# Settings come from the environment, each time anew; the README lists them.
set -Eeuo pipefail

readonly STACK_NAME="${STACK_NAME:-clothing-classifier}"
readonly FUNCTION_NAME="${FUNCTION_NAME:-$STACK_NAME}"
readonly REPOSITORY_NAME="${REPOSITORY_NAME:-$STACK_NAME}"
readonly STAGE_NAME="${STAGE_NAME:-test}"
readonly REGION="${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region 2>/dev/null || true)}}"
readonly PYTHON_VERSION="${PYTHON_VERSION:-3.13}"
readonly BASE="${BASE:-public.ecr.aws/lambda/python:$PYTHON_VERSION}" # the image to build on
readonly MEMORY="${MEMORY:-768}"                                      # MB; what the worst request needs, and 10 %
readonly TIMEOUT="${TIMEOUT:-15}"                                     # seconds
readonly RESERVED_CONCURRENCY="${RESERVED_CONCURRENCY:--1}"           # functions at once at most; -1: the account's limit
readonly PROVISIONED_CONCURRENCY="${PROVISIONED_CONCURRENCY:-0}"      # functions kept started, and paid for
readonly THROTTLE_RATE="${THROTTLE_RATE:-20}"                         # requests a second
readonly THROTTLE_BURST="${THROTTLE_BURST:-10}"                       # requests at once
readonly CORS_ORIGIN="${CORS_ORIGIN:-*}"                              # whose pages may call the API
readonly AUTHORIZATION="${AUTHORIZATION:-NONE}"                       # or AWS_IAM
readonly REQUIRE_API_KEY="${REQUIRE_API_KEY:-false}"                  # or true
readonly LOG_DAYS="${LOG_DAYS:-14}"

readonly OWNER=clothing-classifier/$STACK_NAME # in the tag `deployed-by` of all that this script makes
readonly PHOTO=tests/photos/pants/pants-1.jpg PHOTO_CLASS=pants
readonly SAVED_ENDPOINT=.predict-url
readonly LOG_GROUP=/aws/lambda/$FUNCTION_NAME

main() {
  cd "$(dirname "$0")"
  TEMPORARY=$(mktemp -d)
  trap leave EXIT
  case "${1:-deploy}" in
    deploy) deploy ;;
    status) show_status ;;
    destroy) destroy "${2:-}" ;;
    help | -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" ;;
    *) refuse "'$1' is none of deploy, status, destroy" ;;
  esac
}

deploy() {
  check_tools aws docker curl git
  check_settings
  check_docker
  check_curl
  identify
  check_owners
  print_plan
  find_image
  [[ -n $DIGEST ]] || push_image
  check_manifest
  configure_repository
  wait_for_stack
  mend_stack
  deploy_stack
  predict_photo
  print_result
}

show_status() {
  check_tools aws
  check_settings
  identify
  local status
  status=$(stack StackStatus)
  [[ -n $status ]] || fail "stack $STACK_NAME does not exist in $REGION of account $ACCOUNT"
  say "Stack $STACK_NAME in $REGION of account $ACCOUNT: $status"
  stack 'Parameters[].[ParameterKey, ParameterValue]' | sed 's/^/  /' >&2
  read_endpoint
  [[ -n $URL ]] || fail "the stack has no API yet"
  echo "$URL"
}

destroy() {
  [[ $1 == "" || $1 == --yes ]] || refuse "'$1' is not --yes"
  check_tools aws
  check_settings
  identify
  check_owners
  list_what_to_remove
  [[ $1 == --yes ]] || confirm
  remove_stack
  remove_repository
  forget_endpoint
  list_leftovers
}

say() { echo "$*" >&2; }

# Stop before anything was changed.
refuse() {
  say "deploy.sh: $*"
  STEP=""
  exit 2
}

fail() {
  say "deploy.sh: $*"
  exit 1
}

step() {
  STEP=$1
  say "→ $STEP"
}

leave() {
  local status=$?
  rm -rf "$TEMPORARY"
  ((status == 0)) || [[ -z ${STEP-} ]] ||
    fail "it stopped at this step: $STEP. Once that is mended, the same command goes on from there"
}

check_tools() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || refuse "$tool is missing; install it first"
  done
}

check_settings() {
  [[ -n $REGION ]] || refuse "no region; set AWS_REGION, such as AWS_REGION=eu-west-1"
  check_text STACK_NAME '^[A-Za-z][A-Za-z0-9-]{0,127}$'
  check_text FUNCTION_NAME '^[A-Za-z0-9_-]{1,64}$'
  check_text REPOSITORY_NAME '^[a-z0-9]+([._/-][a-z0-9]+)*$'
  check_text STAGE_NAME '^[A-Za-z0-9_-]{1,128}$'
  check_text CORS_ORIGIN '^(\*|https?://[A-Za-z0-9.-]+(:[0-9]+)?)$'
  check_text AUTHORIZATION '^(NONE|AWS_IAM)$'
  check_text REQUIRE_API_KEY '^(true|false)$'
  check_text LOG_DAYS '^(1|3|5|7|14|30|60|90|120|150|180|365|400|545|731|1096|1827|2192|2557|2922|3288|3653)$'
  check_number MEMORY 128 10240
  check_number TIMEOUT 1 28
  check_number RESERVED_CONCURRENCY -1 100000
  check_number PROVISIONED_CONCURRENCY 0 100000
  check_number THROTTLE_RATE 1 10000
  check_number THROTTLE_BURST 1 5000
  [[ -f requirements/python$PYTHON_VERSION.txt ]] || refuse "PYTHON_VERSION is '$PYTHON_VERSION', for which requirements/ has no lock"
  # The AWS CLI 1 reads one of them, the AWS CLI 2 both.
  export AWS_REGION=$REGION AWS_DEFAULT_REGION=$REGION
  export AWS_PAGER="" AWS_RETRY_MODE="${AWS_RETRY_MODE:-standard}" AWS_MAX_ATTEMPTS="${AWS_MAX_ATTEMPTS:-6}"
}

check_text() { [[ ${!1} =~ $2 ]] || refuse "$1 is '${!1}'; it must match $2"; }

check_number() {
  if ! [[ ${!1} =~ ^(-1|0|[1-9][0-9]{0,5})$ ]] || ((${!1} < $2 || ${!1} > $3)); then
    refuse "$1 is '${!1}'; it must be a number from $2 to $3"
  fi
}

check_docker() {
  docker info >/dev/null 2>&1 || refuse "no Docker Engine answers; start Docker"
}

check_curl() {
  curl --fail-with-body --version >/dev/null 2>&1 || refuse "curl is older than 7.76; install a newer one"
}

identify() {
  local identity
  identity=$(aws sts get-caller-identity --query '[Account, Arn]' --output text 2>"$TEMPORARY/error") ||
    refuse "AWS accepts no credentials here; set or renew them. It says: $(tail -n 1 "$TEMPORARY/error")"
  read -r ACCOUNT CALLER <<<"$identity"
  PARTITION=$(cut -d: -f2 <<<"$CALLER")
  IMAGE=${REGISTRY:-$ACCOUNT.dkr.ecr.$REGION.amazonaws.com}/$REPOSITORY_NAME
  STEP="look at what is deployed"
}

# Print what an aws command answers, or nothing where it says that the thing does not exist.
lookup() {
  if aws "$@" --output text 2>"$TEMPORARY/error" >"$TEMPORARY/answer"; then
    sed '/^None$/d' "$TEMPORARY/answer"
  else
    grep -qE 'NotFoundException|Stack .* does not exist' "$TEMPORARY/error" || { cat "$TEMPORARY/error" >&2 && return 1; }
  fi
}

stack() { lookup cloudformation describe-stacks --stack-name "$STACK_NAME" --query "Stacks[0].$1"; }

# Refuse what bears one of our names and was made by something else; set EXISTING to what is ours.
check_owners() {
  local owner thing
  EXISTING=$(find_existing)
  [[ -n $EXISTING ]] || return 0
  while IFS=$'\t' read -r owner thing; do
    [[ $owner == "$OWNER" ]] ||
      refuse "$thing exists and was not made by this script; choose another name, or remove it yourself"
  done <<<"$EXISTING"
}

# Print a line for each thing with one of our names: the stack that it was tagged for, a tab, and what it is.
# `|| return`, because a command substitution goes on after a failure.
find_existing() {
  local owner
  owner=$(stack_owner) || return
  existing "$owner" "CloudFormation stack $STACK_NAME"
  owner=$(lookup ecr list-tags-for-resource --query "tags[?Key=='deployed-by'].Value | [0] || 'nobody'" \
    --resource-arn "arn:$PARTITION:ecr:$REGION:$ACCOUNT:repository/$REPOSITORY_NAME") || return
  existing "$owner" "ECR repository $REPOSITORY_NAME"
  owner=$(lookup lambda list-tags --query "Tags.\"deployed-by\" || 'nobody'" \
    --resource "arn:$PARTITION:lambda:$REGION:$ACCOUNT:function:$FUNCTION_NAME") || return
  existing "$owner" "Lambda function $FUNCTION_NAME"
  owner=$(lookup logs list-tags-for-resource --query "tags.\"deployed-by\" || 'nobody'" \
    --resource-arn "arn:$PARTITION:logs:$REGION:$ACCOUNT:log-group:$LOG_GROUP") || return
  existing "$owner" "log group $LOG_GROUP"
}

existing() { [[ -z $1 ]] || printf '%s\t%s\n' "$@"; }

# A stack whose first change set was not executed has no tags yet; the change set has them.
stack_owner() {
  local stack status owner name
  stack=$(stack "[StackStatus, Tags[?Key=='deployed-by'].Value | [0] || 'nobody']") || return
  read -r status owner <<<"$stack"
  if [[ $status == REVIEW_IN_PROGRESS ]]; then
    name=$(lookup cloudformation list-change-sets --stack-name "$STACK_NAME" --query 'Summaries[0].ChangeSetName') || return
    owner=$(lookup cloudformation describe-change-set --stack-name "$STACK_NAME" --change-set-name "${name:-none}" \
      --query "Tags[?Key=='deployed-by'].Value | [0] || 'nobody'") || return
  fi
  echo "$owner"
}

print_plan() {
  say "Account $ACCOUNT, region $REGION, as $CALLER"
  say "Stack $STACK_NAME, function $FUNCTION_NAME ($MEMORY MB, Python $PYTHON_VERSION), ECR repository $REPOSITORY_NAME"
  say "POST /predict on stage $STAGE_NAME: authorization $AUTHORIZATION, API key $REQUIRE_API_KEY, at most $THROTTLE_RATE a second, CORS $CORS_ORIGIN"
}

# Set TAG, by what the image is made of, and DIGEST and MEDIA_TYPE, empty where the registry has no such image.
find_image() {
  step "look for the image of these files"
  docker pull --quiet --platform linux/amd64 "$BASE" >/dev/null 2>"$TEMPORARY/error" ||
    docker image inspect "$BASE" >/dev/null 2>&1 ||
    fail "cannot pull $BASE: $(tail -n 1 "$TEMPORARY/error")"
  TAG=$(image_content | git hash-object --stdin | cut -c1-16)
  read_image
}

image_content() {
  docker image inspect --format '{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}' "$BASE"
  echo "$PYTHON_VERSION"
  {
    printf '%s\n' Dockerfile .dockerignore
    sed -n 's/^!//p' .dockerignore | while read -r pattern; do compgen -G "$pattern"; done
  } | LC_ALL=C sort | git hash-object --no-filters --stdin-paths
}

read_image() {
  local image
  image=$(lookup ecr describe-images --repository-name "$REPOSITORY_NAME" --image-ids "imageTag=$TAG" \
    --query 'imageDetails[0].[imageDigest, imageManifestMediaType]')
  read -r DIGEST MEDIA_TYPE <<<"$image"
}

push_image() {
  step "build the image $TAG"
  # An image with attestations is an index of images, which Lambda refuses.
  BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform linux/amd64 --build-arg PYTHON_VERSION="$PYTHON_VERSION" --build-arg BASE="$BASE" \
    --tag "$IMAGE:$TAG" . >&2
  [[ $EXISTING == *"ECR repository"* ]] || create_repository
  step "push $IMAGE:$TAG"
  aws ecr get-login-password | docker login --username AWS --password-stdin "${IMAGE%%/*}" >/dev/null
  docker push "$IMAGE:$TAG" >&2
  read_image
}

create_repository() {
  step "create the ECR repository $REPOSITORY_NAME"
  # A call whose answer was lost is made again, and then says that the repository exists.
  aws ecr create-repository --repository-name "$REPOSITORY_NAME" --tags "Key=deployed-by,Value=$OWNER" \
    --image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true >/dev/null ||
    [[ $(find_existing) == *"$OWNER"$'\t'"ECR repository"* ]]
}

# Lambda takes one image, not an index of images for several platforms or with attestations.
check_manifest() {
  case $MEDIA_TYPE in
    application/vnd.docker.distribution.manifest.v2+json | application/vnd.oci.image.manifest.v1+json) ;;
    *)
      aws ecr batch-delete-image --repository-name "$REPOSITORY_NAME" --image-ids "imageTag=$TAG" >/dev/null
      fail "Docker pushed '$MEDIA_TYPE', and Lambda takes a single image only; it was removed again. Update Docker's buildx, or switch its containerd image store off, and deploy again"
      ;;
  esac
}

# Let Lambda, in this account only, pull images, and let ECR remove all but the live and the previous one.
configure_repository() {
  step "configure the ECR repository $REPOSITORY_NAME"
  local live previous="" rules
  live=$(stack "Parameters[?ParameterKey=='ImageUri'].ParameterValue | [0]")
  live=${live#*@}
  [[ $live != "$DIGEST" ]] || return 0
  aws ecr set-repository-policy --repository-name "$REPOSITORY_NAME" --policy-text '{"Version": "2012-10-17", "Statement": [{
    "Sid": "LambdaPull", "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
    "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    "Condition": {"StringEquals": {"aws:SourceAccount": "'"$ACCOUNT"'"},
      "ArnLike": {"aws:SourceArn": "arn:'"$PARTITION:lambda:$REGION:$ACCOUNT"':function:*"}}}]}' >/dev/null
  [[ -z $live ]] || previous=$(lookup ecr describe-images --repository-name "$REPOSITORY_NAME" \
    --image-ids "imageDigest=$live" --query 'imageDetails[0].imageTags[0]')
  rules=$(keep_rule 1 "$TAG")${previous:+$(keep_rule 2 "$previous")}
  # An image that a rule looks at cannot be removed by a later rule.
  aws ecr put-lifecycle-policy --repository-name "$REPOSITORY_NAME" --lifecycle-policy-text '{"rules": ['"$rules"'
    {"rulePriority": 3, "description": "remove the others after a day", "action": {"type": "expire"},
     "selection": {"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1}}]}' >/dev/null
}

keep_rule() {
  printf '{"rulePriority": %s, "description": "keep it", "action": {"type": "expire"}, "selection": {"tagStatus": "tagged",
    "tagPrefixList": ["%s"], "countType": "imageCountMoreThan", "countNumber": 1}},' "$@"
}

# Wait for what an earlier call began; set STATUS to what became of it.
wait_for_stack() {
  step "wait for the stack $STACK_NAME to be ready"
  local waiter
  STATUS=$(stack StackStatus)
  case $STATUS in
    CREATE_IN_PROGRESS | ROLLBACK_IN_PROGRESS) waiter="stack-create-complete" ;;
    DELETE_IN_PROGRESS) waiter="stack-delete-complete" ;;
    UPDATE_*IN_PROGRESS) waiter="stack-update-complete" ;;
    *) return 0 ;;
  esac
  aws cloudformation wait "$waiter" --stack-name "$STACK_NAME" || say "It did not succeed"
  STATUS=$(stack StackStatus)
}

# Clear away what an earlier call could not finish.
mend_stack() {
  case $STATUS in
    CREATE_FAILED | ROLLBACK_COMPLETE | ROLLBACK_FAILED | DELETE_FAILED) delete_stack ;;
    UPDATE_ROLLBACK_FAILED)
      aws cloudformation continue-update-rollback --stack-name "$STACK_NAME"
      aws cloudformation wait stack-rollback-complete --stack-name "$STACK_NAME"
      ;;
  esac
}

delete_stack() {
  aws cloudformation delete-stack --stack-name "$STACK_NAME" &&
    aws cloudformation wait stack-delete-complete --stack-name "$STACK_NAME"
}

deploy_stack() {
  step "deploy the stack $STACK_NAME"
  local parameters revision deployed
  parameters=(ImageUri="$IMAGE@$DIGEST" FunctionName="$FUNCTION_NAME" StageName="$STAGE_NAME" Memory="$MEMORY"
    Timeout="$TIMEOUT" ReservedConcurrency="$RESERVED_CONCURRENCY" ProvisionedConcurrency="$PROVISIONED_CONCURRENCY"
    ThrottleRate="$THROTTLE_RATE" ThrottleBurst="$THROTTLE_BURST" CorsOrigin="$CORS_ORIGIN"
    Authorization="$AUTHORIZATION" RequireApiKey="$REQUIRE_API_KEY" LogDays="$LOG_DAYS")
  revision=$({ cat template.yaml && printf '%s\n' "${parameters[@]}"; } | git hash-object --stdin | cut -c1-12)
  deployed=$(stack_output Revision)
  if [[ $deployed == "$revision" ]]; then
    say "Revision $revision is there already"
    return
  fi
  sed "s/REVISION/$revision/" template.yaml >"$TEMPORARY/template.yaml"
  aws cloudformation deploy --stack-name "$STACK_NAME" --template-file "$TEMPORARY/template.yaml" \
    --parameter-overrides "${parameters[@]}" --capabilities CAPABILITY_IAM --tags "deployed-by=$OWNER" >&2 || explain_failure
}

stack_output() { stack "Outputs[?OutputKey=='$1'].OutputValue | [0]"; }

explain_failure() {
  aws cloudformation describe-stack-events --stack-name "$STACK_NAME" --output text \
    --query "StackEvents[?contains(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]" | head -n 5 >&2
  fail "CloudFormation could not do it, for the reasons above"
}

# Set API and URL, empty where there is no API. A stand-in for AWS, at AWS_ENDPOINT_URL, serves the API under a path of its own.
read_endpoint() {
  local endpoint
  endpoint=$(stack "[Outputs[?OutputKey=='Api'].OutputValue | [0], Outputs[?OutputKey=='Url'].OutputValue | [0]]")
  read -r API URL <<<"$endpoint"
  [[ $API != None ]] || URL=""
  [[ -z $URL || -z ${AWS_ENDPOINT_URL-} ]] || URL=$AWS_ENDPOINT_URL/restapis/$API/$STAGE_NAME/_user_request_/predict
}

predict_photo() {
  read_endpoint
  step "ask $URL for the class of $PHOTO"
  printf '{"image": "%s"}' "$(base64 <"$PHOTO" | tr -d '\n')" >"$TEMPORARY/request"
  : >"$TEMPORARY/answer"
  local access
  access=$(print_access)
  # A new API answers after some seconds only.
  curl --silent --show-error --fail-with-body --retry 5 --retry-all-errors --max-time 35 --config <(echo "$access") \
    --header 'Content-Type: application/json' --data "@$TEMPORARY/request" --output "$TEMPORARY/answer" "$URL" \
    2>"$TEMPORARY/error" || show_logs
  [[ $(best_class <"$TEMPORARY/answer") == "$PHOTO_CLASS" ]] || show_logs
}

# Print the lines of a curl configuration that let this caller through to the API.
print_access() {
  local id key credentials
  if [[ $REQUIRE_API_KEY == true ]]; then
    id=$(stack_output ApiKey) || return
    key=$(aws apigateway get-api-key --api-key "$id" --include-value --query value --output text) || return
    echo "header = \"x-api-key: $key\""
  fi
  if [[ $AUTHORIZATION == AWS_IAM ]]; then
    if [[ -z ${AWS_ACCESS_KEY_ID-} ]]; then
      credentials=$(aws configure export-credentials --format env) || return
      eval "$credentials"
    fi
    echo "aws-sigv4 = \"aws:amz:$REGION:execute-api\""
    echo "user = \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\""
    [[ -z ${AWS_SESSION_TOKEN-} ]] || echo "header = \"x-amz-security-token: $AWS_SESSION_TOKEN\""
  fi
}

# Print the class with the highest score of a flat JSON object.
best_class() { tr -d '{}" ' | tr ',' '\n' | LC_ALL=C sort -t : -k 2 -g -r | head -n 1 | cut -d : -f 1; }

show_logs() {
  tail -n 1 "$TEMPORARY/error" >&2
  say "The API answered: $(head -c 1000 "$TEMPORARY/answer")"
  say "The last lines of $LOG_GROUP:"
  aws logs filter-log-events --log-group-name "$LOG_GROUP" --start-time "$(($(date +%s) - 300))000" \
    --query 'events[].[message]' --output text | sed '/^$/d' | tail -n 20 >&2
  fail "the deployed API does not see $PHOTO_CLASS in $PHOTO; all of it is still deployed"
}

print_result() {
  echo "$URL" >"$SAVED_ENDPOINT.new"
  mv "$SAVED_ENDPOINT.new" "$SAVED_ENDPOINT"
  say "It sees $PHOTO_CLASS. test.py now asks this API, and so does the page: make run, and then open"
  say "http://localhost:8081/?endpoint=$URL"
  say "For the lesson's client:"
  say "AWS_REGION=$REGION"
  say "API_NUMBER=$API"
  echo "$URL"
}

list_what_to_remove() {
  if [[ -z $EXISTING ]]; then
    say "Nothing of $STACK_NAME is in $REGION of account $ACCOUNT"
    exit
  fi
  say "This removes from $REGION of account $ACCOUNT, with all that is in it:"
  cut -f 2 <<<"$EXISTING" | sed 's/^/  /' >&2
  lookup cloudformation list-stack-resources --stack-name "$STACK_NAME" \
    --query "StackResourceSummaries[?ResourceStatus!='DELETE_COMPLETE'].[ResourceType, PhysicalResourceId]" | sed 's/^/    /' >&2
}

confirm() {
  local answer
  read -r -p "Remove it? [y/N] " answer || true
  [[ $answer == y ]] || refuse "nothing was removed; answer y or call it with --yes"
}

remove_stack() {
  wait_for_stack
  read_endpoint
  step "remove the stack $STACK_NAME"
  delete_stack || fail "CloudFormation could not remove: $(aws cloudformation list-stack-resources --stack-name "$STACK_NAME" \
    --query "StackResourceSummaries[?ResourceStatus!='DELETE_COMPLETE'].PhysicalResourceId" --output text)"
}

remove_repository() {
  [[ $EXISTING == *"ECR repository"* ]] || return 0
  step "remove the ECR repository $REPOSITORY_NAME"
  lookup ecr delete-repository --repository-name "$REPOSITORY_NAME" --force --query repository.createdAt >/dev/null
}

forget_endpoint() {
  [[ ! -f $SAVED_ENDPOINT || $(cat "$SAVED_ENDPOINT") != "$URL" ]] || rm "$SAVED_ENDPOINT"
}

list_leftovers() {
  step "look for leftovers"
  EXISTING=$(find_existing)
  [[ -z $EXISTING ]] || fail "still there: $(cut -f 2 <<<"$EXISTING")"
  say "All is removed from AWS. On this machine Docker may still hold images: docker image ls $IMAGE"
}

main "$@"
