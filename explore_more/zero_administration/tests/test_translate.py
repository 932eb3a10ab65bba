import json

import pytest
from conftest import code_of

from inference import translate
from inference.translate import handler, split, translate_text
from text import MAX_CHARACTERS, count_words

MIXED = "我饿了。\n\nThis is English, and stays.\r\n他说：“你好！”然后走了。 1999!"


def ask(text, source="zh", target="en"):
    return handler({"text": text, "source": source, "target": target}, None)["translation"]


@pytest.fixture
def echoed(monkeypatch):
    """The sentences that go to the model, which answers them in brackets."""
    sentences = []

    def echo(texts, name):
        sentences.extend(texts)
        return [f"[{text}]" for text in texts]

    monkeypatch.setattr(translate, "translate", echo)
    return sentences


def test_chinese_becomes_english_and_english_chinese():
    english, chinese = ask("汤姆是我的朋友。"), ask("Tom is my friend.", "en", "zh")
    assert "Tom" in english
    assert "汤姆" in chinese
    assert (count_words(english)["zh"], count_words(chinese)["en"]) == (0, 0)


def test_chinese_to_english_is_what_a_request_wants_that_names_no_language():
    assert handler({"text": "我饿了。"}, None)["translation"] == ask("我饿了。")


def test_a_sentence_is_translated_the_same_alone_and_among_others():
    alone = [ask("我饿了。"), ask("你会说中文吗？")]
    assert ask("我饿了。你会说中文吗？") == " ".join(alone)


def test_traditional_characters_are_translated_as_simplified_ones():
    assert ask("我們學習漢語。") == ask("我们学习汉语。")


def test_a_text_is_split_into_sentences_and_nothing_is_lost():
    assert "".join(split(MIXED, "zh")) == MIXED
    parts = [part.strip() for part in split("他说：“我饿了。”然后走了！真的吗？价格是3.5元。", "zh")]
    assert parts == ["他说：“我饿了。”", "然后走了！", "真的吗？", "价格是3.5元。"]
    parts = [part.strip() for part in split('Mr. Smith paid $3.50. "Why?" she asked.', "en")]
    assert parts == ["Mr. Smith paid $3.50.", '"Why?" she asked.']


def test_lines_stay_and_what_is_not_of_the_language_stays(echoed):
    answer = translate_text("我饿了。你好！\n\nHello there.\n再见。", "zh", "en")
    assert answer == "[我饿了。] [你好！]\n\nHello there.\n[再见。]"
    assert translate_text("I am hungry. Hello!\n再见。", "en", "zh") == "[I am hungry.][Hello!]\n再见。"


def test_faces_and_flags_are_kept_from_the_model_and_in_the_answer(echoed):
    assert translate_text("我饿了😀。🇨🇳", "zh", "en").replace(" ", "") == "[我饿了。]😀🇨🇳"
    assert echoed == ["我饿了。"]


@pytest.mark.parametrize(
    "text", [MIXED, "我" * 300, "<b onclick='x'>我饿了，去吃饭吧</b>", "Tom在Google工作3.5年了，对吗？😀", "々〇𠮷"]
)
def test_any_chinese_is_answered_with_text(text):
    answer = handler({"text": text}, None)
    assert set(answer) == {"translation"}
    assert json.loads(json.dumps(answer)) == answer
    assert answer["translation"]


def test_the_longest_text_is_answered_within_bounds():
    answer = ask("你好吗？" * (MAX_CHARACTERS // 4))
    assert 1000 < len(answer) < 100_000


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ([], "unsupported_event"),
        ({}, "missing_text"),
        ({"text": 5}, "invalid_text"),
        ({"text": ""}, "empty_text"),
        ({"text": "😀"}, "empty_text"),
        ({"text": "我\x00"}, "invalid_text"),
        ({"text": "我" * 100_000}, "text_too_long"),
        ({"text": "我们" * 1000}, "sentence_too_long"),
        ({"text": "Hello."}, "wrong_language"),
        ({"text": "1999"}, "wrong_language"),
        ({"text": "Привет, мир, 我"}, "wrong_language"),
        ({"text": "これはとてもおいしいです"}, "wrong_language"),
        ({"text": "我饿了。", "source": "en", "target": "zh"}, "wrong_language"),
        ({"text": "我", "source": "zh", "target": "zh"}, "unsupported_pair"),
        ({"text": "我", "source": "zh", "target": "de"}, "unsupported_pair"),
        ({"text": "我", "source": ["zh"], "target": "en"}, "unsupported_pair"),
        ({"text": "我", "beam": 4}, "unknown_option"),
    ],
)
def test_a_bad_request_gets_a_clear_error(event, expected):
    assert code_of(handler, event) == expected
