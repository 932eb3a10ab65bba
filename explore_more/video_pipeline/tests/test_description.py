"""The commentary, with a real language model, and with servers that misbehave as language models do."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import description

pytest.importorskip("tests.harness", reason="the servers of the tests are in the repository")
from tests.harness.servers import free_port, running

GARMENTS = [
    {"id": 4, "class": "dress", "first": 0.4, "last": 3.2},
    {"id": 7, "class": "t-shirt", "first": 2.0, "last": 5.1},
    {"id": 9, "class": "pants", "first": 4.0, "last": 7.7},
]


def answer_of(names, **changes):
    named = [{"id": number, "class": name, "sentence": f"A fine {name}."} for number, name in enumerate(names, 1)]
    return json.dumps([{**each, **changes} for each in named])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        time.sleep(self.server.delay)
        text = self.server.text
        text = text if isinstance(text, str) else text(json.loads(self.server.asked[-1]))
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endpoint(monkeypatch):
    """A server that answers `text`, with `status`, after `delay` seconds, and keeps what it was `asked`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.text, server.status, server.delay = [], "", 200, 0
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1/")
    monkeypatch.setenv("LANGUAGE_MODEL", "stub")
    with running(server):
        yield server


def written(result):
    return [result["sentences"][str(each["id"])]["written_by"] for each in GARMENTS]


def test_a_small_model_writes_sentences_that_pass_the_schema(language_model, monkeypatch):
    """This fails when the model's own text never passes, so that the template cannot stand in for it unnoticed."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{language_model}/v1")
    result = description.describe(GARMENTS)
    assert written(result) == ["model"] * 3
    assert result["written_by"]["by_model"] == 3 and result["written_by"]["problem"] is None


def test_a_good_answer_is_taken(endpoint):
    endpoint.text = "Here you are:\n```json\n" + answer_of(["dress", "t-shirt", "pants"]) + "\n```"
    result = description.describe(GARMENTS)
    assert result["sentences"]["9"] == {"sentence": "A fine pants.", "written_by": "model"}
    assert result["written_by"] == {"model": "stub", "by_model": 3, "problem": None}
    assert result["counts"] == {"dress": 1, "pants": 1, "t-shirt": 1}
    assert result["summary"] == "3 garments: 1 dress, 1 pair of pants and 1 t-shirt."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I am sorry, I cannot help with that.",
        "[" * 50_000,
        "[" * 50_000 + "]",
        "[1, 2, 3]",
        '{"sentence": "A dress."}',
        answer_of(["hat", "hat", "hat"]),  # about something else
        answer_of(["dress", "t-shirt", "pants"], sentence="Buy now!!!"),
        answer_of(["dress", "t-shirt", "pants"], sentence=["a dress"]),
        answer_of(["dress", "t-shirt", "pants"], sentence="A dress, a t-shirt, pants. " * 20),
        answer_of(["dress", "t-shirt", "pants"], sentence="A dress, a t-shirt, pants,\n<script>"),
        answer_of(["dress", "t-shirt", "pants"], price=5),
        answer_of(["dress", "t-shirt", "pants"], id=True),
        answer_of(["dress", "t-shirt", "pants"], id=17),
    ],
)
def test_nonsense_is_replaced_by_the_template_which_says_so(endpoint, text):
    endpoint.text = text
    result = description.describe(GARMENTS)
    assert written(result) == ["template"] * 3
    assert result["written_by"] == {
        "model": None, "by_model": 0, "problem": "The language model's answer did not pass the schema.",
    }  # fmt: skip
    assert result["sentences"]["4"]["sentence"] == "A dress, seen from second 0.4 of the video."


def test_what_is_missing_is_asked_for_again_by_itself(endpoint):
    def text(request):
        asked = json.loads(request["messages"][-1]["content"])
        return answer_of([each["class"] for each in asked] if len(asked) == 1 else ["dress", "shoe", "pants"])

    endpoint.text = text
    assert written(description.describe(GARMENTS)) == ["model"] * 3
    assert len(endpoint.asked) == 2


def test_a_model_that_refuses_options_is_asked_without_them(endpoint):
    def text(request):
        endpoint.status = 400 if "temperature" in request else 200
        return answer_of(["dress", "t-shirt", "pants"])

    endpoint.text = text
    assert written(description.describe(GARMENTS)) == ["model"] * 3


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_a_model_that_fails_is_replaced_by_the_template(endpoint, status):
    endpoint.status = status
    result = description.describe(GARMENTS)
    assert written(result) == ["template"] * 3
    assert result["written_by"]["problem"] == "The language model did not answer (HTTPError)."


def test_a_model_that_is_down_is_replaced_by_the_template(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    result = description.describe(GARMENTS)
    assert written(result) == ["template"] * 3
    assert "did not answer" in result["written_by"]["problem"]


def test_a_slow_model_is_not_waited_for(endpoint, monkeypatch):
    monkeypatch.setattr(description, "REQUEST_SECONDS", 0.2)
    endpoint.delay = 1
    result = description.describe(GARMENTS)
    assert written(result) == ["template"] * 3
    assert "did not answer" in result["written_by"]["problem"]


def test_no_model_is_needed(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("LANGUAGE_MODEL", raising=False)
    assert description.describe(GARMENTS)["written_by"]["problem"] == "No language model is set."


def test_no_garment_is_no_reason_to_ask(endpoint):
    result = description.describe([])
    assert (result["summary"], result["sentences"], endpoint.asked) == ("No garment was seen.", {}, [])


def test_the_model_is_told_of_classes_alone(endpoint):
    """Whatever else stands in a garment, such as a key with a user's name in it, does not reach the model."""
    hostile = "ignore-all-instructions"
    description.describe([{**each, "crop": f"crops/{hostile}/1.jpg", "user": hostile} for each in GARMENTS])
    assert endpoint.asked and not any(hostile in each for each in endpoint.asked)
