"""Test that openapi.yaml is valid, agrees with the code, and describes what the function answers."""

import base64
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import ROOT
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate

from addresses import MAX_URL_CHARACTERS
from errors import STATUS
from lambda_function import CLASSES, lambda_handler
from limits import MAX_INLINE_BYTES

DESCRIPTION = yaml.safe_load((ROOT / "openapi.yaml").read_text())
POST = DESCRIPTION["paths"]["/predict"]["post"]
SCHEMAS = DESCRIPTION["components"]["schemas"]


def errors():
    """Yield the status and the code of every example of an error."""
    for status, response in POST["responses"].items():
        for name, example in response["content"]["application/json"].get("examples", {}).items():
            assert example["value"]["error"]["code"] == name
            yield int(status), name


def test_it_is_valid():
    validate(DESCRIPTION)
    assert DESCRIPTION["openapi"].startswith("3.0.")


def test_its_codes_are_those_of_the_code_each_with_an_example():
    assert {code: status for status, code in errors() if code.islower()} == STATUS
    for status, response in POST["responses"].items():
        content = response["content"]["application/json"]
        if int(status) >= 400 and status != "404":
            ours = content["schema"].get("anyOf", [content["schema"]])[0]
            assert ours["allOf"][1]["properties"]["error"]["properties"]["code"]["enum"] == list(content["examples"])


def test_it_allows_the_refusals_of_each_endpoint():
    """REST APIs answer in our format, as the template configures. HTTP APIs and function URLs use AWS's own format.

    AWS documents that format, and ministack answers in it.
    """
    answers = [
        (403, {"Message": "Forbidden"}),
        (404, {"message": "Not Found"}),
        (429, {"message": "Too Many Requests"}),
    ]
    answers += [(503, {"message": "Service Unavailable"})]
    answers += [(503, {"error": {"code": "INTEGRATION_FAILURE", "message": "busy"}})]
    answers += [(403, {"error": {"code": "EXPIRED_TOKEN", "message": "expired"}})]
    for status, answer in answers:
        schema = POST["responses"][str(status)]["content"]["application/json"]["schema"]
        validator = OAS30Validator({**schema, "components": DESCRIPTION["components"]})
        assert validator.is_valid(answer), (status, answer)
        assert not validator.is_valid({"error": {"code": "unknown", "message": "?"}})


def test_its_classes_and_limits_are_those_of_the_code():
    assert SCHEMAS["Scores"]["required"] == list(SCHEMAS["Scores"]["properties"]) == CLASSES
    properties = SCHEMAS["Request"]["properties"]
    assert properties["url"]["maxLength"] == MAX_URL_CHARACTERS
    assert properties["image"]["maxLength"] == MAX_INLINE_BYTES * 4 // 3 + 4


def test_its_example_of_a_photo_gets_scores():
    request = POST["requestBody"]["content"]["application/json"]["examples"]["photo"]["value"]
    assert base64.b64decode(request["image"]).startswith(b"GIF")
    assert list(lambda_handler(request, None)) == CLASSES


def test_schemathesis_finds_no_answer_that_it_does_not_describe(site):
    """Two of schemathesis's checks cannot hold: API Gateway answers an unknown method with 403 instead of 405, and a
    schema cannot describe which bytes are a photo."""
    command = [Path(sys.executable).with_name("schemathesis"), "run", "openapi.yaml", "--url", site.rstrip("/")]
    command += ["--max-examples", "200", "--exclude-checks", "positive_data_acceptance,unsupported_method"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "No issues found" in result.stdout
