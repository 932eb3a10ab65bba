"""deploy.sh, from an empty account to a live API and back, against ministack and a real Docker Engine."""

import json

import check_readme
import pytest
import requests
from conftest import GOOD, ROOT, TROUSERS
from playwright.sync_api import expect

pytest_plugins = ["rehearsal"]

NAME = "clothing-classifier"
ORIGIN = "Access-Control-Allow-Origin"
OURS = {"deployed-by": f"clothing-classifier/{NAME}"}


@pytest.fixture
def live(account):
    """The account with this checkout deployed to it, with default settings."""
    account.proxy.reset()
    if not account.is_live:
        account.copy_checkout()
        result = account.deploy()
        assert result.status == 0, result.errors
    account.proxy.reset()
    return account


def post(url, request, **headers):
    return requests.post(url, json=request, headers=headers, timeout=60)


def parameters(account):
    """Return the parameters of the live stack."""
    (stack,) = account.aws("cloudformation", "describe-stacks", "--stack-name", NAME)["Stacks"]
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack["Parameters"]}


def resources(account):
    """Return {logical id: physical id} of the live stack; revisions are cut off from the logical ids."""
    listed = account.aws("cloudformation", "list-stack-resources", "--stack-name", NAME)["StackResourceSummaries"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}


def image_tags(account):
    images = account.aws("ecr", "describe-images", "--repository-name", NAME)["imageDetails"]
    return {tag for image in images for tag in image["imageTags"]}


def kept_tags(account):
    """Return the tags that the repository's lifecycle policy keeps, the live image's first."""
    policy = account.aws("ecr", "get-lifecycle-policy", "--repository-name", NAME)["lifecyclePolicyText"]
    *keep, others = json.loads(policy)["rules"]
    assert others["selection"]["tagStatus"] == "any"
    return [tag for rule in keep for tag in rule["selection"]["tagPrefixList"]]


def test_a_fresh_deployment_is_proved_and_test_py_asks_it(empty):
    result = empty.deploy()
    assert result.status == 0, result.errors
    assert result.output == empty.url + "\n"
    assert "\nAWS_REGION=eu-west-1\n" in result.errors
    assert f"\nAPI_NUMBER={resources(empty)['Api']}\n" in result.errors
    assert f"/?endpoint={empty.url}\n" in result.errors
    assert "predict" in empty.proxy.calls
    client = empty.client()
    assert client.stdout.splitlines()[-1] == "pants", client.stderr


def test_the_readmes_commands_print_what_it_shows(empty):
    (empty.checkout / ".venv").symlink_to(ROOT / ".venv")
    (empty.checkout / "my-photo.jpg").symlink_to(TROUSERS)
    commands = list(check_readme.commands(check_readme.sections()[check_readme.AWS_SECTION]))
    region = dict(pair.split("=") for pair in commands[0].text.split()[1:])
    for command in commands[1:]:
        if not command.text.startswith(("export PREDICT_API_KEY", "make test-aws")):
            check_readme.check(command, empty.checkout, **{**empty.environ, **region})
    assert empty.aws("cloudformation", "describe-stacks")["Stacks"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "", "{}", (400, "missing_input")),
        ("POST", "", "{", (400, "invalid_json")),
        ("POST", "", '{"image": "AAAA"}', (415, "unsupported_format")),
        ("POST", "", '{"url": "ftp://example.com/a.jpg"}', (400, "unsupported_scheme")),
        ("POST", "tions", "{}", (403, "MISSING_AUTHENTICATION_TOKEN")),
        ("GET", "", None, (403, "MISSING_AUTHENTICATION_TOKEN")),
    ],
)
def test_a_bad_request_gets_its_4xx_which_a_browser_may_read(live, method, path, body, expected):
    answer = requests.request(method, live.url + path, data=body, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == expected
    assert answer.json()["error"]["message"]
    assert answer.headers[ORIGIN] == "*"


def test_scores_may_be_read_by_a_browser_after_its_preflight(live):
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    preflight = requests.options(live.url, headers=asked, timeout=60)
    assert preflight.status_code == 204
    assert preflight.headers[ORIGIN] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in preflight.headers["Access-Control-Allow-Headers"]
    answer = post(live.url, GOOD, Origin="https://example.com")
    assert max(answer.json(), key=answer.json().get) == "pants"
    assert answer.headers[ORIGIN] == "*"


def test_the_page_on_another_host_shows_what_the_api_answers(live, browser, page_elsewhere):
    page = browser.new_page()
    page.goto(f"{page_elsewhere}?endpoint={live.url}")
    page.click("#samples img[src*=hat]")
    expect(page.locator("#status")).to_contain_text("hat, ", timeout=60_000)
    expect(page.locator("#times")).to_contain_text("inference")
    page.set_input_files("#file", {"name": "photo", "mimeType": "", "buffer": b"no photo"})
    expect(page.locator("#error")).to_contain_text("The photo is none of JPEG")
    page.close()


def test_a_fault_of_the_api_may_be_read_by_a_browser(live):
    """The stand-in does not send its 5xx through this, as AWS does."""
    response = ["get-gateway-response", "--rest-api-id", resources(live)["Api"], "--response-type", "DEFAULT_5XX"]
    headers = live.aws("apigateway", *response)["responseParameters"]
    assert headers[f"gatewayresponse.header.{ORIGIN}"] == "'*'"


def test_the_repository_scans_keeps_its_tags_and_lets_only_this_accounts_lambda_pull(live):
    (repository,) = live.aws("ecr", "describe-repositories", "--repository-names", NAME)["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"]["scanOnPush"] is True
    policy = json.loads(live.aws("ecr", "get-repository-policy", "--repository-name", NAME)["policyText"])
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": repository["registryId"]}


def test_the_function_may_only_write_its_logs_and_only_this_api_may_call_it(live):
    names = resources(live)
    assert live.aws("iam", "list-attached-role-policies", "--role-name", names["Role"])["AttachedPolicies"] == []
    (policy,) = live.aws("iam", "list-role-policies", "--role-name", names["Role"])["PolicyNames"]
    role = live.aws("iam", "get-role-policy", "--role-name", names["Role"], "--policy-name", policy)
    (statement,) = role["PolicyDocument"]["Statement"]
    assert sorted(statement["Action"]) == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert f":log-group:/aws/lambda/{NAME}:" in statement["Resource"]
    (caller,) = json.loads(live.aws("lambda", "get-policy", "--function-name", NAME)["Policy"])["Statement"]
    assert caller["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert caller["Condition"]["ArnLike"]["AWS:SourceArn"].endswith(f":{names['Api']}/*/POST/predict")


def test_logs_end_requests_are_throttled_alarms_watch_and_all_is_tagged(live):
    names = resources(live)
    (group,) = live.aws("logs", "describe-log-groups", "--log-group-name-prefix", f"/aws/lambda/{NAME}")["logGroups"]
    assert group["retentionInDays"] == 14
    stage = live.aws("apigateway", "get-stage", "--rest-api-id", names["Api"], "--stage-name", "test")
    (settings,) = stage["methodSettings"].values()
    assert (settings["throttlingRateLimit"], settings["throttlingBurstLimit"]) == (20, 10)
    alarms = live.aws("cloudwatch", "describe-alarms")["MetricAlarms"]
    watched = {alarm["MetricName"]: {d["Name"]: d["Value"] for d in alarm["Dimensions"]} for alarm in alarms}
    assert watched == {"5XXError": {"ApiName": NAME, "Stage": "test"}, "Throttles": {"FunctionName": NAME}}
    function = live.aws("lambda", "get-function", "--function-name", NAME)
    api = live.aws("apigateway", "get-rest-api", "--rest-api-id", names["Api"])
    role = live.aws("iam", "list-role-tags", "--role-name", names["Role"])["Tags"]
    for tags in (function["Tags"], stage["tags"], api["tags"], {tag["Key"]: tag["Value"] for tag in role}):
        assert tags.items() >= OURS.items()


def test_a_second_deployment_changes_nothing(live):
    before = resources(live), parameters(live), image_tags(live), kept_tags(live)
    live.proxy.reset()
    result = live.deploy()
    assert result.status == 0, result.errors
    assert live.proxy.changes() == []
    assert "build" not in result.errors
    assert (resources(live), parameters(live), image_tags(live), kept_tags(live)) == before


def test_status_shows_what_is_deployed_and_fails_where_nothing_is(live):
    result = live.deploy("status")
    assert (result.status, result.output) == (0, live.url + "\n")
    assert "Memory\t768" in result.errors
    assert live.proxy.changes() == []
    nothing = live.deploy("status", STACK_NAME="nothing")
    assert (nothing.status, nothing.output) == (1, "")


def test_a_change_of_code_is_deployed_and_the_image_before_it_is_kept(live):
    (former,) = image_tags(live) & {kept_tags(live)[0]}
    live.edit("image_source.py", "Send {", "Now send {")
    result = live.deploy()
    assert result.status == 0, result.errors
    assert "Now send" in post(live.url, {}).json()["error"]["message"]
    assert former in image_tags(live)
    assert kept_tags(live)[1:] == [former]


def test_a_prediction_that_fails_is_told_with_the_functions_log_and_not_saved(live):
    saved = live.url
    fault = 'import os\n\nif "AWS_LAMBDA_FUNCTION_NAME" in os.environ:\n    raise OSError("no such luck")\n'
    live.edit("interpreter.py", "import os\n", fault)
    (live.checkout / ".predict-url").write_text("before\n")
    result = live.deploy()
    assert (result.status, result.output) == (1, "")
    assert "no such luck" in result.errors
    assert result.errors.splitlines()[-1].startswith("deploy.sh: ")
    assert live.url == "before"
    assert post(saved, GOOD).status_code == 502
    live.copy_checkout()
    assert live.deploy().output == saved + "\n"


def test_the_image_is_built_for_lambdas_processor_and_without_attestations(live, tmp_path):
    wrapper = tmp_path / "docker"
    wrapper.write_text(
        '#!/bin/sh\necho "$BUILDX_NO_DEFAULT_ATTESTATIONS $*" >>"${0%/*}/calls"\nPATH=${PATH#*:}\nexec docker "$@"\n'
    )
    wrapper.chmod(0o755)
    live.edit("interpreter.py", "import os\n", "import os\n\n")
    result = live.deploy(PATH=f"{tmp_path}:{live.environ['PATH']}")
    assert result.status == 0, result.errors
    assert "\n1 build --platform linux/amd64 " in (tmp_path / "calls").read_text()


def test_an_answer_with_another_class_is_a_failure(live):
    live.edit("deploy.sh", "PHOTO_CLASS=pants", "PHOTO_CLASS=hat")
    result = live.deploy()
    assert (result.status, result.output) == (1, "")
    assert "does not see hat" in result.errors


def test_an_api_key_an_origin_and_other_sizes(live):
    url = live.url
    settings = {"REQUIRE_API_KEY": "true", "CORS_ORIGIN": "https://example.com", "MEMORY": "1024"}
    result = live.deploy(**settings, RESERVED_CONCURRENCY="3", TIMEOUT="20", LOG_DAYS="3", THROTTLE_RATE="5")
    assert result.status == 0, result.errors
    assert live.client().returncode == 1
    refused = post(url, GOOD)
    assert (refused.status_code, refused.headers[ORIGIN]) == (403, "https://example.com")
    assert requests.options(url, timeout=60).headers[ORIGIN] == "https://example.com"
    key = live.aws("apigateway", "get-api-key", "--api-key", resources(live)["ApiKey"], "--include-value")["value"]
    assert key not in result.errors + result.output
    client = live.client(PREDICT_API_KEY=key)
    assert client.stdout.splitlines()[-1] == "pants", client.stderr
    assert post(url, GOOD, **{"x-api-key": key}).headers[ORIGIN] == "https://example.com"
    function = live.aws("lambda", "get-function", "--function-name", NAME)
    assert (function["Configuration"]["MemorySize"], function["Configuration"]["Timeout"]) == (1024, 20)
    assert parameters(live)["ReservedConcurrency"] == "3"  # the stand-in reserves nothing
    # Without the settings the API is open again, as the defaults have it.
    assert live.deploy().status == 0
    assert post(url, GOOD).status_code == 200


def test_iam_authorization_and_provisioned_concurrency(live):
    url = live.url
    settings = {"AUTHORIZATION": "AWS_IAM", "PROVISIONED_CONCURRENCY": "1"}
    result = live.deploy(**settings)
    assert result.status == 0, result.errors
    assert post(url, GOOD).status_code == 403
    assert requests.options(url, timeout=60).status_code == 204
    concurrency = ["get-provisioned-concurrency-config", "--function-name", NAME, "--qualifier", "live"]
    assert live.aws("lambda", *concurrency)["RequestedProvisionedConcurrentExecutions"] == 1
    former = live.aws("lambda", "get-alias", "--function-name", NAME, "--name", "live")["FunctionVersion"]
    live.edit("image_source.py", "Send {", "Now send {")
    assert live.deploy(**settings).status == 0
    assert live.aws("lambda", "get-alias", "--function-name", NAME, "--name", "live")["FunctionVersion"] != former
    signed = post(url, {}, Authorization="AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/execute-api/aws4_request")
    assert "Now send" in signed.json()["error"]["message"]


def test_other_names_stand_beside_the_first_and_go_alone(live):
    names = {
        "STACK_NAME": "second",
        "FUNCTION_NAME": "second_function",
        "REPOSITORY_NAME": "second/images",
        "STAGE_NAME": "v1",
    }
    first = live.url
    result = live.deploy(**names)
    assert result.status == 0, result.errors
    assert "/v1/" in live.url
    assert live.deploy("destroy", "--yes", **names).status == 0
    assert not (live.checkout / ".predict-url").exists()
    assert post(first, GOOD).status_code == 200


REPOSITORY = "ecr create-repository --repository-name theirs"
GROUP = "logs create-log-group --log-group-name /aws/lambda/theirs"
STACK = 'cloudformation create-stack --stack-name theirs --template-body {"Resources":{"T":{"Type":"AWS::SNS::Topic"}}}'
FUNCTION = (
    "lambda create-function --function-name theirs --package-type Image --code ImageUri=x:y "
    "--role arn:aws:iam::000000000000:role/theirs"
)


@pytest.mark.parametrize("command", [[], ["destroy", "--yes"]])
@pytest.mark.parametrize(
    ("creation", "name"),
    [
        (REPOSITORY, "ECR repository theirs"),
        (GROUP, "log group /aws/lambda/theirs"),
        (STACK, "CloudFormation stack theirs"),
        (FUNCTION, "Lambda function theirs"),
    ],
)
def test_what_something_else_made_is_refused_by_name(account, command, creation, name):
    account.aws(*creation.split())
    account.proxy.reset()
    try:
        result = account.deploy(*command, STACK_NAME="theirs")
        assert (result.status, result.output) == (2, "")
        assert name in result.errors.splitlines()[-1]
        assert account.proxy.changes() == []
    finally:
        account.aws(*creation.replace("create-", "delete-").split()[:4])


def test_a_stack_that_something_else_is_about_to_make_is_refused_by_name(account):
    stack = ["--stack-name", "theirs", "--template-body", STACK.rsplit(maxsplit=1)[-1]]
    account.aws(
        "cloudformation", "create-change-set", *stack, "--change-set-name", "first", "--change-set-type", "CREATE"
    )
    for command in ([], ["destroy", "--yes"]):
        result = account.deploy(*command, STACK_NAME="theirs")
        assert (result.status, result.output) == (2, "")
        assert "CloudFormation stack theirs" in result.errors
    account.aws("cloudformation", "delete-stack", "--stack-name", "theirs")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": None}, "credentials"),
        ({"AWS_REGION": None}, "AWS_REGION"),
        ({"DOCKER_HOST": "unix:///nowhere"}, "Docker"),
        ({"PATH": "/usr/bin:/bin"}, "aws is missing"),
        ({"MEMORY": "64"}, "MEMORY"),
        ({"MEMORY": "much"}, "MEMORY"),
        ({"TIMEOUT": "30"}, "TIMEOUT"),
        ({"PYTHON_VERSION": "2.7"}, "PYTHON_VERSION"),
        ({"CORS_ORIGIN": "example.com"}, "CORS_ORIGIN"),
        ({"AUTHORIZATION": "yes"}, "AUTHORIZATION"),
        ({"REQUIRE_API_KEY": "yes"}, "REQUIRE_API_KEY"),
        ({"REPOSITORY_NAME": "Upper"}, "REPOSITORY_NAME"),
        ({"PROVISIONED_CONCURRENCY": "-1"}, "PROVISIONED_CONCURRENCY"),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_changed(account, settings, words):
    account.proxy.reset()
    result = account.deploy(**settings)
    assert (result.status, result.output, len(result.errors.splitlines())) == (2, "", 1), result.errors
    assert words in result.errors
    assert account.proxy.changes() == []


def test_expired_credentials_are_one_line_before_anything_is_changed(account):
    account.proxy.reset()
    account.proxy.fault = lambda name, number: "expired"
    result = account.deploy()
    assert (result.status, result.output, len(result.errors.splitlines())) == (2, "", 1)
    assert "ExpiredToken" in result.errors


def test_an_index_of_images_which_lambda_refuses_is_told_and_removed(empty):
    tag = empty.deploy(kill_at="build the image").errors.split("build the image ")[1].split()[0]
    owner = ",".join(f"Key={key},Value={value}" for key, value in OURS.items())
    empty.aws("ecr", "create-repository", "--repository-name", NAME, "--tags", owner)
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": []})
    image = ["--repository-name", NAME, "--image-tag", tag, "--image-manifest", index]
    empty.aws("ecr", "put-image", *image, "--image-manifest-media-type", kind)
    result = empty.deploy()
    assert (result.status, result.output) == (1, "")
    assert kind in result.errors
    assert image_tags(empty) == set()
    assert empty.deploy().status == 0


def test_destroy_asks_and_then_leaves_nothing(live):
    asked = live.deploy("destroy")
    assert (asked.status, live.proxy.changes()) == (2, [])
    result = live.deploy("destroy", "--yes")
    assert result.status == 0, result.errors
    for name in (f"CloudFormation stack {NAME}", f"ECR repository {NAME}", "AWS::ApiGateway::RestApi"):
        assert name in result.errors
    assert not (live.checkout / ".predict-url").exists()
    assert live.aws("ecr", "describe-repositories")["repositories"] == []
    assert live.aws("cloudformation", "describe-stacks")["Stacks"] == []
    assert live.aws("lambda", "list-functions")["Functions"] == []
    assert live.aws("apigateway", "get-rest-apis")["items"] == []
    assert live.aws("apigateway", "get-api-keys")["items"] == []
    assert live.aws("apigateway", "get-usage-plans")["items"] == []
    assert live.aws("iam", "list-roles", "--query", "Roles[?starts_with(RoleName, 'clothing')]") == []
    assert live.aws("logs", "describe-log-groups")["logGroups"] == []
    assert live.aws("cloudwatch", "describe-alarms")["MetricAlarms"] == []
    again = live.deploy("destroy", "--yes")
    assert again.status == 0
    assert "Nothing" in again.errors
