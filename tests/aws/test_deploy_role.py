"""The roles of .github/deploy_role.yaml: enough for deploy.sh and for its stack, and for nothing else."""

import json
import re
import subprocess
from fnmatch import fnmatchcase

import pytest
import yaml
from conftest import ROOT
from rehearsal import Rehearsal

from tests.harness.aws import TOOLS, running_aws

ROLES = ROOT / ".github/deploy_role.yaml"
ARGUMENTS = ["Repository=owner/name", "OidcProvider=arn:aws:iam::000000000000:oidc-provider/token.actions"]
SERVICES = "apigateway|apigatewayv2|cloudformation|cloudwatch|ecr|iam|lambda|logs|sns|sts"

# What `aws` calls by another name than the call's, and what one command of it does.
CALLS = {
    "cloudformation deploy": [
        f"cloudformation:{name}"
        for name in ("DescribeStacks", "GetTemplateSummary", "CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet")
    ],
    "ecr get-login-password": ["ecr:GetAuthorizationToken"],
    "lambda invoke": ["lambda:InvokeFunction"],
    "apigateway get-account": ["apigateway:GET"],
    "apigateway get-api-key": ["apigateway:GET"],
    "sts get-caller-identity": [],  # nobody needs a permission for it
}
# What AWS's handlers can do with properties that our template does not use.
UNUSED = [
    "codedeploy:*", "ec2:*", "elasticfilesystem:*", "firehose:*", "kms:*", "s3:*", "s3files:*",
    "iam:*RolePermissionsBoundary", "iam:*tachRolePolicy", "iam:ListRoles", "iam:UpdateRoleDescription",
    "lambda:GetLayerVersion", "lambda:ListFunctions", "lambda:PassCapacityProvider",
    "logs:*BearerTokenAuthentication", "logs:*DeletionProtection", "logs:*KmsKey", "logs:DeleteDataProtectionPolicy",
    "logs:DeleteIndexPolicy", "logs:DeleteResourcePolicy", "logs:PutDataProtectionPolicy", "logs:PutIndexPolicy",
    "apigateway:*Resource", "apigateway:UpdateRestApiPolicy",
    "sns:ListTopics", "sns:PutDataProtectionPolicy",
]  # fmt: skip


class Loader(yaml.SafeLoader):
    """Reads templates; !Ref, !Sub and their like become their argument."""


def construct(loader, _, node):
    if isinstance(node, yaml.ScalarNode):
        return node.value
    return loader.construct_sequence(node, deep=True)


Loader.add_multi_constructor("!", construct)


def load(path):
    return yaml.load(path.read_text(), Loader)["Resources"]


def allowed(role):
    """Return the actions that a role's policies name."""
    statements = [s for p in load(ROLES)[role]["Properties"]["Policies"] for s in p["PolicyDocument"]["Statement"]]
    actions = [[s["Action"]] if isinstance(s["Action"], str) else s["Action"] for s in statements]
    return {action for names in actions for action in names}


def matches(action, patterns):
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


def handler_permissions(kind):
    """Return what CloudFormation says that its handlers of a resource type need, as cfn-lint carries it."""
    (schemas,) = TOOLS.parent.glob("lib/python3*/site-packages/cfnlint/data/schemas")
    number = json.loads((schemas / "providers/eu-west-1.json").read_text())[kind]
    handlers = json.loads((schemas / f"resources/{number}.json").read_text())["handlers"]
    return {permission for handler in handlers.values() for permission in handler["permissions"]}


def test_the_deployer_may_make_every_call_of_the_script():
    script = (ROOT / "deploy.sh").read_text()
    commands = set(re.findall(rf"\b(?:aws|lookup) ((?:{SERVICES}) (?!wait)[a-z-]+)", script))
    needed = set()
    for command in commands:
        service, name = command.split()
        needed.update(CALLS.get(command, [f"{service}:{name.title().replace('-', '')}"]))
    assert len(needed) > 20
    assert {action for action in needed if not matches(action, allowed("DeployRole"))} == set()


def test_cloudformation_may_do_all_that_its_handlers_do_for_our_resources():
    needed = {
        p for kind in {r["Type"] for r in load(ROOT / "template.yaml").values()} for p in handler_permissions(kind)
    }
    missing = {action for action in needed if not matches(action, allowed("ServiceRole"))}
    assert {action for action in missing if not matches(action, UNUSED)} == set()
    assert {"logs:DescribeIndexPolicies", "lambda:CreateFunction", "apigateway:POST"} <= needed


def test_github_may_deploy_from_one_environment_of_one_repository():
    (trust,) = load(ROLES)["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:${Repository}:environment:${Environment}",
        }
    }
    workflow = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())
    parameters = yaml.load(ROLES.read_text(), Loader)["Parameters"]
    assert workflow["jobs"]["deploy"]["environment"] == parameters["Environment"]["Default"]
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    for step in workflow["jobs"]["deploy"]["steps"]:
        assert "uses" not in step or re.search(r"@[0-9a-f]{40}$", step["uses"])


def test_every_role_of_the_stack_takes_the_boundary():
    roles = [resource for resource in load(ROOT / "template.yaml").values() if resource["Type"] == "AWS::IAM::Role"]
    assert roles and all("PermissionsBoundary" in role["Properties"] for role in roles)


def test_the_deployer_itself_may_change_no_role():
    assert {action for action in allowed("DeployRole") if action.startswith("iam:")} == {"iam:PassRole"}


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with running_aws(tmp_path_factory.mktemp("aws"), Rehearsal, AUTH="true") as account:
        arguments = ["--template-file", ROLES, "--capabilities", "CAPABILITY_IAM", "--parameter-overrides", *ARGUMENTS]
        command = [TOOLS / "aws", "cloudformation", "deploy", "--stack-name", "github", *arguments]
        subprocess.run(command, env={**account.environ, "AWS_DEFAULT_REGION": "eu-west-1"}, check=True)
        (stack,) = account.aws("cloudformation", "describe-stacks", "--stack-name", "github")["Stacks"]
        account.roles = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        yield account


def policy_of(account, role):
    """Return the only policy of a role."""
    name = account.roles[role].split("/")[-1]
    (policy,) = account.aws("iam", "list-role-policies", "--role-name", name)["PolicyNames"]
    answer = account.aws("iam", "get-role-policy", "--role-name", name, "--policy-name", policy)
    return json.dumps(answer["PolicyDocument"])


def make_deployer(account):
    """Make a user who may do what DeployRole may; return its credentials. Nobody here can prove to be GitHub."""
    user = ["--user-name", "deployer"]
    account.aws("iam", "create-user", *user)
    policy = policy_of(account, "DeployRole")
    account.aws("iam", "put-user-policy", *user, "--policy-name", "deploy", "--policy-document", policy)
    key = account.aws("iam", "create-access-key", *user)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def test_what_github_gets_is_enough_to_deploy_and_destroy_and_for_no_other_stack(account):
    settings = make_deployer(account)
    settings["SERVICE_ROLE"] = account.roles["ServiceRole"]
    settings["PERMISSIONS_BOUNDARY"] = account.roles["PermissionsBoundary"]
    deployed = account.deploy(**settings)
    assert deployed.status == 0, deployed.errors
    (stack,) = account.aws("cloudformation", "describe-stacks", "--stack-name", "clothing-classifier")["Stacks"]
    assert stack["StackStatus"].endswith("_COMPLETE")
    other = account.deploy(**settings, STACK_NAME="other")
    assert other.status == 1
    assert "not authorized" in other.errors
    destroyed = account.deploy("destroy", "--yes", **settings)
    assert destroyed.status == 0, destroyed.errors


# ministack's judge of policies, which gives no request the key iam:PermissionsBoundary by itself
EVALUATE = """
import json, sys
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

policies, action, resource, boundary = json.load(sys.stdin)
context = {"iam:permissionsboundary": boundary} if boundary else {}
request = EvalContext("arn:aws:iam::000000000000:role/x", "AssumedRole", "000000000000", action, resource, "eu-west-1",
                      "127.0.0.1", True, service_context=context)
print(evaluate(request, *([parse_policy_document(policy)] for policy in policies)).decision)
"""


def may(policies, action, resource, boundary=None):
    """Return whether all of some policies allow an action, upon a role with that boundary."""
    command = [TOOLS / "python", "-c", EVALUATE]
    question = json.dumps([policies, action, resource, boundary])
    return subprocess.check_output(command, input=question, text=True) == "Allow\n"


def test_a_template_can_make_only_roles_with_the_boundary(account):
    policy, boundary = [policy_of(account, "ServiceRole")], account.roles["PermissionsBoundary"]
    ours = "arn:aws:iam::000000000000:role/clothing-classifier-Role-1"
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"):
        assert may(policy, action, ours, boundary)
        assert not may(policy, action, ours)
        assert not may(policy, action, ours, "arn:aws:iam::aws:policy/AdministratorAccess")
        for other in (account.roles["ServiceRole"], account.roles["DeployRole"]):
            assert not may(policy, action, other, boundary)
    for action in ("iam:DeleteRolePermissionsBoundary", "iam:AttachRolePolicy", "iam:CreatePolicyVersion"):
        assert not may(policy, action, ours, boundary)
        assert not may(policy, action, boundary)


def test_a_role_with_the_boundary_can_write_the_functions_logs_and_nothing_else(account):
    boundary = account.roles["PermissionsBoundary"]
    version = account.aws("iam", "get-policy", "--policy-arn", boundary)["Policy"]["DefaultVersionId"]
    document = account.aws("iam", "get-policy-version", "--policy-arn", boundary, "--version-id", version)
    anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policies = [json.dumps(anything), json.dumps(document["PolicyVersion"]["Document"])]
    logs = "arn:aws:logs:eu-west-1:000000000000:log-group:/aws/lambda/clothing-classifier:log-stream:1"
    assert may(policies, "logs:PutLogEvents", logs)
    assert not may(policies, "logs:PutLogEvents", logs.replace("classifier", "other"))
    assert not may(policies, "s3:GetObject", "arn:aws:s3:::bucket/key")
    assert not may(policies, "iam:CreateUser", "arn:aws:iam::000000000000:user/x")
