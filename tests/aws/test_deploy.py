"""deploy.sh, from an empty account to a live API and back, against ministack and a real Docker Engine."""

import json
import re
import subprocess

import check_readme
import pytest
import requests
import yaml
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
        result = account.deploy(**({} if account.has_defaults else account.defaults))
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


def live_version(account):
    """Return the version that the endpoint asks."""
    return account.aws("lambda", "get-alias", "--function-name", NAME, "--name", "live")["FunctionVersion"]


def versions(account):
    """Return the published versions."""
    listed = account.aws("lambda", "list-versions-by-function", "--function-name", NAME)["Versions"]
    return {version["Version"] for version in listed} - {"$LATEST"}


def image_tags(account):
    images = account.aws("ecr", "describe-images", "--repository-name", NAME)["imageDetails"]
    return {tag for image in images for tag in image["imageTags"]}


def kept_tags(account):
    """Return the tags that the repository's lifecycle policy keeps, the live image's first."""
    policy = account.aws("ecr", "get-lifecycle-policy", "--repository-name", NAME)["lifecyclePolicyText"]
    *keep, others = rules = json.loads(policy)["rules"]
    assert len({rule["rulePriority"] for rule in rules}) == len(rules)
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


def test_the_commands_of_the_course_print_what_it_shows(empty):
    (empty.checkout / ".venv").symlink_to(ROOT / ".venv")
    (empty.checkout / "my-photo.jpg").symlink_to(TROUSERS)
    section = (ROOT / "docs/8_deploy.md").read_text().split("## With one command\n")[1]
    blocks = check_readme.blocks("8_deploy.md", section)
    export, _ = blocks[0].commands.splitlines()
    environ = {**empty.environ, **dict(pair.split("=") for pair in export.split()[1:])}
    for block in blocks:
        if block.commands != "./deploy.sh rollback\n":  # there is no earlier version yet
            check_readme.check(block, empty.checkout, **environ)
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


def check_from_a_browser(live, browser, page_elsewhere):
    """Check that test.py, a browser and the page on another host get answers from the live endpoint."""
    client = live.client()
    assert client.stdout.splitlines()[-1] == "pants", client.stderr
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    preflight = requests.options(live.url, headers=asked, timeout=60)
    assert (preflight.ok, preflight.headers[ORIGIN]) == (True, "*")
    assert "content-type" in preflight.headers["Access-Control-Allow-Headers"].lower()
    refused = post(live.url, {}, Origin="https://example.com")
    assert (refused.status_code, refused.json()["error"]["code"], refused.headers[ORIGIN]) == (
        400,
        "missing_input",
        "*",
    )
    page = browser.new_page()
    page.goto(f"{page_elsewhere}?endpoint={live.url}")
    page.click("#samples img[src*=hat]")
    expect(page.locator("#status")).to_contain_text("hat, ", timeout=60_000)
    expect(page.locator("#times")).to_contain_text("inference")
    page.set_input_files("#file", {"name": "photo", "mimeType": "", "buffer": b"no photo"})
    expect(page.locator("#error")).to_contain_text("The photo is none of JPEG")
    page.close()


def test_a_browser_and_the_page_on_another_host_get_answers(live, browser, page_elsewhere):
    check_from_a_browser(live, browser, page_elsewhere)


@pytest.mark.parametrize(
    ("kind", "status"), [("DEFAULT_5XX", None), ("INTEGRATION_FAILURE", "503"), ("API_CONFIGURATION_ERROR", "503")]
)
def test_a_fault_of_the_api_is_in_our_form_and_may_be_read_by_a_browser(live, kind, status):
    """The stand-in does not send its 5xx through this, as AWS does."""
    response = ["get-gateway-response", "--rest-api-id", resources(live)["Api"], "--response-type", kind]
    answer = live.aws("apigateway", *response)
    assert answer["responseParameters"][f"gatewayresponse.header.{ORIGIN}"] == "'*'"
    assert answer["responseTemplates"]["application/json"].startswith('{"error": {"code": ')
    assert answer.get("statusCode") == status


def test_the_repository_scans_keeps_its_tags_and_lets_only_this_accounts_lambda_pull(live):
    (repository,) = live.aws("ecr", "describe-repositories", "--repository-names", NAME)["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"]["scanOnPush"] is True
    policy = json.loads(live.aws("ecr", "get-repository-policy", "--repository-name", NAME)["policyText"])
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    ours = f"arn:aws:lambda:eu-west-1:{repository['registryId']}:function:*"
    assert statement["Condition"] == {"ArnLike": {"aws:SourceArn": ours}}


def test_the_function_may_only_write_its_logs_and_only_this_api_may_call_it(live):
    names = resources(live)
    assert live.aws("iam", "list-attached-role-policies", "--role-name", names["Role"])["AttachedPolicies"] == []
    (policy,) = live.aws("iam", "list-role-policies", "--role-name", names["Role"])["PolicyNames"]
    role = live.aws("iam", "get-role-policy", "--role-name", names["Role"], "--policy-name", policy)
    (statement,) = role["PolicyDocument"]["Statement"]
    assert sorted(statement["Action"]) == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert f":log-group:/aws/lambda/{NAME}:" in statement["Resource"]
    (caller,) = json.loads(live.aws("lambda", "get-policy", "--function-name", NAME, "--qualifier", "live")["Policy"])[
        "Statement"
    ]
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
    ours = {"FunctionName": NAME}
    assert watched == {"internal": {}, "Errors": {**ours, "Resource": f"{NAME}:live"}, "Throttles": ours}
    (counted,) = live.aws("logs", "describe-metric-filters", "--log-group-name", f"/aws/lambda/{NAME}")["metricFilters"]
    assert counted["filterPattern"] == '{ $.error = "internal" }'
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


def test_a_change_of_code_answers_after_its_trial_and_is_rolled_back_in_one_command(live):
    former, version = kept_tags(live)[0], live_version(live)
    answers = []

    def ask(name):
        if name.startswith("POST") and ("/versions" in name or "/invocations" in name):
            answers.append(post(live.url, {}).json()["error"]["message"])

    live.proxy.after = ask
    live.edit("image_source.py", "Send {", "Now send {")
    result = live.deploy()
    live.proxy.reset()
    assert result.status == 0, result.errors
    assert [answer.startswith("Send") for answer in answers] == [True, True]
    assert "Now send" in post(live.url, {}).json()["error"]["message"]
    assert len(kept_tags(live)) == 2
    assert kept_tags(live)[1] == former
    newer = live_version(live)
    assert versions(live) == {version, newer}

    # Killed after CloudFormation began, and called again: it is the same version that comes back.
    live.proxy.after = lambda name: live.kill() if name == "UpdateStack" else None
    assert live.deploy("rollback").status < 0
    for changes in (["UpdateStack"], []):
        assert live.proxy.changes() == changes
        live.proxy.reset()
        result = live.deploy("rollback")
        assert (result.status, result.output) == (0, live.url + "\n"), result.errors
        assert "Now send" not in post(live.url, {}).json()["error"]["message"]
        assert live_version(live) == version
    # Deployed again, the newer one is there already.
    result = live.deploy()
    assert result.status == 0, result.errors
    assert (live_version(live), versions(live)) == (newer, {version, newer})
    assert "Now send" in post(live.url, {}).json()["error"]["message"]


BROKEN_START = 'import os\n\nif "AWS_LAMBDA_FUNCTION_NAME" in os.environ:\n    raise OSError("no such luck")\n'


def test_a_version_that_fails_its_trial_is_told_with_its_log_and_never_asked(live):
    saved, version = live.url, live_version(live)
    live.edit("interpreter.py", "import os\n", BROKEN_START)
    (live.checkout / ".predict-url").write_text("before\n")
    result = live.deploy(MEMORY="1024", CORS_ORIGIN="https://example.com")
    assert (result.status, result.output) == (1, "")
    assert "no such luck" in result.errors
    assert "does not see pants" in result.errors
    assert (live.url, live_version(live)) == ("before", version)
    answer = post(saved, GOOD)
    assert (answer.status_code, answer.headers[ORIGIN]) == (200, "*")
    # Nor are its settings kept.
    live.copy_checkout()
    mended = live.deploy()
    assert (mended.status, mended.output) == (0, saved + "\n")
    assert "Changed settings" not in mended.errors
    assert parameters(live)["Memory"] == "768"
    assert versions(live) == {version, parameters(live)["PreviousVersion"] or version}


def test_settings_stay_until_others_are_given(live):
    url = live.url
    settings = {"REQUIRE_API_KEY": "true", "CORS_ORIGIN": "https://example.com", "MEMORY": "1024", "STAGE_NAME": "test"}
    others = {"RESERVED_CONCURRENCY": "3", "TIMEOUT": "20", "LOG_DAYS": "3", "THROTTLE_RATE": "5"}
    result = live.deploy(**settings, **others, ALARM_EMAIL="me@example.com")
    assert result.status == 0, result.errors
    assert "  MEMORY: 768 → 1024\n" in result.errors
    assert "STAGE_NAME:" not in result.errors
    assert live.client().returncode == 1
    refused = post(url, GOOD)
    assert (refused.status_code, refused.headers[ORIGIN]) == (403, "https://example.com")
    assert requests.options(url, timeout=60).headers[ORIGIN] == "https://example.com"
    find_key = ["apigateway", "get-api-key", "--api-key", resources(live)["ApiKey"], "--include-value"]
    key = live.aws(*find_key)["value"]
    assert key not in result.errors + result.output
    client = live.client(PREDICT_API_KEY=key)
    assert client.stdout.splitlines()[-1] == "pants", client.stderr
    assert post(url, GOOD, **{"x-api-key": key}).headers[ORIGIN] == "https://example.com"
    function = live.aws("lambda", "get-function", "--function-name", NAME, "--qualifier", "live")
    assert (function["Configuration"]["MemorySize"], function["Configuration"]["Timeout"]) == (1024, 20)
    assert parameters(live)["ReservedConcurrency"] == "3"  # the stand-in reserves nothing
    (topic,) = live.aws("sns", "list-topics")["Topics"]
    (told,) = live.aws("sns", "list-subscriptions")["Subscriptions"]
    assert (told["Endpoint"], told["TopicArn"]) == ("me@example.com", topic["TopicArn"])
    alarms = live.aws("cloudwatch", "describe-alarms")["MetricAlarms"]
    assert [alarm["AlarmActions"] for alarm in alarms] == [[topic["TopicArn"]]] * 3

    # Nothing given, nothing changes: least of all what protects the API.
    live.proxy.reset()
    again = live.deploy()
    assert (again.status, live.proxy.changes()) == (0, []), again.errors
    assert live.aws(*find_key)["value"] == key
    signed = {"AUTHORIZATION": "AWS_IAM", "PROVISIONED_CONCURRENCY": "1"}
    opened = live.deploy(REQUIRE_API_KEY="false", CORS_ORIGIN="*", ALARM_EMAIL="none", **signed)
    assert opened.status == 0, opened.errors
    assert "  REQUIRE_API_KEY: true → false\n" in opened.errors
    assert "  CORS_ORIGIN: https://example.com → *\n" in opened.errors
    assert parameters(live)["Memory"] == "1024"
    assert live.aws("sns", "list-topics")["Topics"] == []
    assert (post(url, GOOD).status_code, requests.options(url, timeout=60).status_code) == (403, 204)
    signature = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/execute-api/aws4_request"
    assert post(url, GOOD, Authorization=signature).status_code == 200
    concurrency = ["get-provisioned-concurrency-config", "--function-name", NAME, "--qualifier", "live"]
    assert live.aws("lambda", *concurrency)["RequestedProvisionedConcurrentExecutions"] == 1


def test_an_http_api_and_a_function_url_answer_as_the_rest_api_does(live, browser, page_elsewhere):
    result = live.deploy(ENDPOINT="http", SNAPSTART="true", ACCESS_LOGS="true")
    assert result.status == 0, result.errors
    assert "  ENDPOINT: rest → http\n" in result.errors
    assert live.aws("apigateway", "get-rest-apis")["items"] == []
    check_from_a_browser(live, browser, page_elsewhere)
    function = live.aws("lambda", "get-function-configuration", "--function-name", NAME, "--qualifier", "live")
    assert function["SnapStart"]["ApplyOn"] == "PublishedVersions"
    (api,) = live.aws("apigatewayv2", "get-apis")["Items"]
    stage = live.aws("apigatewayv2", "get-stage", "--api-id", api["ApiId"], "--stage-name", "test")
    assert json.loads(stage["AccessLogSettings"]["Format"])["status"] == "$context.status"
    assert f":log-group:/aws/lambda/{NAME}-access" in stage["AccessLogSettings"]["DestinationArn"]

    result = live.deploy(ENDPOINT="url", ACCESS_LOGS="false")
    assert result.status == 0, result.errors
    assert live.aws("apigatewayv2", "get-apis")["Items"] == []
    check_from_a_browser(live, browser, page_elsewhere)
    assert live.deploy("status").output == live.url + "\n"


class AnyTag(yaml.SafeLoader):
    """Reads YAML with the tags of CloudFormation, whose values stay as they are."""


AnyTag.add_multi_constructor("!", lambda loader, tag, node: getattr(node, "value", None))


def test_a_revision_of_digits_is_no_number():
    template = (ROOT / "template.yaml").read_text().replace("REVISION", "012345670123")
    revision = yaml.load(template, AnyTag)["Outputs"]["Revision"]["Value"]
    assert revision == "012345670123-${LiveVersion}"


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
    other = live.deploy(STACK_NAME="second", FUNCTION_NAME="third")
    assert (other.status, "FUNCTION_NAME" in other.errors.splitlines()[-1]) == (2, True)
    # The stack knows its other names.
    second = live.url
    assert live.deploy("status", STACK_NAME="second").output == second + "\n"
    assert live.deploy("destroy", "--yes", STACK_NAME="second").status == 0
    assert len(live.aws("ecr", "describe-repositories")["repositories"]) == 1
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
        ({"RESERVED_CONCURRENCY": "9999"}, "RESERVED_CONCURRENCY=9999 cannot be had: of the account's"),
        ({"PROVISIONED_CONCURRENCY": "9999"}, "PROVISIONED_CONCURRENCY=9999 cannot be had: of the account's"),
        ({"RESERVED_CONCURRENCY": "0"}, "RESERVED_CONCURRENCY"),
        ({"RESERVED_CONCURRENCY": "2", "PROVISIONED_CONCURRENCY": "3"}, "above RESERVED_CONCURRENCY=2"),
        ({"SNAPSTART": "true", "PROVISIONED_CONCURRENCY": "1"}, "SNAPSTART=false"),
        ({"SNAPSTART": "true", "PYTHON_VERSION": "3.11"}, "3.12"),
        ({"ARCHITECTURE": "arm64", "PYTHON_VERSION": "3.8"}, "ARCHITECTURE"),
        ({"ENDPOINT": "grpc"}, "ENDPOINT"),
        ({"ENDPOINT": "http", "REQUIRE_API_KEY": "true"}, "REQUIRE_API_KEY=false"),
        ({"ENDPOINT": "url", "REQUIRE_API_KEY": "true"}, "REQUIRE_API_KEY=false"),
        ({"ENDPOINT": "url", "THROTTLE_RATE": "5"}, "no throttle"),
        ({"ENDPOINT": "url", "ACCESS_LOGS": "true"}, "ACCESS_LOGS=false"),
        ({"ACCESS_LOGS": "true"}, "a role by which API Gateway writes logs"),
        ({"ALARM_EMAIL": "me"}, "ALARM_EMAIL"),
        ({"SERVICE_ROLE": "deployer"}, "SERVICE_ROLE"),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_changed(account, settings, words):
    account.proxy.reset()
    result = account.deploy(**settings)
    assert (result.status, result.output, len(result.errors.splitlines())) == (2, "", 1), result.errors
    assert words in result.errors
    assert account.proxy.changes() == []


def test_iam_with_a_profile_is_refused_where_the_aws_cli_cannot_tell_its_keys(account):
    """As the AWS CLI 1 cannot; it is the one at hand."""
    folder = account.folder / ".aws"
    folder.mkdir(exist_ok=True)
    (folder / "credentials").write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
    try:
        account.proxy.reset()
        keys = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        result = account.deploy(AUTHORIZATION="AWS_IAM", **keys)
        assert (result.status, len(result.errors.splitlines()), account.proxy.changes()) == (2, 1, [])
        assert "AWS CLI 2" in result.errors
    finally:
        (folder / "credentials").unlink()


def test_help_is_found_from_another_folder(account):
    command = ["checkout/deploy.sh", "help"]
    result = subprocess.run(
        command, cwd=account.folder, env=account.environ, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("From this checkout")
    assert "./deploy.sh rollback" in result.stdout


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


def test_a_first_version_that_sees_another_class_gets_no_endpoint(stackless):
    stackless.edit("deploy.sh", "PHOTO_CLASS=pants", "PHOTO_CLASS=hat")
    result = stackless.deploy(AUTHORIZATION="AWS_IAM")
    assert (result.status, result.output) == (1, "")
    assert "does not see hat" in result.errors
    assert stackless.aws("apigateway", "get-rest-apis")["items"] == []
    assert stackless.deploy("rollback").status == 2
    assert stackless.aws("lambda", "list-aliases", "--function-name", NAME)["Aliases"] == []
    # What protects it is kept for the next try.
    stackless.copy_checkout()
    assert stackless.deploy().status == 0
    assert post(stackless.url, GOOD).status_code == 403


def test_the_image_is_built_for_lambdas_processor_loaded_and_without_attestations(account, tmp_path):
    """As with buildx, which this machine may lack: a builder in a container keeps what it is not told to load."""
    account.copy_checkout()
    account.edit("interpreter.py", "import os\n", "import os\n\n")
    wrapper = tmp_path / "docker"
    wrapper.write_text(
        '#!/bin/sh\necho "$BUILDX_NO_DEFAULT_ATTESTATIONS $*" >>"${0%/*}/calls"\n'
        '[ "$1" = buildx ] && exit\n[ "$1" = build ] && exit 1\nPATH=${PATH#*:}\nexec docker "$@"\n'
    )
    wrapper.chmod(0o755)
    path = f"{tmp_path}:{account.environ['PATH']}"
    tags = set()
    for architecture, platform in (("x86_64", "linux/amd64"), ("arm64", "linux/arm64")):
        result = account.deploy(PATH=path, ARCHITECTURE=architecture)
        assert result.status == 1
        build = (tmp_path / "calls").read_text().splitlines()[-1]
        assert build.startswith(f"1 build --load --platform {platform} ")
        tags.add(re.search(r"--tag (\S+)", build)[1])
    assert len(tags) == 2


def test_a_service_role_is_handed_to_cloudformation(live, tmp_path):
    """To all that changes the stack, which is kept from it here: the stand-in has no use for the role."""
    role = "arn:aws:iam::000000000000:role/cloudformation"
    wrapper = tmp_path / "aws"
    wrapper.write_text(
        '#!/bin/sh\ncase "$*" in "cloudformation de"[lp]*) echo "$*" >>"${0%/*}/calls"; exit 1 ;; esac\n'
        'PATH=${PATH#*:}\nexec aws "$@"\n'
    )
    wrapper.chmod(0o755)
    for command in ({"MEMORY": "896"}, {}):
        arguments = [] if command else ["destroy", "--yes"]
        result = live.deploy(*arguments, **command, SERVICE_ROLE=role, PATH=f"{tmp_path}:{live.environ['PATH']}")
        assert result.status == 1, result.errors
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[1] for call in calls] == ["deploy", "delete-stack"]
    assert all(f"--role-arn {role}" in call for call in calls)


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
    assert live.aws("sns", "list-topics")["Topics"] == []
    again = live.deploy("destroy", "--yes")
    assert again.status == 0
    assert "Nothing" in again.errors
