"""Many bad requests and some good ones, through AWS's emulator: no score may change, and no memory may be lost."""

import json
import random

import hostile
import psutil
import pytest
import requests
from conftest import PHOTOS, RUNNING_VERSION, encode, python_of, serving
from test_download import FORBIDDEN

from errors import STATUS
from lambda_function import CLASSES
from tests.harness.servers import free_port

GOOD_SHARE = 0.03
NONSENSE = [None, 7, [], "", {}, {"url": None}, {"url": 1, "image": 2}, {"image": "?"}, {"image": ["AAAA"]}]
NONSENSE += [{"Records": []}, {"url": "http://\ud800/"}, {"url": "https://user:password@example.com/"}]
BODIES = [None, "", "{", "[]", "[" * 100_000, "NaN", '{"image": "\\ud800"}', '{"url": 1e999}', {"url": "x"}, 7]


def function_of(server):
    """Return the process that runs the handler, below web.serve."""
    (function,) = [child for child in server.children(recursive=True) if child.cmdline()[1:3] == ["-m", "awslambdaric"]]
    return function


def bad_events(server):
    """Return events that must be refused."""
    server.answers["/missing"] = lambda request: request.answer(404)
    server.answers["/text"] = lambda request: request.answer(200, b"no photo")
    server.answers["/empty"] = lambda request: request.answer(200)
    server.answers["/short"] = lambda request: request.answer(200, b"abc", Content_Length=99)
    server.answers["/large"] = lambda request: request.answer(200, b"abc", Content_Length=10_000_001)
    server.answers["/gzip"] = lambda request: request.answer(200, b"\x1f\x8b", Content_Encoding="gzip")
    server.answers["/inside"] = lambda request: request.answer(302, Location="http://169.254.169.254/")
    server.answers["/loop"] = lambda request: request.answer(302, Location="/loop")
    urls = [server.url(path) for path in server.answers if path != "/photo.jpg"]
    urls += [server.url("/photo.jpg").replace("http:", "https:"), f"http://127.0.0.1:{free_port()}/"]
    urls += [f"http://[{address}]/" if ":" in address else f"http://{address}/" for address in FORBIDDEN]
    urls += ["file:///etc/passwd", "http://example.com:22/", "http://127.1/"]
    photos = [{"image": encode(data)} for data, _ in hostile.broken().values()]
    direct = [*NONSENSE, *photos, *[{"url": url} for url in urls if "//127.0.0.1/" not in url]]
    return direct + [{"body": json.dumps(event)} for event in direct] + [{"body": body} for body in BODIES]


def good_events(server):
    """Return events that must get scores."""
    photos = [photo.read_bytes() for photo in PHOTOS] + list(hostile.photos().values())
    direct = [{"url": server.url("/photo.jpg")}, *[{"image": encode(data)} for data in photos]]
    return direct + [{"body": json.dumps(event)} for event in direct]


def test_a_thousand_requests_change_no_score_and_lose_no_memory(photo_server, capsys, tmp_path):
    assert abuse(RUNNING_VERSION, 1000, photo_server, capsys, tmp_path) < 5000


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_ten_thousand_requests_change_no_score_and_lose_no_memory(version, photo_server, capsys, tmp_path):
    assert abuse(version, 10_000, photo_server, capsys, tmp_path) < 1000


def abuse(version, requests_in_all, photo_server, capsys, tmp_path):
    """Send requests to the function on a Python version; return by how many bytes a refusal made it grow."""
    chance = random.Random(0)
    bad, good = bad_events(photo_server), good_events(photo_server)
    command = [python_of(version), "-m", "web.serve"]
    log = (tmp_path / "log").open("w")
    with log, serving(command, free_port(), log) as (server, url), requests.Session() as session:
        function = function_of(psutil.Process(server.pid))

        def answer(event):
            response = session.post(url, data=json.dumps(event), timeout=60)
            assert response.status_code == 200
            return response.json()

        def score(event):
            scores = answer(event)
            return json.loads(scores["body"]) if "body" in event else scores

        def refuse(event):
            refusal = answer(event)
            if "errorType" in refusal:
                status, code = STATUS[refusal["errorType"]], refusal["errorType"]
                assert len(refusal["stackTrace"]) <= 1  # the line that raises
            else:
                status, code = refusal["statusCode"], json.loads(refusal["body"])["error"]["code"]
            assert 400 <= status == STATUS[code] < 500, (event, refusal)
            return code

        codes = {refuse(event) for event in bad}
        scores = [score(event) for event in good]
        before, refusals = function.memory_info().rss, 0
        for _ in range(requests_in_all):
            if chance.random() < GOOD_SHARE:
                number = chance.randrange(len(good))
                assert score(good[number]) == scores[number]
            else:
                refuse(chance.choice(bad))
                refusals += 1
        grown = function.memory_info().rss - before
    with capsys.disabled():
        print(f"\nPython {version}: {requests_in_all} requests, {refusals} refused, {grown / 1e6:.1f} MB more", end=" ")
    assert all(list(answer) == CLASSES for answer in scores)
    assert len(codes) > 18
    return grown / refusals
