"""A user with nothing but docs/deploy_policy.json deploys and destroys, where ministack checks who may do what."""

from conftest import ROOT
from rehearsal import Rehearsal

from tests.harness.aws import running_aws

POLICY = (ROOT / "docs/deploy_policy.json").read_text()


def test_the_policy_is_enough_to_deploy_change_and_destroy_and_for_nothing_else(tmp_path):
    new_account = {"LAMBDA_ACCOUNT_CONCURRENCY": "10"}
    with running_aws(tmp_path, Rehearsal, AUTH="true", **new_account) as account:
        user = ["--user-name", "deployer"]
        account.aws("iam", "create-user", *user)
        key = account.aws("iam", "create-access-key", *user)["AccessKey"]
        credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        nobody = account.deploy(**credentials)
        assert (nobody.status, account.proxy.changes()) == (1, ["CreateUser", "CreateAccessKey"])
        assert "not authorized" in nobody.errors

        number = account.aws("sts", "get-caller-identity")["Account"]
        policy = POLICY.replace("ACCOUNT", number).replace("REGION", account.environ["AWS_REGION"])
        account.aws("iam", "put-user-policy", *user, "--policy-name", "deploy", "--policy-document", policy)
        reserved = account.deploy(**credentials, RESERVED_CONCURRENCY="1")
        assert reserved.status == 2
        assert reserved.errors.endswith("10 must stay so; give -1, or ask AWS for a higher quota\n")
        url = {"ENDPOINT": "url", "ALARM_EMAIL": "none"}
        signed = {"ENDPOINT": "http", "AUTHORIZATION": "AWS_IAM", "REQUIRE_API_KEY": "false"}
        for settings in ({"REQUIRE_API_KEY": "true", "ALARM_EMAIL": "me@example.com"}, signed, url):
            deployed = account.deploy(**credentials, **settings)
            assert deployed.status == 0, deployed.errors
        rolled_back = account.deploy("rollback", **credentials)
        assert rolled_back.status == 0, rolled_back.errors
        other = account.deploy(**credentials, STACK_NAME="other")
        assert other.status == 1
        assert "not authorized" in other.errors
        destroyed = account.deploy("destroy", "--yes", **credentials)
        assert destroyed.status == 0, destroyed.errors
