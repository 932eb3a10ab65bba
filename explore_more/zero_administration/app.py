"""The stack: for every script in inference/ a function and a route, and one file system for their models.

cdk deploy                        in a network of its own without a way out, which costs nothing while idle
cdk deploy -c nat=true            with a way out, for about $36 a month
cdk deploy -c nat=true -c hub=zh-en=OWNER/NAME,en-zh=OWNER/NAME   converted models from Hugging Face's hub

Further settings are memory (MB) and base (the image to build on).
"""

import json
import os
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_efs as efs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as assets
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from aws_cdk.aws_ecr_assets import Platform

from model_cache import local_folder

FOLDER = Path(__file__).parent
MOUNT = "/mnt/hf_models_cache"
MODELS = ("zh-en", "en-zh")
NAME = os.environ.get("NAME", "explore-more-zero-administration")
# What Lambda needs to join a network; EC2 has no narrower resource for them.
NETWORK_ACTIONS = [
    f"ec2:{action}"
    for action in (
        "CreateNetworkInterface",
        "DescribeNetworkInterfaces",
        "DescribeSubnets",
        "DeleteNetworkInterface",
        "AssignPrivateIpAddresses",
        "UnassignPrivateIpAddresses",
    )
]


class ZeroAdministration(cdk.Stack):
    """A function for each script, whatever the scripts are."""

    def __init__(self, scope, name, scripts=FOLDER / "inference", **options):
        super().__init__(scope, name, description="One script, one function; models on a shared file system", **options)
        self.nat = str(self.setting("nat", "false")).lower() == "true"
        self.vpc = self.make_network()
        self.group = self.make_group()
        self.models = self.make_models()
        self.files, self.access = self.make_file_system()
        self.api = self.make_api()
        for script in sorted(Path(scripts).glob("*.py")):
            self.add_function(script.stem)
        cdk.CfnOutput(self, "Api", value=self.api.api_endpoint)

    def setting(self, name, default):
        value = self.node.try_get_context(name)
        return default if value is None else value

    def make_network(self):
        """Return a network that reaches S3, and the internet only with -c nat=true."""
        private = ec2.SubnetType.PRIVATE_WITH_EGRESS if self.nat else ec2.SubnetType.PRIVATE_ISOLATED
        subnets = [ec2.SubnetConfiguration(name="functions", subnet_type=private)]
        if self.nat:
            subnets.append(ec2.SubnetConfiguration(name="way-out", subnet_type=ec2.SubnetType.PUBLIC))
        return ec2.Vpc(
            self, "Network", max_azs=2, nat_gateways=int(self.nat), subnet_configuration=subnets,
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )  # fmt: skip

    def make_group(self):
        group = ec2.SecurityGroup(
            self, "Functions", vpc=self.vpc, allow_all_outbound=False, description="The functions"
        )  # fmt: skip
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.HTTPS, "S3, and with a NAT gateway the hub")
        return group

    def make_models(self):
        """Return {model: asset}, for those that do not come from a hub: cdk uploads an asset where it is new."""
        hub = str(self.setting("hub", ""))
        self.from_hub = dict(pair.split("=", 1) for pair in hub.split(",") if "=" in pair)
        unknown = set(self.from_hub) - set(MODELS)
        if unknown or bool(hub) != bool(self.from_hub):
            raise ValueError(f"-c hub wants {'=OWNER/NAME,'.join(MODELS)}=OWNER/NAME, or one of them")
        if self.from_hub and not self.nat:
            raise ValueError("-c hub needs -c nat=true too: without it the functions do not reach the hub")
        names = [name for name in MODELS if name not in self.from_hub]
        return {name: assets.Asset(self, f"Model-{name}", path=str(local_folder(name))) for name in names}

    def make_file_system(self):
        """Return the file system, and the way into it for one user."""
        files = efs.FileSystem(
            self, "Models", vpc=self.vpc, encrypted=True, allow_anonymous_access=False,
            removal_policy=cdk.RemovalPolicy.DESTROY,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name="functions"),
        )  # fmt: skip
        access = files.add_access_point(
            "Access",
            path="/models",
            create_acl=efs.Acl(owner_uid="1001", owner_gid="1001", permissions="0750"),
            posix_user=efs.PosixUser(uid="1001", gid="1001"),
        )
        return files, access

    def make_api(self):
        """Return an HTTP API that pages of any origin may call, so often and no more."""
        http = api.HttpApi(
            self, "HttpApi", api_name=self.stack_name, create_default_stage=False,
            cors_preflight=api.CorsPreflightOptions(
                allow_origins=["*"], allow_methods=[api.CorsHttpMethod.POST], allow_headers=["content-type"],
                expose_headers=["retry-after"], max_age=cdk.Duration.hours(1),
            ),
        )  # fmt: skip
        throttle = api.ThrottleSettings(rate_limit=10, burst_limit=20)
        http.add_stage("Stage", stage_name="$default", auto_deploy=True, throttle=throttle)
        return http

    def add_function(self, script):
        """Make the function of a script, and its route."""
        name = f"{self.stack_name}-{script.replace('_', '-')}"
        log = logs.LogGroup(
            self, f"Logs-{script}", log_group_name=f"/aws/lambda/{name}", retention=logs.RetentionDays.TWO_WEEKS,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )  # fmt: skip
        role = iam.Role(self, f"Role-{script}", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        role.add_to_policy(iam.PolicyStatement(actions=NETWORK_ACTIONS, resources=["*"]))
        log.grant_write(role)
        addresses = {name: f"hub:{repository}" for name, repository in self.from_hub.items()}
        for model, asset in self.models.items():
            objects = [asset.bucket.arn_for_objects(asset.s3_object_key)]
            role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=objects))
            addresses[model] = asset.s3_object_url
        base = self.setting("base", None)
        function = lambda_.DockerImageFunction(
            self, f"Function-{script}", function_name=name, role=role, log_group=log,
            code=lambda_.DockerImageCode.from_image_asset(
                str(FOLDER), cmd=[f"inference.{script}.handler"], build_args={"BASE": base} if base else None,
                platform=Platform.LINUX_AMD64,
            ),
            memory_size=int(self.setting("memory", 1769)), timeout=cdk.Duration.seconds(600),
            vpc=self.vpc, vpc_subnets=ec2.SubnetSelection(subnet_group_name="functions"), security_groups=[self.group],
            filesystem=lambda_.FileSystem.from_efs_access_point(self.access, MOUNT),
            environment={
                "HF_HOME": MOUNT, "HF_HUB_OFFLINE": str(int(not self.nat)), "MODELS": json.dumps(addresses),
            },
        )  # fmt: skip
        integration = HttpLambdaIntegration(f"Integration-{script}", function)
        self.api.add_routes(path=f"/{script}", methods=[api.HttpMethod.POST], integration=integration)


if __name__ == "__main__":
    app = cdk.App()
    ZeroAdministration(app, NAME)
    app.synth()
