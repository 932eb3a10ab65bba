import json
import math
import sys
from io import BytesIO
from types import SimpleNamespace

import pytest

import app
from app import RequestError, lambda_handler

SENTENCES = ["Ich habe Hunger.", "Wo ist der Bahnhof?", "Kannst du mir bitte helfen?"]


def ask(sentences=SENTENCES, **options):
    return lambda_handler({"sentences": sentences, **options}, None)


def code(event):
    with pytest.raises(RequestError) as raised:
        lambda_handler(event, None)
    assert 10 < len(str(raised.value)) < 200
    assert 400 <= raised.value.status < 500
    return type(raised.value).__name__


def test_german_becomes_english():
    texts = [each["hypotheses"][0]["text"] for each in ask()["translations"]]
    assert texts[0] == "I'm hungry."
    assert "station" in texts[1]
    assert "help me" in texts[2]


def test_a_sentence_is_translated_the_same_alone_and_among_others():
    alone = [ask([sentence])["translations"][0]["hypotheses"][0]["text"] for sentence in SENTENCES]
    assert [each["hypotheses"][0]["text"] for each in ask()["translations"]] == alone


def test_hypotheses_come_best_first_and_differ():
    for translation in ask(hypotheses=5)["translations"]:
        scores = [hypothesis["score"] for hypothesis in translation["hypotheses"]]
        assert scores == sorted(scores, reverse=True)
        assert len({hypothesis["text"] for hypothesis in translation["hypotheses"]}) > 1
        assert len(scores) == 5
        assert all(score <= 0 for score in scores)


def test_attention_is_a_share_of_each_source_token_for_each_target_token():
    for translation in ask(hypotheses=2)["translations"]:
        assert translation["source"][-1] == "</s>"
        for hypothesis in translation["hypotheses"]:
            assert len(hypothesis["attention"]) == len(hypothesis["tokens"])
            for row in hypothesis["attention"]:
                assert len(row) == len(translation["source"])
                assert math.isclose(sum(row), 1, abs_tol=0.01)


def test_attention_finds_the_word_that_a_word_comes_from():
    (translation,) = ask(["Tom trinkt Kaffee."])["translations"]
    hypothesis = translation["hypotheses"][0]
    row = hypothesis["attention"][hypothesis["tokens"].index("▁coffee")]
    assert translation["source"][row.index(max(row))] == "▁Kaffee"


def test_attention_can_be_left_out():
    assert "attention" not in ask(attention=False)["translations"][0]["hypotheses"][0]


def test_an_answer_is_plain_json():
    assert json.loads(json.dumps(ask(), allow_nan=False)) == ask()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ([], "unsupported_event"),
        (None, "unsupported_event"),
        ({"Records": []}, "unsupported_event"),
        ({}, "missing_sentences"),
        ({"sentences": []}, "missing_sentences"),
        ({"sentences": "Ich habe Hunger."}, "missing_sentences"),
        ({"sentences": {"0": "Hallo"}}, "missing_sentences"),
        ({"sentences": None}, "missing_sentences"),
        ({"sentences": ["Hallo."] * 10_000}, "too_many_sentences"),
        ({"sentences": ["Hallo.", 5]}, "invalid_sentence"),
        ({"sentences": [["Hallo."]]}, "invalid_sentence"),
        ({"sentences": [None]}, "invalid_sentence"),
        ({"sentences": ["x" * 100_000]}, "sentence_too_long"),
        ({"sentences": [""]}, "empty_sentence"),
        ({"sentences": ["   "]}, "empty_sentence"),
        ({"sentences": ["…!?"]}, "empty_sentence"),
        ({"sentences": ["🙂"]}, "empty_sentence"),
        ({"sentences": ["Hallo\nTom."]}, "control_character"),
        ({"sentences": ["Hallo\x00"]}, "control_character"),
        ({"sentences": ["Hallo\ud800"]}, "control_character"),
        ({"sentences": ["我饿了"]}, "unknown_script"),
        ({"sentences": ["Я голоден."]}, "unknown_script"),
        ({"sentences": ["Hallo."], "beam": 4}, "unknown_option"),
        ({"sentences": ["Hallo."], "beam_size": 0}, "invalid_option"),
        ({"sentences": ["Hallo."], "beam_size": True}, "invalid_option"),
        ({"sentences": ["Hallo."], "beam_size": 1.5}, "invalid_option"),
        ({"sentences": ["Hallo."], "hypotheses": 1000}, "invalid_option"),
        ({"sentences": ["Hallo."], "attention": 1}, "invalid_option"),
        ({"sentences": ["Hallo."], "answer": ["s3"]}, "invalid_option"),
        ({"sentences": ["Hallo."], "answer": "s3"}, "answer_too_large"),  # no bucket is set
    ],
)
def test_a_bad_request_gets_a_clear_error(event, expected):
    assert code(event) == expected


def test_numbers_and_foreign_names_are_translated():
    for sentence in ("1999 kam er nach 北京.", "Das kostet 5 €.", "ÄÖÜ ß é ñ"):
        assert ask([sentence])["translations"][0]["hypotheses"][0]["text"]


def test_the_longest_sentence_that_is_allowed_is_answered_or_refused_clearly():
    ask(["Haus " * 100])
    for word in ("Ein Haus. " * 50, "X1-" * 166, "ſ" * 500, "é" * 500):
        try:
            assert ask([word[:500]])["translations"]
        except RequestError as error:
            assert type(error).__name__ == "sentence_too_long"


def test_a_fault_of_ours_is_told_to_the_log_alone(monkeypatch, capsys):
    def fail(*arguments, **options):
        raise ValueError("secret")

    monkeypatch.setattr(app, "translate", fail)
    with pytest.raises(RequestError) as raised:
        ask()
    assert (type(raised.value).__name__, raised.value.status) == ("internal", 500)
    assert "secret" not in str(raised.value)
    assert "secret" in capsys.readouterr().out


@pytest.fixture
def bucket(monkeypatch):
    """A bucket in memory that stands in for S3."""
    kept = {}

    def put_object(Bucket, Key, Body, ContentType):
        kept[Key] = Body

    client = SimpleNamespace(put_object=put_object)
    monkeypatch.setitem(sys.modules, "boto3", SimpleNamespace(client=lambda name, endpoint_url: client))
    monkeypatch.setattr(app, "BUCKET", "ours")
    return kept


def test_a_large_answer_goes_to_the_bucket(bucket, monkeypatch):
    monkeypatch.setattr(app, "MAX_INLINE_BYTES", 1000)
    answer = ask()
    assert answer["bucket"] == "ours"
    assert answer["key"].startswith("answers/")
    assert answer["bytes"] == len(bucket[answer["key"]])
    assert len(json.load(BytesIO(bucket[answer["key"]]))["translations"]) == 3


def test_an_answer_goes_where_the_request_says(bucket, monkeypatch):
    assert "key" in ask(answer="s3")
    assert len(bucket) == 1
    monkeypatch.setattr(app, "MAX_INLINE_BYTES", 10)
    assert "translations" in ask(answer="inline")
    assert len(bucket) == 1


def test_two_answers_never_share_a_key(bucket):
    assert ask(answer="s3")["key"] != ask(answer="s3")["key"]
