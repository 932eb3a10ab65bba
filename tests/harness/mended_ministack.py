"""Start ministack with its faults corrected. The Python in .venv-aws runs this.

tests/aws/test_ministack.py shows each fault in the original, which MENDED=false starts. A test fails once a newer
ministack has corrected the fault: then delete the correction here.
"""

import json
import os
import re
from uuid import uuid4

from ministack import app
from ministack.services import ec2, ecr, eventbridge, lambda_svc, stepfunctions
from ministack.services.cloudformation import provisioners

TYPES = provisioners._RESOURCE_HANDLERS


def security_group_rule(permissions):
    """Return the handlers of a rule that is a resource of its own; `permissions` names where a group keeps its kind."""

    def create(logical_id, properties, stack_name):
        ec2._security_groups[properties["GroupId"]][permissions] += provisioners._ec2_sg_permissions([properties])
        name = f"sgr-{uuid4().hex[:17]}"
        return name, {"Id": name}

    def delete(physical_id, properties):
        group = ec2._security_groups.get(properties["GroupId"])
        for rule in provisioners._ec2_sg_permissions([properties]) if group else []:
            group[permissions].remove(rule)

    return {"create": create, "delete": delete}


def found(pattern, answer):
    """Return what a pattern finds in the answer of a call of EC2; raise ValueError with the answer of a failed one."""
    status, _, body = answer
    match = re.search(pattern, body.decode())
    if status != 200 or not match:
        raise ValueError(body.decode())
    return match[1]


def create_address(logical_id, properties, stack_name):
    name = found("<allocationId>(.+)</allocationId>", ec2._allocate_address({}))
    address = ec2._addresses[name]["PublicIp"]
    return address, {"AllocationId": name, "PublicIp": address}


def delete_address(physical_id, properties):
    for name in [name for name, address in ec2._addresses.items() if address["PublicIp"] == physical_id]:
        ec2._release_address({"AllocationId": name})


def create_nat_gateway(logical_id, properties, stack_name):
    name = found("<natGatewayId>(.+)</natGatewayId>", ec2._create_nat_gateway(properties))
    return name, {"NatGatewayId": name}


def delete_nat_gateway(physical_id, properties):
    ec2._delete_nat_gateway({"NatGatewayId": physical_id})


def add_missing_types():
    """CloudFormation refuses stacks with types that it does not know."""
    TYPES["AWS::EC2::SecurityGroupIngress"] = security_group_rule("IpPermissions")
    TYPES["AWS::EC2::SecurityGroupEgress"] = security_group_rule("IpPermissionsEgress")
    TYPES["AWS::EC2::EIP"] = {"create": create_address, "delete": delete_address}
    TYPES["AWS::EC2::NatGateway"] = {"create": create_nat_gateway, "delete": delete_nat_gateway}


def report_missing_images():
    """ECR answers DescribeImages for a tag that is not there with an empty list instead of an error."""
    original = ecr._describe_images

    def describe_images(request):
        for image in request.get("imageIds") or []:
            if request["repositoryName"] in ecr._repositories and not ecr._find_image(request["repositoryName"], image):
                message = f"The image with imageId {json.dumps(image)} does not exist"
                return ecr.error_response_json("ImageNotFoundException", message, 400)
        return original(request)

    ecr._describe_images = describe_images


def read_cors_of_http_apis():
    """HTTP APIs read CORS settings by the names of the API only, and not by those of CloudFormation."""

    def mended(handler):
        return lambda *arguments, **options: handler(*map(in_the_apis_words, arguments), **options)

    def in_the_apis_words(argument):
        if not isinstance(argument, dict) or "CorsConfiguration" not in argument:
            return argument
        return {**argument, "CorsConfiguration": provisioners._pascal_to_camel(argument["CorsConfiguration"])}

    for action in ("create", "update"):
        TYPES["AWS::ApiGatewayV2::Api"][action] = mended(TYPES["AWS::ApiGatewayV2::Api"][action])


def retry_events_of_eventbridge():
    """A function that fails on an event of EventBridge is called once, whatever its retries and destination are."""

    def dispatch(arn, payload):
        function, config, _ = lambda_svc._get_func_record_for_ref(arn)
        if function and config:
            record = lambda_svc._execution_record_for_config(function, config)
            lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch


def read_concurrency_of_maps():
    """Distributed Maps ignore MaxConcurrencyPath, and start 64 functions at once."""
    original = stepfunctions._run_distributed_map

    def run_distributed_map(state, raw_input, effective, *others):
        if "MaxConcurrencyPath" in state:
            number = stepfunctions._resolve_path_or_ctx(state["MaxConcurrencyPath"], effective, others[-1])
            state = {**state, "MaxConcurrency": number}
        return original(state, raw_input, effective, *others)

    stepfunctions._run_distributed_map = run_distributed_map


def stop_maps():
    """Distributed Maps go on when their execution has been stopped, and end it as failed."""
    original, fail = stepfunctions._run_sub_machine, stepfunctions._fail_execution

    def run_sub_machine(states, start_at, input_data, execution, context):
        run = stepfunctions._map_runs.get(execution.get("mapRunArn"))
        if run and stepfunctions._executions[run["executionArn"]]["status"] == "ABORTED":
            raise stepfunctions._ExecutionError("States.Aborted", "The execution was stopped.")
        return original(states, start_at, input_data, execution, context)

    def fail_execution(execution, *reasons):
        if execution["status"] != "ABORTED":
            fail(execution, *reasons)

    stepfunctions._run_sub_machine, stepfunctions._fail_execution = run_sub_machine, fail_execution


if __name__ == "__main__":
    if os.environ.get("MENDED") != "false":
        add_missing_types()
        report_missing_images()
        read_cors_of_http_apis()
        retry_events_of_eventbridge()
        read_concurrency_of_maps()
        stop_maps()
    app.main()
