"""The template that cdk makes from app.py."""

import json
import shutil

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template
from conftest import FOLDER, NODE

from app import ZeroAdministration

if not NODE.exists():
    pytest.skip("no Node.js from npm here; `make test` installs it", allow_module_level=True)

THIRD = "from answers import answering\n\n\n@answering\ndef handler(request):\n    return {}\n"


def synthesize(scripts=FOLDER / "inference", **context):
    return Template.from_stack(ZeroAdministration(cdk.App(context=context), "trial", scripts))


@pytest.fixture(scope="module")
def template():
    return synthesize()


@pytest.fixture(scope="module")
def text(template):
    return json.dumps(template.to_json())


def test_each_script_is_a_function_with_the_models_mounted(template):
    template.resource_count_is("AWS::Lambda::Function", 2)
    for script in ("segment", "translate"):
        template.has_resource_properties(
            "AWS::Lambda::Function",
            {
                "FunctionName": f"trial-{script}",
                "PackageType": "Image",
                "ImageConfig": {"Command": [f"inference.{script}.handler"]},
                "Timeout": 600,
                "MemorySize": 1769,
                "FileSystemConfigs": [{"Arn": Match.any_value(), "LocalMountPath": "/mnt/hf_models_cache"}],
                "Environment": {"Variables": Match.object_like({"HF_HOME": "/mnt/hf_models_cache"})},
            },
        )
        template.has_resource_properties("AWS::ApiGatewayV2::Route", {"RouteKey": f"POST /{script}"})


def test_a_third_script_is_a_third_function_and_route_with_no_other_change(tmp_path):
    scripts = shutil.copytree(FOLDER / "inference", tmp_path / "inference")
    (scripts / "count_words.py").write_text(THIRD)
    template = synthesize(scripts)
    template.resource_count_is("AWS::Lambda::Function", 3)
    template.resource_count_is("AWS::ApiGatewayV2::Route", 3)
    template.resource_count_is("AWS::EFS::FileSystem", 1)
    template.has_resource_properties("AWS::Lambda::Function", {"FunctionName": "trial-count-words"})
    template.has_resource_properties("AWS::ApiGatewayV2::Route", {"RouteKey": "POST /count_words"})


def test_one_image_serves_all_functions(template):
    uris = {
        json.dumps(each["Properties"]["Code"]) for each in template.find_resources("AWS::Lambda::Function").values()
    }
    assert len(uris) == 1


def test_the_file_system_belongs_to_one_user_and_asks_who_mounts_it(template):
    template.has_resource_properties(
        "AWS::EFS::AccessPoint",
        {
            "PosixUser": {"Uid": "1001", "Gid": "1001"},
            "RootDirectory": {
                "Path": "/models",
                "CreationInfo": {"OwnerUid": "1001", "OwnerGid": "1001", "Permissions": "0750"},
            },
        },
    )
    template.has_resource_properties("AWS::EFS::FileSystem", {"Encrypted": True, "FileSystemPolicy": Match.any_value()})


def test_the_network_has_no_way_out_but_to_s3_unless_asked_for(template):
    for kind in ("NatGateway", "InternetGateway", "EIP"):
        template.resource_count_is(f"AWS::EC2::{kind}", 0)
    template.has_resource_properties("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Gateway"})
    with_nat = synthesize(nat="true")
    with_nat.resource_count_is("AWS::EC2::NatGateway", 1)
    with_nat.has_resource_properties("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Gateway"})


def variables(template):
    functions = template.find_resources("AWS::Lambda::Function").values()
    return [function["Properties"]["Environment"]["Variables"] for function in functions]


def test_functions_are_offline_unless_there_is_a_way_out(template):
    assert {each["HF_HUB_OFFLINE"] for each in variables(template)} == {"1"}
    assert {each["HF_HUB_OFFLINE"] for each in variables(synthesize(nat="true"))} == {"0"}


def test_a_model_may_come_from_a_hub():
    template = synthesize(nat="true", hub="zh-en=owner/name")
    for each in variables(template):
        before, asset, _ = each["MODELS"]["Fn::Join"][1]
        assert before == '{"zh-en": "hub:owner/name", "en-zh": "'
        assert asset["Fn::Sub"].startswith("s3://cdk-")


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        ({"hub": "zh-en=owner/name"}, "needs -c nat=true"),
        ({"hub": "owner/name", "nat": "true"}, "wants zh-en=OWNER/NAME"),
        ({"hub": "de-en=owner/name", "nat": "true"}, "wants zh-en=OWNER/NAME"),
    ],
)
def test_a_wrong_setting_is_told(context, sentence):
    with pytest.raises(ValueError, match=sentence):
        synthesize(**context)


def test_pages_of_any_origin_may_post_so_often_and_no_more(template):
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["POST"], "AllowHeaders": ["content-type"]}
    template.has_resource_properties("AWS::ApiGatewayV2::Api", {"CorsConfiguration": Match.object_like(cors)})
    settings = {"ThrottlingRateLimit": 10, "ThrottlingBurstLimit": 20}
    template.has_resource_properties("AWS::ApiGatewayV2::Stage", {"DefaultRouteSettings": settings})


def test_a_role_may_use_the_network_its_own_log_the_models_and_no_more(template, text):
    allowed = set()
    for policy in template.find_resources("AWS::IAM::Policy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"]
            actions = {actions} if isinstance(actions, str) else set(actions)
            allowed |= actions
            assert statement["Resource"] != "*" or all(
                action.startswith("ec2:") or statement.get("Condition") for action in actions
            )
    assert {action.split(":")[0] for action in allowed} == {"ec2", "elasticfilesystem", "logs", "s3"}
    assert {action for action in allowed if action.startswith("s3:")} == {"s3:GetObject"}
    assert not any("*" in action for action in allowed)
    assert "ManagedPolicyArns" not in text


def test_logs_end_and_everything_goes_with_the_stack(template):
    template.resource_count_is("AWS::Logs::LogGroup", 2)
    template.all_resources_properties("AWS::Logs::LogGroup", {"RetentionInDays": 14})
    policies = {each.get("DeletionPolicy", "Delete") for each in template.to_json()["Resources"].values()}
    assert policies == {"Delete"}
