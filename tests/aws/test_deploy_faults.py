"""deploy.sh when it is killed and when AWS fails: it goes on where it stopped, and never half-hides a fault."""

from conftest import GOOD
from test_deploy import NAME, image_tags, kept_tags, post, resources

pytest_plugins = ["rehearsal"]

PUBLISH = f"POST /2015-03-31/functions/{NAME}/versions"
TRY = f"POST /2015-03-31/functions/{NAME}/invocations?Qualifier=1"
# What changes something in AWS, in its order: the stack is made, and then has the version answer.
CHANGES = ["CreateRepository", "SetRepositoryPolicy", "CreateChangeSet", "ExecuteChangeSet", PUBLISH, TRY]
CHANGES += ["CreateChangeSet", "ExecuteChangeSet", "PutLifecyclePolicy"]
# A resource of an API that is not there.
BROKEN = """Resources:
  Broken: {Type: AWS::ApiGateway::GatewayResponse, Properties: {RestApiId: nobody, ResponseType: THROTTLED}}
"""
STEPS = ["look for", "build", "push", "wait for", "try", "ask"]


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


def test_killed_after_each_change_in_turn_it_goes_on_from_there(empty):
    for change in CHANGES:
        empty.proxy.reset()
        kill_after(empty, change)
        killed = empty.deploy()
        assert killed.status < 0, f"{change}: {killed.errors}"
        assert empty.proxy.changes()[-1] == change
    check_live(empty)


def test_a_removal_that_fails_or_is_killed_goes_on_from_there(stackless):
    assert stackless.deploy().status == 0
    for change in ("DeleteStack", "DeleteRepository"):
        stackless.proxy.fault = lambda name, number, change=change: "broken" if name == change else None
        result = stackless.deploy("destroy", "--yes", AWS_MAX_ATTEMPTS="1")
        assert result.status == 1
        assert result.errors.splitlines()[-1].startswith("deploy.sh: ")
        assert NAME in result.errors
        stackless.proxy.reset()
        kill_after(stackless, change)
        assert stackless.deploy("destroy", "--yes").status < 0
        stackless.proxy.reset()
    check_removal(stackless)


def test_what_a_killed_deployment_began_is_removed(empty):
    for change in ("CreateRepository", "CreateChangeSet", "ExecuteChangeSet"):
        kill_after(empty, change)
        assert empty.deploy().status < 0
        empty.proxy.reset()
        check_removal(empty)


def test_a_stack_that_was_begun_and_has_no_change_set_is_taken_and_removed(stackless):
    stack = ["--stack-name", NAME, "--change-set-name", "first"]
    body = ["--template-body", '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}', "--change-set-type", "CREATE"]
    for then in (check_live, check_removal):
        stackless.aws("cloudformation", "create-change-set", *stack, *body)
        stackless.aws("cloudformation", "delete-change-set", *stack)
        (found,) = stackless.aws("cloudformation", "describe-stacks", "--stack-name", NAME)["Stacks"]
        assert found["StackStatus"] == "REVIEW_IN_PROGRESS"
        then(stackless)
        stackless.aws("cloudformation", "delete-stack", "--stack-name", NAME)
        stackless.aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", NAME)


def test_what_cannot_be_made_is_told_with_its_own_cause_and_leaves_what_was_there(stackless, tmp_path):
    stackless.edit("template.yaml", "Resources:\n", BROKEN)
    result = stackless.deploy()
    assert (result.status, result.output) == (1, "")
    assert "Broken" in result.errors
    stackless.copy_checkout()
    check_live(stackless)

    # AWS also names what it cancelled because of another failure, which the stand-in does not.
    wrapper = tmp_path / "aws"
    cancelled = "event\\tCREATE_FAILED\\tNeighbour\\tResource creation cancelled\\n"
    wrapper.write_text(
        f"#!/bin/sh\ncase \"$*\" in *ResourceStatusReason*) printf '{cancelled}' ;; esac\n"
        'PATH=${PATH#*:}\nexec aws "$@"\n'
    )
    wrapper.chmod(0o755)
    stackless.edit("template.yaml", "Resources:\n", BROKEN.replace("Broken", "Other"))
    result = stackless.deploy(PATH=f"{tmp_path}:{stackless.environ['PATH']}")
    assert (result.status, result.output) == (1, "")
    assert "Other" in result.errors
    assert "Broken" not in result.errors
    assert "Neighbour" not in result.errors
    assert post(stackless.url, GOOD).status_code == 200


def test_faults_that_pass_are_survived_by_every_call(empty):
    faults = {1: "throttled", 2: "broken", 3: "dropped"}
    empty.proxy.fault = lambda name, number: faults.get(number) if name != "predict" else None
    deployed = empty.deploy()
    assert deployed.status == 0, deployed.errors
    assert set(CHANGES) <= set(empty.proxy.calls)
    empty.proxy.calls.clear()
    check_removal(empty)


def test_answers_that_are_lost_are_survived_or_reported(empty):
    lost = []

    def lose(name, number):
        """Lose the answer to each change once."""
        if lost.count(name) == CHANGES.count(name) or number > 1:
            return None
        lost.append(name)
        return "lost"

    empty.proxy.fault = lose
    for _ in CHANGES:
        empty.proxy.calls.clear()
        result = empty.deploy()
        assert result.status in (0, 1)
        assert (result.output == "") == (result.status == 1)
        if result.status == 0:
            break
    assert sorted(lost) == sorted(CHANGES)
    check_live(empty)


def test_a_fault_that_stays_is_reported_and_nothing_is_saved(empty):
    for call in ["DescribeStacks", *CHANGES, "DescribeImages", "predict"]:
        empty.proxy.calls.clear()
        empty.proxy.fault = lambda name, number, call=call: "broken" if name == call else None
        result = empty.deploy(AWS_MAX_ATTEMPTS="1")
        assert (result.status, result.output) == (1, ""), f"{call}: {result.errors}"
        assert result.errors.splitlines()[-1].startswith("deploy.sh: ")
        assert not (empty.checkout / ".predict-url").exists()
