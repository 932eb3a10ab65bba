import pytest
from conftest import code_of

from inference import segment
from inference.segment import handler, level_of
from text import MAX_CHARACTERS


def ask(text, **options):
    return handler({"text": text, **options}, None)


def word(text, name):
    (found,) = {str(each): each for each in ask(text)["words"] if each["text"] == name}.values()
    return found


TEXTS = [
    "我昨天在图书馆看了一本有意思的书。",
    "漢字和拼音：學習漢語！",
    "Tom说：“我在Google工作 3.5 年了”，😀👨‍👩‍👧\n第二行\t完",
    "𠮷野家 〇 々 㐀",
    "<b onclick='x'>我</b>&amp;<script>alert(1)</script>",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_words_joined_are_the_text(text):
    assert "".join(each["text"] for each in ask(text)["words"]) == text


def test_a_word_has_reading_level_and_meaning():
    found = word("我昨天在图书馆看了一本书。", "图书馆")
    assert (found["pinyin"], found["level"], found["listed"]) == ("túshūguǎn", "3", True)
    assert "library" in found["glosses"][0]


@pytest.mark.parametrize(
    ("text", "name", "reading"),
    [
        ("银行在哪里？", "银行", "yínháng"),
        ("我们步行去。", "步行", "bùxíng"),
        ("我女儿很好。", "女儿", "nǚ'ér"),
        ("我爱西安。", "西安", "Xī'ān"),
        ("他觉得很好。", "觉得", "juéde"),
    ],
)
def test_a_character_is_read_as_its_word_wants(text, name, reading):
    assert word(text, name)["pinyin"] == reading


def test_the_meanings_of_a_reading_come_first():
    assert word("他很好。", "好")["glosses"][0].startswith("good")


def test_traditional_characters_are_known_and_stay_as_they_were_written():
    words = [each for each in ask("我們學習漢語。")["words"] if "pinyin" in each]
    assert [each["text"] for each in words] == ["我們", "學習", "漢語"]
    assert [each["level"] for each in words] == ["1", "1", "1"]


def test_levels_differ_by_syllabus():
    levels = {
        syllabus: [each.get("level") for each in ask("公园里有熊猫。", syllabus=syllabus)["words"]]
        for syllabus in ("2026", "2021", "2.0")
    }
    assert len({str(each) for each in levels.values()}) == 3


def test_a_word_made_of_known_words_has_their_highest_level():
    levels = {"七": 1, "点": 2, "点钟": 5, "钟": 4}
    assert level_of("七点", levels) == (2, False)
    assert level_of("七点钟", levels) == (4, False)
    assert level_of("点钟", levels) == (5, True)
    assert level_of("七个", levels) == (None, False)


def test_a_name_has_no_level_and_does_not_count():
    answer = ask("汤姆是学生。")
    assert answer["words"][0]["name"]
    assert answer["words"][0]["pinyin"] == "Tāngmǔ"
    assert (answer["shares"]["1"], answer["level"]) == (1.0, "1")


def test_shares_say_who_can_read_a_text():
    easy, hard = ask("我是学生。你好吗？"), ask("该法案引发激烈的宪法争议，议员纷纷弃权。")
    assert (easy["level"], easy["shares"]["1"]) == ("1", 1.0)
    assert hard["shares"]["1"] < 0.5
    assert list(hard["shares"]) == ["1", "2", "3", "4", "5", "6", "7-9"]
    assert list(hard["shares"].values()) == sorted(hard["shares"].values())


def test_a_text_of_names_alone_has_no_share():
    answer = ask("汤姆")
    assert (answer["shares"], answer["level"]) == ({}, None)


def test_words_are_shown_simplified_where_a_phrase_changes_its_length(monkeypatch):
    monkeypatch.setattr(segment, "simplify", lambda text: "学习")
    assert segment.cut("電腦學習") == [("学习", "学习")]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ([], "unsupported_event"),
        (None, "unsupported_event"),
        ({}, "missing_text"),
        ({"text": None}, "invalid_text"),
        ({"text": ["我"]}, "invalid_text"),
        ({"text": ""}, "empty_text"),
        ({"text": " \n"}, "empty_text"),
        ({"text": "。！？"}, "empty_text"),
        ({"text": "😀"}, "empty_text"),
        ({"text": "Hello."}, "wrong_language"),
        ({"text": "Привет"}, "wrong_language"),
        ({"text": "我\x00"}, "invalid_text"),
        ({"text": "我\ud800"}, "invalid_text"),
        ({"text": "我" * (MAX_CHARACTERS + 1)}, "text_too_long"),
        ({"text": "我" * 100_000}, "text_too_long"),
        ({"text": "我", "level": 3}, "unknown_option"),
        ({"text": "我", "syllabus": 2026}, "invalid_option"),
        ({"text": "我", "syllabus": "1999"}, "invalid_option"),
    ],
)
def test_a_bad_request_gets_a_clear_error(event, expected):
    assert code_of(handler, event) == expected


def test_the_longest_text_is_answered():
    assert len(ask("我爱学习" * (MAX_CHARACTERS // 4))["words"]) > 1000
