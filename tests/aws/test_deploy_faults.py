"""deploy.sh when it is killed and when AWS fails: it goes on where it stopped, and never half-hides a fault."""

import pytest
from conftest import GOOD
from test_deploy import NAME, image_tags, kept_tags, post, resources

pytest_plugins = ["rehearsal"]

# What changes something in AWS, in its order.
CHANGES = ["CreateRepository", "SetRepositoryPolicy", "PutLifecyclePolicy", "CreateChangeSet", "ExecuteChangeSet"]
# A resource of an API that is not there.
BROKEN = """Resources:
  Broken: {Type: AWS::ApiGateway::GatewayResponse, Properties: {RestApiId: nobody, ResponseType: THROTTLED}}
"""
STEPS = ["look for", "build", "create", "push", "configure", "wait for", "deploy", "ask"]


@pytest.fixture
def stackless(account):
    """The account with the image at most, which takes longest to push, and a fresh checkout."""
    account.proxy.reset()
    account.aws("cloudformation", "delete-stack", "--stack-name", NAME)
    account.aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", NAME)
    account.copy_checkout()
    return account


def prepare(request, change):
    """Return the account as it may be before that change."""
    return request.getfixturevalue("empty" if change == "CreateRepository" else "stackless")


def kill_after(account, change):
    """Have the proxy kill deploy.sh once the change is done, before it hears of that."""
    account.proxy.after = lambda name: account.kill() if name == change else None


def check_live(account):
    """Deploy, and check that everything is there, once."""
    account.proxy.reset()
    result = account.deploy()
    assert result.status == 0, result.errors
    assert post(account.url, GOOD).status_code == 200
    assert "Api" in resources(account)
    assert image_tags(account) == set(kept_tags(account))
    assert len(account.aws("apigateway", "get-rest-apis")["items"]) == 1


def check_removal(account):
    """Remove all, and check that nothing is left."""
    result = account.deploy("destroy", "--yes")
    assert result.status == 0, result.errors
    assert account.aws("cloudformation", "describe-stacks")["Stacks"] == []
    assert account.aws("ecr", "describe-repositories")["repositories"] == []


def test_killed_at_each_step_in_turn_it_goes_on_from_there(empty):
    for step in STEPS:
        killed = empty.deploy(kill_at=step)
        assert killed.status < 0, f"{step}: {killed.errors}"
        assert not (empty.checkout / ".predict-url").exists()
    check_live(empty)
    empty.proxy.reset()
    assert (empty.deploy().status, empty.proxy.changes()) == (0, [])


@pytest.mark.parametrize("change", CHANGES)
def test_killed_after_any_change_it_goes_on_from_there(request, change):
    account = prepare(request, change)
    kill_after(account, change)
    assert account.deploy().status < 0
    assert account.proxy.changes()[-1] == change
    check_live(account)


@pytest.mark.parametrize("change", ["DeleteStack", "DeleteRepository"])
def test_killed_while_it_removes_it_goes_on_from_there(stackless, change):
    assert stackless.deploy().status == 0
    kill_after(stackless, change)
    assert stackless.deploy("destroy", "--yes").status < 0
    stackless.proxy.reset()
    check_removal(stackless)


@pytest.mark.parametrize("change", ["CreateRepository", "CreateChangeSet", "ExecuteChangeSet"])
def test_what_a_killed_deployment_began_is_removed(request, change):
    account = prepare(request, change)
    kill_after(account, change)
    assert account.deploy().status < 0
    account.proxy.reset()
    check_removal(account)


def test_a_first_stack_that_cannot_be_made_is_explained_and_made_anew(stackless):
    stackless.edit("template.yaml", "Resources:\n", BROKEN)
    result = stackless.deploy()
    assert (result.status, result.output) == (1, "")
    assert "Broken" in result.errors
    stackless.copy_checkout()
    check_live(stackless)


def test_a_change_that_cannot_be_made_leaves_what_was_there(stackless):
    assert stackless.deploy().status == 0
    stackless.edit("template.yaml", "Resources:\n", BROKEN)
    result = stackless.deploy()
    assert (result.status, result.output) == (1, "")
    assert "Broken" in result.errors
    assert post(stackless.url, GOOD).status_code == 200
    stackless.copy_checkout()
    check_live(stackless)


@pytest.mark.parametrize("fault", ["throttled", "broken", "dropped"])
def test_a_fault_that_passes_is_survived_by_every_call(empty, fault):
    empty.proxy.fault = lambda name, number: fault if number == 1 and name != "predict" else None
    deployed = empty.deploy()
    assert deployed.status == 0, deployed.errors
    assert set(CHANGES) <= set(empty.proxy.calls)
    empty.proxy.calls.clear()
    check_removal(empty)


@pytest.mark.parametrize("change", CHANGES)
def test_an_answer_that_is_lost_is_survived_or_reported(request, change):
    account = prepare(request, change)
    account.proxy.fault = lambda name, number: "lost" if name == change and number == 1 else None
    result = account.deploy()
    assert result.status in (0, 1)
    assert (result.output == "") == (result.status == 1)
    if result.status:
        check_live(account)


@pytest.mark.parametrize("call", [*CHANGES, "DescribeImages", "DescribeStacks", "predict"])
def test_a_fault_that_stays_is_reported_and_nothing_is_saved(request, call):
    account = prepare(request, call)
    account.proxy.fault = lambda name, number: "broken" if name == call else None
    result = account.deploy(AWS_MAX_ATTEMPTS="2")
    assert (result.status, result.output) == (1, "")
    assert result.errors.splitlines()[-1].startswith("deploy.sh: ")
    assert not (account.checkout / ".predict-url").exists()


@pytest.mark.parametrize("call", ["DeleteStack", "DeleteRepository"])
def test_a_removal_that_fails_is_reported(stackless, call):
    assert stackless.deploy().status == 0
    stackless.proxy.fault = lambda name, number: "broken" if name == call else None
    result = stackless.deploy("destroy", "--yes", AWS_MAX_ATTEMPTS="2")
    assert result.status == 1
    assert result.errors.splitlines()[-1].startswith("deploy.sh: ")
    assert NAME in result.errors
