#!/usr/bin/env bash
# From this checkout to a live POST /predict on AWS, and back to nothing.
#
#   ./deploy.sh                  build, push, try the new version, let it answer, and prove that with a photo
#   ./deploy.sh status           show what is deployed
#   ./deploy.sh rollback         let the version before answer again
#   ./deploy.sh destroy [--yes]  remove all that this script made
#
# Needs the AWS CLI (1 or 2) with credentials, curl, and to deploy also Docker and git. Progress goes to
# stderr, the address to stdout. Exit status 2: refused before anything was changed.
#
# Settings come from the environment; one that is not given stays as it is deployed. docs/deployment.md lists them.
# shellcheck disable=SC2153 # settle assigns the settings
set -Eeuo pipefail

readonly STACK_NAME="${STACK_NAME:-clothing-classifier}"
readonly REGION="${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region 2>/dev/null || true)}}"
readonly SERVICE_ROLE="${SERVICE_ROLE:-}"          # the role in which CloudFormation acts; empty: as the caller
readonly READY_SECONDS="${READY_SECONDS:-120}"     # how long a new endpoint or key may take to answer

readonly OWNER=clothing-classifier/$STACK_NAME # in the tag `deployed-by` of all that this script makes
readonly PHOTO=tests/photos/pants/pants-1.jpg PHOTO_CLASS=pants
readonly SAVED_ENDPOINT=.predict-url

main() {
  cd "$(dirname "$0")"
  TEMPORARY=$(mktemp -d)
  trap leave EXIT
  case "${1:-deploy}" in
    deploy) deploy ;;
    status) show_status ;;
    rollback) roll_back ;;
    destroy) destroy "${2:-}" ;;
    help | -h | --help) sed -n '2,/lists them/s/^# \{0,1\}//p' "${0##*/}" ;;
    *) refuse "'$1' is none of deploy, status, rollback, destroy" ;;
  esac
}

deploy() {
  check_tools aws docker curl git
  look
  check_combinations
  check_account
  check_docker
  check_curl
  check_owners
  print_plan
  find_image
  [[ -n $DIGEST ]] || push_image
  check_manifest
  wait_for_stack
  mend_stack
  make_version
  let_version_answer
  keep_images
  predict_photo
  remove_old_versions
  print_result
}

show_status() {
  check_tools aws
  look
  [[ -n $(of_stack StackStatus) ]] || fail "stack $STACK_NAME does not exist in $REGION of account $ACCOUNT"
  say "Stack $STACK_NAME in $REGION of account $ACCOUNT"
  sort "$TEMPORARY/stack" | sed 's/^/  /' >&2
  read_endpoint
  [[ -n $URL ]] || fail "the stack has no endpoint yet"
  echo "$URL"
}

roll_back() {
  check_tools aws curl
  look
  check_curl
  check_signing
  check_owners
  wait_for_stack
  put_back_version
  predict_photo
  print_result
}

destroy() {
  [[ $1 == "" || $1 == --yes ]] || refuse "'$1' is not --yes"
  check_tools aws
  look
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

# Learn who calls, what is deployed, and which settings hold.
look() {
  [[ -n $REGION ]] || refuse "no region; set AWS_REGION, such as AWS_REGION=eu-west-1"
  check_text STACK_NAME '^[A-Za-z][A-Za-z0-9-]{0,127}$'
  check_text SERVICE_ROLE '^(arn:[a-z-]+:iam::[0-9]{12}:role/.+)?$'
  # The AWS CLI 1 reads one of them, the AWS CLI 2 both.
  export AWS_REGION=$REGION AWS_DEFAULT_REGION=$REGION
  export AWS_PAGER="" AWS_RETRY_MODE="${AWS_RETRY_MODE:-standard}" AWS_MAX_ATTEMPTS="${AWS_MAX_ATTEMPTS:-6}"
  identify
  read_deployed
  settle_settings
  IMAGE=${REGISTRY:-$ACCOUNT.dkr.ecr.$REGION.amazonaws.com}/$REPOSITORY_NAME
  LOG_GROUP=/aws/lambda/$FUNCTION_NAME
}

identify() {
  local identity
  identity=$(aws sts get-caller-identity --query '[Account, Arn]' --output text 2>"$TEMPORARY/error") ||
    refuse "AWS accepts no credentials here; set or renew them. It says: $(tail -n 1 "$TEMPORARY/error")"
  read -r ACCOUNT CALLER <<<"$identity"
  PARTITION=$(cut -d: -f2 <<<"$CALLER")
  STEP="look at what is deployed"
}

# Write the stack's status, parameters and outputs to a file: on each line a name, a tab and a value.
read_stack() {
  stack "[[['StackStatus', StackStatus]], Parameters[].[ParameterKey, ParameterValue], Outputs[].[OutputKey, OutputValue]]" >"$TEMPORARY/stack"
}

# Print a value of the stack from that file, or nothing.
of_stack() { sed -n "s/^$1$(printf '\t')//p" "$TEMPORARY/stack"; }

# Write the deployed settings to a file, as lines such as MEMORY=768. Those of the live version come first and win,
# because a version that failed its trial leaves its parameters in the stack.
read_deployed() {
  read_stack
  local version=""
  [[ -z $(of_stack LiveVersion) ]] || version=$(lookup lambda get-function-configuration \
    --function-name "$(of_stack FunctionName)" --qualifier live --query Description)
  {
    tr ' ' '\n' <<<"$version" | sed -n '/=/p'
    awk -F '\t' '{ gsub(/[A-Z]/, "_&", $1); print toupper(substr($1, 2)) "=" $2 }' "$TEMPORARY/stack"
    of_stack ImageUri | sed -n 's|^[^/]*/\(.*\)@.*|REPOSITORY_NAME=\1|p'
  } >"$TEMPORARY/deployed"
}

deployed() { sed -n "s/^$1=//p" "$TEMPORARY/deployed" | head -n 1; }

settle_settings() {
  THROTTLE_IS_GIVEN=${THROTTLE_RATE-}${THROTTLE_BURST-}
  CHANGES=""
  #      name                    default         what it must match, or the least and the most
  settle FUNCTION_NAME           "$STACK_NAME"   '^[A-Za-z0-9_-]{1,64}$'
  settle REPOSITORY_NAME         "$STACK_NAME"   '^[a-z0-9]+([._/-][a-z0-9]+)*$'
  settle PYTHON_VERSION          3.13            '^3\.[0-9]+$'
  settle ARCHITECTURE            x86_64          '^(x86_64|arm64)$'
  settle MEMORY                  768             128 10240
  settle TIMEOUT                 15              1 28
  settle SNAPSTART               false           '^(true|false)$'
  settle RESERVED_CONCURRENCY    -1              -1 100000
  settle PROVISIONED_CONCURRENCY 0               0 100000
  settle ENDPOINT                rest            '^(rest|http|url)$'
  settle STAGE_NAME              test            '^[A-Za-z0-9_-]{1,128}$'
  settle THROTTLE_RATE           20              1 10000
  settle THROTTLE_BURST          10              1 5000
  settle CORS_ORIGIN             '*'             '^(\*|https?://[A-Za-z0-9.-]+(:[0-9]+)?)$'
  settle AUTHORIZATION           NONE            '^(NONE|AWS_IAM)$'
  settle REQUIRE_API_KEY         false           '^(true|false)$'
  settle ACCESS_LOGS             false           '^(true|false)$'
  settle LOG_DAYS                14              '^(1|3|5|7|14|30|60|90|120|150|180|365|400|545|731|1096|1827|2192|2557|2922|3288|3653)$'
  settle ALARM_EMAIL             none            '^(none|[^@ ]+@[^@ ]+)$'
  settle PERMISSIONS_BOUNDARY    none            '^(none|arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+)$'
  BASE=${BASE:-public.ecr.aws/lambda/python:$PYTHON_VERSION}
}

# Give a setting its value: the one that is given, else the deployed one, else the default.
settle() {
  local name=$1 default=$2 old
  old=$(deployed "$name")
  printf -v "$name" %s "${!name:-${old:-$default}}"
  if (($# == 3)); then check_text "$name" "$3"; else check_number "$name" "$3" "$4"; fi
  [[ -z $old || ${!name} == "$old" ]] || CHANGES+="  $name: $old → ${!name}"$'\n'
}

check_text() { [[ ${!1} =~ $2 ]] || refuse "$1 is '${!1}'; it must match $2"; }

check_number() {
  if ! [[ ${!1} =~ ^(-1|0|[1-9][0-9]{0,5})$ ]] || ((${!1} < $2 || ${!1} > $3)); then
    refuse "$1 is '${!1}'; it must be a number from $2 to $3"
  fi
}

# Refuse settings that exclude each other.
check_combinations() {
  [[ -z $(of_stack ImageUri) || $(cut -f 1 "$TEMPORARY/stack") == *VersionContent* ]] ||
    refuse "an older deploy.sh made the stack $STACK_NAME; choose another STACK_NAME, or run: ./deploy.sh destroy"
  [[ $CHANGES != *"FUNCTION_NAME:"* && $CHANGES != *"REPOSITORY_NAME:"* ]] ||
    refuse "a stack keeps its FUNCTION_NAME and REPOSITORY_NAME; choose another STACK_NAME for others"
  [[ -f requirements/python$PYTHON_VERSION.txt ]] || refuse "PYTHON_VERSION is '$PYTHON_VERSION', for which requirements/ has no lock"
  [[ $ARCHITECTURE == x86_64 || $PYTHON_VERSION != 3.8 ]] || refuse "ARCHITECTURE=arm64 needs a newer PYTHON_VERSION than 3.8"
  [[ $ENDPOINT == rest || $REQUIRE_API_KEY == false ]] || refuse "ENDPOINT=$ENDPOINT has no API keys; give REQUIRE_API_KEY=false or ENDPOINT=rest"
  [[ $ENDPOINT != url || -z $THROTTLE_IS_GIVEN ]] || refuse "ENDPOINT=url has no throttle; leave out THROTTLE_RATE and THROTTLE_BURST, or give ENDPOINT=http"
  [[ $ENDPOINT != url || $ACCESS_LOGS == false ]] || refuse "ENDPOINT=url has no access logs; give ACCESS_LOGS=false or ENDPOINT=http"
  [[ $SNAPSTART == false || $PYTHON_VERSION =~ ^3\.(1[2-9]|[2-9][0-9])$ ]] || refuse "SNAPSTART=true needs PYTHON_VERSION 3.12 or newer"
  [[ $SNAPSTART == false || $PROVISIONED_CONCURRENCY == 0 ]] || refuse "SNAPSTART=true and PROVISIONED_CONCURRENCY exclude each other; give SNAPSTART=false or PROVISIONED_CONCURRENCY=0"
  ((RESERVED_CONCURRENCY != 0)) || refuse "RESERVED_CONCURRENCY=0 lets the function never run; give -1 for no limit of its own"
  ((RESERVED_CONCURRENCY == -1 || PROVISIONED_CONCURRENCY <= RESERVED_CONCURRENCY)) ||
    refuse "PROVISIONED_CONCURRENCY=$PROVISIONED_CONCURRENCY is above RESERVED_CONCURRENCY=$RESERVED_CONCURRENCY; give as many at most"
  check_signing
}

# The request that proves the endpoint has to be signed, and the AWS CLI 1 does not hand out the keys of a profile.
check_signing() {
  [[ $AUTHORIZATION == NONE || -n ${AWS_ACCESS_KEY_ID-} ]] || aws configure export-credentials --format env >/dev/null 2>&1 ||
    refuse "AUTHORIZATION=AWS_IAM needs a signed proof, for which this AWS CLI does not tell a profile's keys; use the AWS CLI 2, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
}

# Refuse what the account's quotas cannot give. AWS keeps 10 executions that no function may reserve.
check_account() {
  local limits quota free taken role
  limits=$(lookup lambda get-account-settings --query 'AccountLimit.[ConcurrentExecutions, UnreservedConcurrentExecutions]')
  read -r quota free <<<"$limits"
  taken=$(deployed RESERVED_CONCURRENCY)
  ((${taken:--1} == -1)) || free=$((free + taken))
  ((RESERVED_CONCURRENCY == -1 || free - RESERVED_CONCURRENCY >= 10)) ||
    refuse "RESERVED_CONCURRENCY=$RESERVED_CONCURRENCY cannot be had: of the account's $quota executions $free are free, and 10 must stay so; give $(advise $((free - 10)) -1)"
  ((RESERVED_CONCURRENCY != -1 || PROVISIONED_CONCURRENCY == 0 || free - PROVISIONED_CONCURRENCY >= 10)) ||
    refuse "PROVISIONED_CONCURRENCY=$PROVISIONED_CONCURRENCY cannot be had: of the account's $quota executions $free are free, and 10 must stay so; give $(advise $((free - 10)) 0)"
  [[ $ENDPOINT == rest && $ACCESS_LOGS == true ]] || return 0
  role=$(lookup apigateway get-account --query cloudwatchRoleArn)
  [[ -n $role ]] ||
    refuse "ACCESS_LOGS=true needs a role by which API Gateway writes logs, once for the account and region: see docs/deployment.md, or give ENDPOINT=http"
}

advise() { if (($1 > 0)); then echo "$1 at most"; else echo "$2, or ask AWS for a higher quota"; fi; }

check_docker() {
  docker info >/dev/null 2>&1 || refuse "no Docker Engine answers; start Docker"
}

check_curl() {
  curl --fail-with-body --version >/dev/null 2>&1 || refuse "curl is older than 7.76; install a newer one"
}

# Print the answer of an aws command, or nothing if the thing does not exist.
lookup() {
  if aws "$@" --output text 2>"$TEMPORARY/error" >"$TEMPORARY/answer"; then
    sed '/^None$/d' "$TEMPORARY/answer"
  else
    grep -qE 'NotFoundException|Stack .* does not exist' "$TEMPORARY/error" || { cat "$TEMPORARY/error" >&2 && return 1; }
  fi
}

stack() { lookup cloudformation describe-stacks --stack-name "$STACK_NAME" --query "Stacks[0].$1"; }

# Refuse things that have one of our names but were made by something else; set EXISTING to those that are ours.
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

# A stack whose first change set was not executed has no tags yet; the change set has them. Without one it is empty.
stack_owner() {
  local stack status owner name
  stack=$(stack "[StackStatus, Tags[?Key=='deployed-by'].Value | [0] || 'nobody']") || return
  read -r status owner <<<"$stack"
  if [[ $status == REVIEW_IN_PROGRESS ]]; then
    owner=$OWNER
    name=$(lookup cloudformation list-change-sets --stack-name "$STACK_NAME" --query 'Summaries[0].ChangeSetName') || return
    [[ -z $name ]] ||
      owner=$(lookup cloudformation describe-change-set --stack-name "$STACK_NAME" --change-set-name "$name" \
        --query "Tags[?Key=='deployed-by'].Value | [0] || 'nobody'") || return
  fi
  echo "$owner"
}

print_plan() {
  say "Account $ACCOUNT, region $REGION, as $CALLER"
  say "Stack $STACK_NAME, function $FUNCTION_NAME ($MEMORY MB, Python $PYTHON_VERSION, $ARCHITECTURE), ECR repository $REPOSITORY_NAME"
  case $ENDPOINT in
    rest) say "POST /predict on stage $STAGE_NAME of a REST API: authorization $AUTHORIZATION, API key $REQUIRE_API_KEY, at most $THROTTLE_RATE a second, CORS $CORS_ORIGIN" ;;
    http) say "POST /predict on stage $STAGE_NAME of an HTTP API: authorization $AUTHORIZATION, at most $THROTTLE_RATE a second, CORS $CORS_ORIGIN" ;;
    url) say "A function URL: authorization $AUTHORIZATION, no throttle, CORS $CORS_ORIGIN" ;;
  esac
  [[ $ALARM_EMAIL == none ]] || say "Alarms go to $ALARM_EMAIL, once the link in AWS's mail to it was followed"
  ((MEMORY <= 3008)) || say "A new account may be limited to 3,008 MB; if AWS refuses $MEMORY, ask it for more or give MEMORY=3008"
  [[ -z $CHANGES ]] || say "Changed settings:"$'\n'"${CHANGES%$'\n'}"
}

# Set TAG, a hash of the image's files, and DIGEST and MEDIA_TYPE, which are empty if the registry has no such image.
find_image() {
  step "look for the image of these files"
  docker pull --quiet --platform "$(platform)" "$BASE" >/dev/null 2>"$TEMPORARY/error" ||
    docker image inspect "$BASE" >/dev/null 2>&1 ||
    fail "cannot pull $BASE: $(tail -n 1 "$TEMPORARY/error")"
  TAG=$(image_content | git hash-object --stdin | cut -c1-16)
  read_image
}

platform() { if [[ $ARCHITECTURE == arm64 ]]; then echo linux/arm64; else echo linux/amd64; fi; }

image_content() {
  docker image inspect --format '{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}' "$BASE"
  echo "$PYTHON_VERSION $ARCHITECTURE"
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
  local load=""
  ! docker buildx version >/dev/null 2>&1 || load=--load # else a builder in a container keeps the image
  # An image with attestations is an index of images, which Lambda refuses.
  BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build $load --platform "$(platform)" --build-arg PYTHON_VERSION="$PYTHON_VERSION" \
    --build-arg BASE="$BASE" --tag "$IMAGE:$TAG" . >&2
  [[ $EXISTING == *"ECR repository"* ]] || create_repository
  step "push $IMAGE:$TAG"
  aws ecr get-login-password | docker login --username AWS --password-stdin "${IMAGE%%/*}" >/dev/null
  docker push "$IMAGE:$TAG" >&2
  read_image
}

create_repository() {
  step "create the ECR repository $REPOSITORY_NAME"
  # If the answer of the first call was lost, the second call says that the repository exists.
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

# Let Lambda, for functions of this account only, pull images.
let_lambda_pull() {
  step "let Lambda pull from the ECR repository $REPOSITORY_NAME"
  aws ecr set-repository-policy --repository-name "$REPOSITORY_NAME" --policy-text '{"Version": "2012-10-17", "Statement": [{
    "Sid": "LambdaPull", "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
    "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    "Condition": {"ArnLike": {"aws:SourceArn": "arn:'"$PARTITION:lambda:$REGION:$ACCOUNT"':function:*"}}}]}' >/dev/null
}

# Let ECR remove all images but those of the live version and of the one before.
keep_images() {
  local tags kept
  tags=$(image_tags | awk '!seen[$0]++')
  kept=$(lookup ecr get-lifecycle-policy --repository-name "$REPOSITORY_NAME" --query lifecyclePolicyText |
    tr -d ' \n' | grep -oE 'tagPrefixList":\["[^"]+' | cut -d '"' -f 3 || true)
  [[ $kept != "$tags" ]] || return 0
  step "keep the images $(tr '\n' ' ' <<<"$tags")"
  local rules="" priority=0 tag
  for tag in $tags; do
    priority=$((priority + 1))
    rules+=$(keep_rule "$priority" "$tag")
  done
  # An image that a rule looks at cannot be removed by a later rule.
  aws ecr put-lifecycle-policy --repository-name "$REPOSITORY_NAME" --lifecycle-policy-text '{"rules": ['"$rules"'
    {"rulePriority": 3, "description": "remove the others after a day", "action": {"type": "expire"},
     "selection": {"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1}}]}' >/dev/null
}

# Print the tag of the live version's image, and of that before.
image_tags() {
  local version image
  for version in $(of_stack LiveVersion) $(of_stack PreviousVersion); do
    image=$(lookup lambda get-function --function-name "$FUNCTION_NAME" --qualifier "$version" --query 'Code.ResolvedImageUri || Code.ImageUri') || return
    lookup ecr describe-images --repository-name "$REPOSITORY_NAME" --image-ids "imageDigest=${image#*@}" --query 'imageDetails[0].imageTags[0]' || return
  done
}

keep_rule() {
  printf '{"rulePriority": %s, "description": "keep it", "action": {"type": "expire"}, "selection": {"tagStatus": "tagged",
    "tagPrefixList": ["%s"], "countType": "imageCountMoreThan", "countNumber": 1}},' "$@"
}

# Wait until the stack is settled, if an earlier call began to change it.
wait_for_stack() {
  step "wait for the stack $STACK_NAME to be ready"
  local waiter
  read_stack
  case $(of_stack StackStatus) in
    CREATE_IN_PROGRESS | ROLLBACK_IN_PROGRESS) waiter="stack-create-complete" ;;
    DELETE_IN_PROGRESS) waiter="stack-delete-complete" ;;
    UPDATE_*IN_PROGRESS) waiter="stack-update-complete" ;;
    *) return 0 ;;
  esac
  aws cloudformation wait "$waiter" --stack-name "$STACK_NAME" || say "It did not succeed"
  read_stack
}

# Clean up a change that an earlier call could not finish.
mend_stack() {
  case $(of_stack StackStatus) in
    CREATE_FAILED | ROLLBACK_COMPLETE | ROLLBACK_FAILED | DELETE_FAILED) delete_stack ;;
    UPDATE_ROLLBACK_FAILED)
      aws cloudformation continue-update-rollback --stack-name "$STACK_NAME" ${SERVICE_ROLE:+--role-arn "$SERVICE_ROLE"}
      aws cloudformation wait stack-rollback-complete --stack-name "$STACK_NAME"
      ;;
  esac
}

delete_stack() {
  aws cloudformation delete-stack --stack-name "$STACK_NAME" ${SERVICE_ROLE:+--role-arn "$SERVICE_ROLE"} &&
    aws cloudformation wait stack-delete-complete --stack-name "$STACK_NAME"
}

# Make sure that a version with these files and settings exists and was tried with the photo; set VERSION to its number.
make_version() {
  read_deployed
  local cors_header=none
  [[ $ENDPOINT != rest ]] || cors_header=$CORS_ORIGIN
  OF_VERSION=(ImageUri="$IMAGE@$DIGEST" FunctionName="$FUNCTION_NAME" CorsHeader="$cors_header" PythonVersion="$PYTHON_VERSION"
    Architecture="$ARCHITECTURE" Memory="$MEMORY" Timeout="$TIMEOUT" Snapstart="$SNAPSTART")
  OF_ENDPOINT=(ReservedConcurrency="$RESERVED_CONCURRENCY" ProvisionedConcurrency="$PROVISIONED_CONCURRENCY" Endpoint="$ENDPOINT"
    StageName="$STAGE_NAME" ThrottleRate="$THROTTLE_RATE" ThrottleBurst="$THROTTLE_BURST" CorsOrigin="$CORS_ORIGIN"
    Authorization="$AUTHORIZATION" RequireApiKey="$REQUIRE_API_KEY" AccessLogs="$ACCESS_LOGS" LogDays="$LOG_DAYS" AlarmEmail="$ALARM_EMAIL"
    PermissionsBoundary="$PERMISSIONS_BOUNDARY")
  OF_VERSION+=(VersionContent="$(hash_template "${OF_VERSION[@]}")")
  VERSION=$(of_stack LiveVersion)
  if [[ ${OF_VERSION[8]} == "VersionContent=$(deployed CONTENT)" ]]; then
    say "Version $VERSION is of these files and settings"
    return
  fi
  let_lambda_pull
  if [[ ${OF_VERSION[8]} != "VersionContent=$(of_stack VersionContent)" ]]; then
    step "update the function $FUNCTION_NAME"
    # The endpoint keeps its settings until the version was tried. Without an endpoint, the stack only records them.
    if [[ -n $VERSION ]]; then deploy_stack "${OF_VERSION[@]}"; else deploy_stack "${OF_VERSION[@]}" "${OF_ENDPOINT[@]}"; fi
  fi
  step "publish a version of the function $FUNCTION_NAME"
  VERSION=$(aws lambda publish-version --function-name "$FUNCTION_NAME" --query Version --output text)
  aws lambda wait published-version-active --function-name "$FUNCTION_NAME" --qualifier "$VERSION"
  try_version
}

# The trial does not use the endpoint, which still calls the previous version.
try_version() {
  step "try version $VERSION with $PHOTO"
  write_request
  aws lambda invoke --function-name "$FUNCTION_NAME" --qualifier "$VERSION" --payload "fileb://$TEMPORARY/request" \
    "$TEMPORARY/answer" >/dev/null 2>"$TEMPORARY/error" || show_logs "version $VERSION could not be tried"
  [[ $(best_class <"$TEMPORARY/answer") == "$PHOTO_CLASS" ]] ||
    show_logs "version $VERSION does not see $PHOTO_CLASS in $PHOTO, and answers nobody; what was deployed before goes on"
}

let_version_answer() {
  step "deploy the stack $STACK_NAME with version $VERSION"
  local live previous
  live=$(of_stack LiveVersion)
  previous=$(of_stack PreviousVersion)
  [[ $VERSION == "$live" ]] || previous=$live
  deploy_stack "${OF_VERSION[@]}" "${OF_ENDPOINT[@]}" LiveVersion="$VERSION" PreviousVersion="$previous"
}

# Move the alias and nothing else. PreviousVersion stays as it is, so that a second call after a killed one continues
# and does not swap the versions again.
put_back_version() {
  local live previous parameters=() key keys
  live=$(of_stack LiveVersion)
  previous=$(of_stack PreviousVersion)
  [[ -n $previous ]] || refuse "no version was live before; there is nothing to put back"
  step "put back version $previous"
  if [[ $live == "$previous" ]]; then
    say "Version $live is live already"
    return
  fi
  mend_stack
  keys=$(stack 'Parameters[].[ParameterKey]')
  for key in $keys; do
    if [[ $key == LiveVersion ]]; then
      parameters+=("ParameterKey=$key,ParameterValue=$previous")
    else
      parameters+=("ParameterKey=$key,UsePreviousValue=true")
    fi
  done
  remember_events
  aws cloudformation update-stack --stack-name "$STACK_NAME" --use-previous-template --parameters "${parameters[@]}" \
    --capabilities CAPABILITY_IAM ${SERVICE_ROLE:+--role-arn "$SERVICE_ROLE"} >/dev/null
  aws cloudformation wait stack-update-complete --stack-name "$STACK_NAME" || explain_failure
  read_stack
}

# Print a hash of the template and of parameters.
hash_template() { { cat template.yaml && printf '%s\n' "$@"; } | git hash-object --stdin | cut -c1-12; }

# Give the stack this template and these parameters, unless it has them. Other parameters keep their values.
deploy_stack() {
  local revision
  revision=$(hash_template "$@")
  if [[ $(of_stack Revision) == "$revision-$VERSION" ]]; then
    say "Revision $revision is there already"
    return
  fi
  sed "s/REVISION/$revision/" template.yaml >"$TEMPORARY/template.yaml"
  remember_events
  aws cloudformation deploy --stack-name "$STACK_NAME" --template-file "$TEMPORARY/template.yaml" --parameter-overrides "$@" \
    --capabilities CAPABILITY_IAM --tags "deployed-by=$OWNER" ${SERVICE_ROLE:+--role-arn "$SERVICE_ROLE"} >&2 || explain_failure
  read_stack
}

remember_events() {
  LAST_EVENT=$(lookup cloudformation describe-stack-events --stack-name "$STACK_NAME" --no-paginate --query 'StackEvents[0].EventId')
}

# Show the failures since remember_events, except resources that were cancelled because of them; the cause comes last.
explain_failure() {
  aws cloudformation describe-stack-events --stack-name "$STACK_NAME" --no-paginate --output text \
    --query 'StackEvents[].[EventId, ResourceStatus, LogicalResourceId, ResourceStatusReason]' |
    awk -F '\t' -v last="$LAST_EVENT" '$1 == last { old = 1 } !old && $2 ~ /FAILED/ && $4 !~ /cancelled/ { print $3 "\t" $4 }' | tail -n 5 >&2
  fail "CloudFormation could not do it, for the reasons above"
}

# Set API and URL, empty where there is no endpoint. A stand-in for AWS, at AWS_ENDPOINT_URL, serves it under a path of its own.
read_endpoint() {
  API=$(of_stack Api)
  URL=$(of_stack Url)
  [[ -n $URL && -n ${AWS_ENDPOINT_URL-} ]] || return 0
  case $URL in
    *.lambda-url.*) URL=$AWS_ENDPOINT_URL/_aws/lambda-url/$API/predict ;;
    *) URL=$AWS_ENDPOINT_URL/restapis/$API/$STAGE_NAME/_user_request_/predict ;;
  esac
}

write_request() {
  printf '{"image": "%s"}' "$(base64 <"$PHOTO" | tr -d '\n')" >"$TEMPORARY/request"
  : >"$TEMPORARY/answer"
}

predict_photo() {
  read_endpoint
  step "ask $URL for the class of $PHOTO"
  write_request
  local access
  access=$(print_access)
  # A new endpoint or key needs seconds or minutes until it answers.
  curl --silent --show-error --fail-with-body --retry 100 --retry-delay 3 --retry-max-time "$READY_SECONDS" --retry-all-errors \
    --max-time 35 --config <(echo "$access") --header 'Content-Type: application/json' --data "@$TEMPORARY/request" \
    --output "$TEMPORARY/answer" "$URL" 2>"$TEMPORARY/error" && [[ $(best_class <"$TEMPORARY/answer") == "$PHOTO_CLASS" ]] ||
    show_logs "the endpoint does not see $PHOTO_CLASS in $PHOTO; it is still there. ./deploy.sh rollback puts back the version before"
}

# Print the lines of a curl configuration that authenticate this caller to the API.
print_access() {
  local id key credentials
  id=$(of_stack ApiKey)
  if [[ -n $id ]]; then
    key=$(aws apigateway get-api-key --api-key "$id" --include-value --query value --output text) || return
    echo "header = \"x-api-key: $key\""
  fi
  if [[ $AUTHORIZATION == AWS_IAM ]]; then
    if [[ -z ${AWS_ACCESS_KEY_ID-} ]]; then
      credentials=$(aws configure export-credentials --format env) || return
      eval "$credentials"
    fi
    local service=execute-api
    [[ $ENDPOINT != url ]] || service=lambda
    echo "aws-sigv4 = \"aws:amz:$REGION:$service\""
    echo "user = \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\""
    [[ -z ${AWS_SESSION_TOKEN-} ]] || echo "header = \"x-amz-security-token: $AWS_SESSION_TOKEN\""
  fi
}

# Print the class with the highest score of a flat JSON object.
best_class() { tr -d '{}" ' | tr ',' '\n' | LC_ALL=C sort -t : -k 2 -g -r | head -n 1 | cut -d : -f 1; }

# Fail with a sentence, after the answer and the function's log.
show_logs() {
  tail -n 1 "$TEMPORARY/error" >&2
  say "The answer was: $(head -c 1000 "$TEMPORARY/answer")"
  say "The last lines of $LOG_GROUP:"
  aws logs filter-log-events --log-group-name "$LOG_GROUP" --start-time "$(($(date +%s) - 300))000" \
    --query 'events[].[message]' --output text | sed '/^$/d' | tail -n 20 >&2
  fail "$1"
}

# Remove all versions but the live one and the one before.
remove_old_versions() {
  local versions version
  versions=$(lookup lambda list-versions-by-function --function-name "$FUNCTION_NAME" --query "Versions[?Version!='\$LATEST'].Version")
  for version in $versions; do
    [[ $version == "$(of_stack LiveVersion)" || $version == "$(of_stack PreviousVersion)" ]] && continue
    step "remove version $version"
    lookup lambda delete-function --function-name "$FUNCTION_NAME" --qualifier "$version" >/dev/null
  done
}

print_result() {
  echo "$URL" >"$SAVED_ENDPOINT.new"
  mv "$SAVED_ENDPOINT.new" "$SAVED_ENDPOINT"
  say "Version $(of_stack LiveVersion) sees $PHOTO_CLASS. test.py now asks it, and so does the page: make run, and then open"
  say "http://localhost:8081/?endpoint=$URL"
  if [[ $ENDPOINT != url ]]; then
    say "For the lesson's client:"
    say "AWS_REGION=$REGION"
    say "API_NUMBER=$API"
  fi
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
