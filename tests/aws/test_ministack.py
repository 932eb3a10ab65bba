"""What the harness mends in ministack is broken there, and mended; and functions in containers call AWS back."""

import json
import subprocess
import time
import zipfile

import pytest

from tests.harness.aws import running_aws
from tests.harness.containers import build, docker, find_base, running

BASE_TAG = "public.ecr.aws/lambda/python:3.13-x86_64"
LOCATION = "LocationConstraint=eu-west-1"
ROLE = "arn:aws:iam::000000000000:role/nobody"
# A network of one subnet, {} for the resources beside it.
NETWORK = {
    "Network": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
    "Subnet": {
        "Type": "AWS::EC2::Subnet",
        "Properties": {"VpcId": {"Ref": "Network"}, "CidrBlock": "10.0.0.0/24"},
    },
    "Group": {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {"GroupDescription": "ours", "VpcId": {"Ref": "Network"}},
    },
}
RULE = {"GroupId": {"Fn::GetAtt": ["Group", "GroupId"]}, "IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049}
GATEWAY = {"SubnetId": {"Ref": "Subnet"}, "AllocationId": {"Fn::GetAtt": ["Address", "AllocationId"]}}
ADDRESS = {"Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}}}
MISSING_TYPES = {
    "AWS::EC2::SecurityGroupIngress": {"Properties": {**RULE, "SourceSecurityGroupId": RULE["GroupId"]}},
    "AWS::EC2::SecurityGroupEgress": {"Properties": {**RULE, "CidrIp": "10.0.0.0/16"}},
    "AWS::EC2::EIP": {"Properties": {"Domain": "vpc"}},
    "AWS::EC2::NatGateway": {"Properties": GATEWAY},
}


@pytest.fixture(scope="module")
def unmended(tmp_path_factory):
    """An account of ministack as it comes."""
    with running_aws(tmp_path_factory.mktemp("unmended"), MENDED="false") as account:
        yield account


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An account of ministack with what it lacks."""
    with running_aws(tmp_path_factory.mktemp("mended")) as account:
        yield account


def create_stack(account, resources):
    """Create a stack of these resources; return {logical id: physical id}, or None where it cannot be made."""
    name = ["--stack-name", "trial"]
    try:
        account.aws("cloudformation", "create-stack", *name, "--template-body", json.dumps({"Resources": resources}))
        account.aws("cloudformation", "wait", "stack-create-complete", *name)
    except subprocess.CalledProcessError:
        return None
    listed = account.aws("cloudformation", "list-stack-resources", *name)["StackResourceSummaries"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}


def delete_stack(account):
    account.aws("cloudformation", "delete-stack", "--stack-name", "trial")
    account.aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", "trial")


@pytest.mark.parametrize("kind", MISSING_TYPES)
def test_a_stack_may_have_resources_of_a_type_that_ministack_lacks(kind, unmended, account):
    resources = {**NETWORK, **ADDRESS, "Ours": {"Type": kind, **MISSING_TYPES[kind]}}
    if kind != "AWS::EC2::NatGateway":
        del resources["Address"]
    assert create_stack(unmended, resources) is None
    assert set(create_stack(account, resources)) == set(resources)
    delete_stack(account)


def test_a_rule_of_its_own_is_in_its_group_until_it_goes(account):
    rule = {"Type": "AWS::EC2::SecurityGroupIngress", **MISSING_TYPES["AWS::EC2::SecurityGroupIngress"]}
    group = create_stack(account, {**NETWORK, "Rule": rule})["Group"]

    def ports():
        (found,) = account.aws("ec2", "describe-security-groups", "--group-ids", group)["SecurityGroups"]
        return [permission["FromPort"] for permission in found["IpPermissions"]]

    assert ports() == [2049]
    template = json.dumps({"Resources": NETWORK})
    account.aws("cloudformation", "update-stack", "--stack-name", "trial", "--template-body", template)
    account.aws("cloudformation", "wait", "stack-update-complete", "--stack-name", "trial")
    assert ports() == []
    delete_stack(account)


def test_a_gateway_and_its_address_are_gone_with_their_stack(account):
    gateway = {"Type": "AWS::EC2::NatGateway", **MISSING_TYPES["AWS::EC2::NatGateway"]}
    names = create_stack(account, {**NETWORK, **ADDRESS, "Gateway": gateway})
    (address,) = account.aws("ec2", "describe-addresses")["Addresses"]
    assert address["PublicIp"] == names["Address"]
    find = ["ec2", "describe-nat-gateways", "--nat-gateway-ids", names["Gateway"]]
    (found,) = account.aws(*find)["NatGateways"]
    assert (found["State"], found["SubnetId"]) == ("available", names["Subnet"])
    delete_stack(account)
    assert account.aws("ec2", "describe-addresses")["Addresses"] == []
    assert [gateway["State"] for gateway in account.aws(*find)["NatGateways"]] in ([], ["deleted"])


def test_an_image_that_is_not_there_is_an_error(unmended, account, capfd):
    find = ["ecr", "describe-images", "--repository-name", "photos", "--image-ids", "imageTag=missing"]
    for each in (unmended, account):
        each.aws("ecr", "create-repository", "--repository-name", "photos")
    assert unmended.aws(*find)["imageDetails"] == []
    with pytest.raises(subprocess.CalledProcessError):
        account.aws(*find)
    assert "ImageNotFoundException" in capfd.readouterr().err
    assert account.aws("ecr", "describe-images", "--repository-name", "photos")["imageDetails"] == []


def test_an_http_api_takes_its_cors_settings_from_cloudformation(unmended, account):
    cors = {"AllowOrigins": ["https://example.com"], "AllowMethods": ["POST"], "MaxAge": 60}
    api = {"Name": "trial", "ProtocolType": "HTTP", "CorsConfiguration": cors}

    def settings(account):
        name = create_stack(account, {"Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": api}})["Api"]
        return account.aws("apigatewayv2", "get-api", "--api-id", name)["CorsConfiguration"]

    assert settings(unmended) == {}
    assert settings(account) == cors
    delete_stack(account)


def test_an_event_of_eventbridge_on_which_a_function_fails_is_kept(unmended, account, tmp_path):
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as code:
        code.writestr("function.py", "def handle(event, context):\n    raise ValueError\n")

    def kept(account):
        sqs, name = ["sqs", "--region", "eu-west-1"], ["--function-name", "fails"]
        queue = account.aws(*sqs, "create-queue", "--queue-name", "failed")["QueueUrl"]
        options = ["--runtime", "python3.13", "--handler", "function.handle", "--role", ROLE]
        code = ["--zip-file", f"fileb://{tmp_path / 'code.zip'}"]
        arn = account.aws("lambda", "create-function", *name, *options, *code)["FunctionArn"]
        account.aws("lambda", "wait", "function-active-v2", *name)
        destination = {"OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:000000000000:failed"}}
        retries = ["--maximum-retry-attempts", "0", "--destination-config", json.dumps(destination)]
        account.aws("lambda", "put-function-event-invoke-config", *name, *retries)
        account.aws("events", "put-rule", "--name", "all", "--event-pattern", '{"source": ["ours"]}')
        account.aws("events", "put-targets", "--rule", "all", "--targets", f"Id=fails,Arn={arn}")
        account.aws("events", "put-events", "--entries", '[{"Source": "ours", "DetailType": "any", "Detail": "{}"}]')
        answer = account.aws(*sqs, "receive-message", "--queue-url", queue, "--wait-time-seconds", "10")
        return [json.loads(each["Body"])["requestPayload"]["source"] for each in (answer or {}).get("Messages", [])]

    assert kept(account) == ["ours"]
    assert kept(unmended) == []


# A Distributed Map that waits in each of its items, one after the other if it reads its own setting.
WAITING_MAP = {
    "StartAt": "Map",
    "States": {
        "Map": {
            "Type": "Map",
            "MaxConcurrencyPath": "$.concurrency",
            "ItemsPath": "$.items",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Wait",
                "States": {"Wait": {"Type": "Wait", "Seconds": 5, "End": True}},
            },
            "End": True,
        }
    },
}


def test_a_map_starts_as_many_items_as_it_is_told_and_none_once_it_is_stopped(unmended, account):
    def stop_map(account):
        definition = ["--definition", json.dumps(WAITING_MAP), "--role-arn", ROLE]
        machine = account.aws("stepfunctions", "create-state-machine", "--name", "waiting", *definition)
        content = json.dumps({"concurrency": 1, "items": [1, 2, 3, 4]})
        name = ["--state-machine-arn", machine["stateMachineArn"], "--input", content]
        execution = account.aws("stepfunctions", "start-execution", *name)["executionArn"]
        time.sleep(0.3)
        (run,) = account.aws("stepfunctions", "list-map-runs", "--execution-arn", execution)["mapRuns"]
        account.aws("stepfunctions", "stop-execution", "--execution-arn", execution)
        while True:
            counts = account.aws("stepfunctions", "describe-map-run", "--map-run-arn", run["mapRunArn"])["itemCounts"]
            if not counts["pending"] and not counts["running"]:
                ended = account.aws("stepfunctions", "describe-execution", "--execution-arn", execution)["status"]
                return counts["succeeded"], counts["failed"], ended
            time.sleep(0.3)

    assert stop_map(unmended)[:2] == (4, 0)
    assert stop_map(account) == (1, 3, "ABORTED")


HANDLER = """
import os

import boto3


def handle(event, context):
    boto3.client("s3").put_object(Bucket="photos", Key="answer", Body=b"from a container")
    return [os.environ["AWS_ENDPOINT_URL"], boto3.__file__]
"""


def make_bucket(account, name):
    account.aws("s3api", "create-bucket", "--bucket", name, "--create-bucket-configuration", LOCATION)


def test_objects_pass_the_proxy_unchanged(account, tmp_path):
    make_bucket(account, "objects")
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(bytes(range(256)) * 10_000)
    key = ["--bucket", "objects", "--key", "object"]
    account.aws("s3api", "put-object", *key, "--body", sent)
    assert account.aws("s3api", "head-object", *key)["ContentLength"] == sent.stat().st_size
    account.aws("s3api", "get-object", *key, received)
    assert received.read_bytes() == sent.read_bytes()


@pytest.fixture(scope="module")
def base():
    return find_base("3.13", BASE_TAG)


def test_a_function_in_a_container_calls_aws_back(account, base, tmp_path):
    (tmp_path / "function.py").write_text(HANDLER)
    (tmp_path / "Dockerfile").write_text(f'FROM {base}\nCOPY function.py ./\nCMD ["function.handle"]\n')
    image = f"{account.registry}/trial:latest"
    account.aws("ecr", "create-repository", "--repository-name", "trial")
    docker("push", "--quiet", build(tmp_path, image))
    make_bucket(account, "photos")
    code = ["--package-type", "Image", "--code", f"ImageUri={image}", "--role", ROLE, "--timeout", "60"]
    account.aws("lambda", "create-function", "--function-name", "trial", *code)
    account.aws("lambda", "wait", "function-active-v2", "--function-name", "trial")
    account.aws("lambda", "invoke", "--function-name", "trial", tmp_path / "answer")
    endpoint, library = json.loads((tmp_path / "answer").read_text())
    assert "127.0.0.1" not in endpoint
    assert library.startswith("/var/runtime/") or base != "lambda-stand-in-python:3.13"
    account.aws("s3api", "get-object", "--bucket", "photos", "--key", "answer", tmp_path / "object")
    assert (tmp_path / "object").read_text() == "from a container"


def test_the_base_image_starts_a_zip_function_and_its_layer_as_sam_does(base, tmp_path):
    layer = tmp_path / "layer/python"
    layer.mkdir(parents=True)
    (layer / "parts.py").write_text("WORD = 'PONG'")
    function = tmp_path / "function"
    function.mkdir()
    (function / "function.py").write_text("import boto3, parts\n\ndef handle(event, context):\n    return parts.WORD\n")
    folders = ["--volume", f"{function}:/var/task:ro", "--volume", f"{tmp_path / 'layer'}:/opt:ro"]
    emulator = ["--entrypoint", "/usr/local/bin/aws-lambda-rie", "--env", "_HANDLER=function.handle"]
    with running(BASE_TAG, *folders, *emulator, command=["/var/runtime/bootstrap"]) as container:
        assert container.ask({}) == "PONG"
