"""Where sentences end in two languages, and passages that are whole, within the budget, and exactly where they say."""
import base64
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.foundations.core import Record, UserError
from aquilt.reading.documents import Document, normal, passage_again, read_file
from aquilt.reading.passages import END, MAY_END, _may_end, blocks, cut, sentences, token_counter

MODEL = Path(__file__).resolve().parent.parent / "aquilt" / "data" / "models" / "qwen2"
COUNT = token_counter(MODEL)
BLOCKY = st.lists(st.sampled_from(["# Mill\n\n", "\n\n## Seal. One\n\n", "### Deep\n", "Check it. ", "Note what you see, always. ", "\n", "\n\n", "\n```\nx = 1. Y\n\n# no heading\n```\n", "```", "\nPart\tPrice\nRoller. Old\t12\nSeal\t9\n",
                                  "a\tb\n", "$x_1. Y$", "$$a\\\\ b. C$$", "$5 ", "\\[", "\\]", "城市在河边。", "|a|b|\n|-|-|\n|1. B|2|\n", "word " * 20, "~~~"]), max_size=14).map("".join)
MIXED = st.lists(st.sampled_from(["The city", " lies", "by", " ", "\n", "\n\n", ". ", ".", "! ", "? ", "。", "！", "……", "“", "”", "(", ")", "《", "》", '"', "Dr. ", "3.5", "城市", "在河边", "，", ", ", "A", "loss.Three ",
                                 "e.g. ", "x" * 40, "。”"]), max_size=40).map("".join)


def split(text):
    return [text[a:b] for a, b in sentences(text)]


def words(n):
    "A counter for tests by hand: every character is a token."
    return lambda texts: [len(text) for text in texts]


# ---- sentences

@pytest.mark.parametrize("text, expected", [
    ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
    ("He came?! Really... Yes.", ["He came?!", "Really...", "Yes."]),
    ("Dr. Li met Mr. J. Wu vs. St. John at 3.5 km. Then he left.", ["Dr. Li met Mr. J. Wu vs. St. John at 3.5 km.", "Then he left."]),
    ("See e.g. the map, i.e. Fig. 3. It is old.", ["See e.g. the map, i.e. Fig. 3.", "It is old."]),
    ("It lives in the U.S. today. So do I. We know.", ["It lives in the U.S. today.", "So do I.", "We know."]),
    ("p < .05 and 3. of 4. hold. End", ["p < .05 and 3. of 4. hold.", "End"]),
    ("It was a loss.Three possible causes exist.", ["It was a loss.", "Three possible causes exist."]),
    ("Visit www.example.Com and a.b@mail.Org now. Good.", ["Visit www.example.Com and a.b@mail.Org now.", "Good."]),
    ("Version 1.2.3 works. Yes.", ["Version 1.2.3 works.", "Yes."]),
    ("A title\n\nA paragraph without an end\n \nAnother", ["A title", "A paragraph without an end", "Another"]),
    ("Clay ..... 3\nSand . . . . . 7\nLoam .... iv\nThe end.", ["Clay ..... 3", "Sand . . . . . 7", "Loam .... iv", "The end."]),
    ("One line\nand its next. Two.", ["One line\nand its next.", "Two."])])
def test_english(text, expected):
    assert split(text) == expected


@pytest.mark.parametrize("text, expected", [
    ("城市在河边。有一座桥！真的吗？是的", ["城市在河边。", "有一座桥！", "真的吗？", "是的"]),
    ("他想了想……然后走了。", ["他想了想……", "然后走了。"]),
    ("什么？！不会吧。", ["什么？！", "不会吧。"]),
    ("圆周率是3.14，很有用。对。", ["圆周率是3.14，很有用。", "对。"]),
    ("第一章 ………… 3\n第二章………12\n完。", ["第一章 ………… 3", "第二章………12", "完。"]),
    ("甲；乙；丙。丁。", ["甲；乙；丙。", "丁。"]),
    ("用Python写的.很好。It works.很好。", ["用Python写的.", "很好。", "It works.", "很好。"])])
def test_chinese(text, expected):
    assert split(text) == expected


@pytest.mark.parametrize("text, expected", [
    ("他说：“走吧。我们走！”她笑了。", ["他说：“走吧。我们走！”", "她笑了。"]),
    ("他说：「走吧。『快！』好。」她笑了。", ["他说：「走吧。『快！』好。」", "她笑了。"]),
    ("书（见第一章。第二章！）很好。完。", ["书（见第一章。第二章！）很好。", "完。"]),
    ("（这是真的。）他走了。", ["（这是真的。）", "他走了。"]),
    ("看《你好！》了。好。", ["看《你好！》了。", "好。"]),
    ('"Go. Run!" she said. He ran.', ['"Go. Run!" she said.', "He ran."]),
    ('She said, "Go. Run!" He ran.', ['She said, "Go. Run!"', "He ran."]),
    ("“Go. Run!” she said. He ran.", ["“Go. Run!” she said.", "He ran."]),
    ("It rained (as always. And more.) and blew. It ended.", ["It rained (as always. And more.) and blew.", "It ended."]),
    ("(It rained. A lot.) It ended.", ["(It rained. A lot.)", "It ended."]),
    ("He came [sic. no. yes] late. End.", ["He came [sic. no. yes] late.", "End."])])
def test_quotes_and_brackets_stay_whole(text, expected):
    assert split(text) == expected


def test_an_open_bracket_does_not_hold_the_rest_of_the_book():
    assert split("It began (and never closed. It went on. And on.") == ["It began (and never closed.", "It went on.", "And on."]
    assert split("Open (here. Yes.\n\nNext. Closed) there.") == ["Open (here.", "Yes.", "Next.", "Closed) there."]
    assert len(split("“" + "他走了。" * 2000 + "”")) > 1000


def test_what_never_ends_is_cut_in_bounded_time():
    for text in ("word " * 100_000, "字" * 100_000, "." * 100_000 + "x", ". " * 50_000 + "x", "(" * 50_000, "\n" * 100_000 + "x", '" ' * 50_000, "a.B" * 50_000):
        parts = split(text)
        assert all(len(p) <= 8000 or set(p) <= set(".x(") for p in parts) and "".join("".join(parts).split()) == "".join(text.split())


@given(MIXED)
@settings(max_examples=300, deadline=None)
def test_sentences_hold_everything_but_white_space(text):
    spans = sentences(text)
    assert all(a < b for a, b in spans) and all(x[1] <= y[0] for x, y in zip(spans, spans[1:]))
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)
    assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())
    assert all("\n\n" not in text[a:b] for a, b in spans)


# ---- tokens

def test_the_counter_counts_the_students_tokens():
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    texts = ["The city lies by the river.", "城市在河边。", "", " "]
    assert COUNT(texts) == [len(tokenizer.encode(t, add_special_tokens=False).ids) for t in texts] and COUNT([]) == []


@pytest.mark.parametrize("content", [None, "not json"])
def test_a_folder_without_a_tokenizer(tmp_path, content, monkeypatch):
    if content: (tmp_path / "tokenizer.json").write_text(content)
    else:
        import sys
        monkeypatch.setitem(sys.modules, "transformers", None)  # it would take seconds to say the same
    with pytest.raises(UserError, match="holds no tokenizer.*name the folder"): token_counter(tmp_path)


# ---- passages

@given(MIXED, st.integers(4, 60), st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_passages_are_exact_whole_and_within_the_budget(text, budget, overlap):
    text, overlap = normal(text), min(overlap, budget - 1)
    passages = cut(Document(text, "s", "d", 7), budget, COUNT, overlap)
    assert all(p.text == text[p.span[0] - 7:p.span[1] - 7] == p.text.strip() != "" for p in passages)
    assert all(n <= budget or len(p.text) == 1 for n, p in zip(COUNT([p.text for p in passages]), passages))
    assert all(a.span[0] < b.span[0] and a.span[1] < b.span[1] for a, b in zip(passages, passages[1:]))
    covered = {i for p in passages for i in range(*p.span)}
    assert all(i + 7 in covered for i, c in enumerate(text) if not c.isspace())
    if not overlap: assert all(a.span[1] <= b.span[0] for a, b in zip(passages, passages[1:]))


def test_sentences_are_not_broken_where_they_fit():
    text = "One two three. Four five six. 城市在河边。有一座桥。Seven eight nine."
    ends = {b for _, b in sentences(text)}
    for budget in range(20, 60):
        assert {p.span[1] for p in cut(Document(text, "", ""), budget, words(0))} <= ends


PLAIN = "Clay soil holds water because its particles are small and flat. "


@pytest.mark.parametrize("heading", ["## 1.2 Sand", "# 2. Sand", "Sand\n====", "3.2 Sand and loam", "Chapter 4", "Appendix IV Sand", "**Sand**", "第三章 砂土", "Example 2:", "speaker 1：", "# Part\n\n## Sand"])
@pytest.mark.parametrize("budget", [30, 60, 90])
def test_a_heading_stands_with_what_follows(heading, budget):
    text = "\n\n".join(["# Clay", PLAIN * 3, heading, PLAIN * 3, heading, PLAIN])
    passages = cut(Document(text, "s", "d"), budget, COUNT)
    assert not any(p.text.endswith(heading.split("\n")[-1]) for p in passages) and len(passages) > 2
    assert "".join("".join(p.text for p in passages).split()) == "".join(text.split())


@pytest.mark.parametrize("line", ["speaker {}: well so we went to the market and then", "speaker {}: well, so we went, to the market, and then", "张{}：我们去了市场，然后回家，大家都很高兴"])
@pytest.mark.parametrize("budget", [40, 80])
def test_a_transcript_is_cut_at_its_lines(line, budget):
    lines = [line.format(i) for i in range(300)]
    passages = cut(Document("\n".join(lines), "s", "d"), budget, COUNT)
    assert len(passages) > 50 and [one for p in passages for one in p.text.split("\n")] == lines


def test_a_turn_over_the_budget_is_not_cut_after_its_speaker():
    text = "speaker 1: " + "well so we went to the market and then " * 20
    assert not any(p.text.endswith(":") for budget in range(12, 60) for p in cut(Document(text, "", ""), budget, COUNT))


def test_where_everything_is_a_heading_all_is_kept():
    text = "\n\n".join(f"Field {i}:" for i in range(100))
    passages = cut(Document(text, "", ""), 40, COUNT)
    assert len(passages) > 5 and "".join("".join(p.text for p in passages).split()) == "".join(text.split())
    assert [p.text for p in cut(Document("Water.\n\n## Notes", "", ""), 40, COUNT)] == ["Water.\n\n## Notes"]


@pytest.mark.parametrize("text, most", [(PLAIN * 500, 3), (base64.b64encode(random.Random(0).randbytes(24_000)).decode(), 6), ("a" + ("\u0301\u0323\u0327" * 10 + "\u034f") * 1000, 6), ("城市在河边有一座桥" * 3000, 6), ("word " * 6400, 6)])
def test_tokens_are_counted_few_times(text, most):
    asked = []
    def count(texts):
        asked.append(sum(map(len, texts)))
        return COUNT(texts)
    passages = cut(Document(text, "", ""), 256, count)
    assert sum(asked) < most * len(text) and len(asked) < 4 * len(passages) + 20
    sizes = sorted(COUNT([p.text for p in passages]))
    assert sizes[-1] <= 256 and sizes[len(sizes) // 2] > 230


def test_by_hand():
    document = Document("Aa bb. Cc dd. Ee ff. Gg hh.", "s", "d")
    assert [p.text for p in cut(document, 13, words(0))] == ["Aa bb. Cc dd.", "Ee ff. Gg hh."]
    assert [p.text for p in cut(document, 13, words(0), overlap=7)] == ["Aa bb. Cc dd.", "Cc dd. Ee ff.", "Ee ff. Gg hh."]
    assert [p.text for p in cut(document, 12, words(0))] == ["Aa bb.", "Cc dd.", "Ee ff.", "Gg hh."]
    assert [p.text for p in cut(document, 3, words(0))] == ["Aa", "bb.", "Cc", "dd.", "Ee", "ff.", "Gg", "hh."]
    assert [p.text for p in cut(document, 1, words(0))] == list("Aabb.Ccdd.Eeff.Gghh.")
    assert cut(Document(" \n ", "s", "d"), 9, words(0)) == []


def test_long_sentences_are_cut_at_clauses_first():
    text = "one two three, four five six; seven eight nine, ten"
    assert [p.text for p in cut(Document(text, "", ""), 30, words(0))] == ["one two three, four five six;", "seven eight nine, ten"]
    assert [p.text for p in cut(Document("甲乙丙丁，戊己庚辛，壬癸", "", ""), 5, words(0))] == ["甲乙丙丁，", "戊己庚辛，", "壬癸"]


def test_what_a_passage_knows():
    record, = cut(Document("One.", "folder/a.txt", "a.txt", 100), 9, COUNT, lang="zh")
    assert record == Record(text="One.", lang="zh", source="folder/a.txt", document="a.txt", span=(100, 104))


@pytest.mark.parametrize("budget, overlap", [(0, 0), (-1, 0), (5, 5), (5, -1)])
def test_numbers_that_do_not_go_together(budget, overlap):
    with pytest.raises(UserError, match="budget above 0"): cut(Document("One.", "", ""), budget, COUNT, overlap)


@pytest.mark.parametrize("name, content", [("a.txt", "One. Two.\r\n\r\nCafe\u0301 three. 城市在河边。有一座桥。"), ("a.jsonl", '{"text": "One. Two.\\r\\nThree."}\n{"text": "城市在河边。有一座桥。"}\n'),
                                           ("a.csv", 'text\n"One. Two.\nThree."\n城市在河边。有一座桥。\n'), ("a.html", "<p>One. Two.<p>城市在河边。有一座桥。")])
def test_a_span_reads_again_to_the_passage(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    passages = [p for d in read_file(tmp_path / name) for p in cut(d, 9, COUNT, overlap=3)]
    assert len(passages) >= 3 and all(passage_again(p) == p.text for p in passages)


def test_spans_are_characters_of_a_plain_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("One. Two.\n\nThree “four. Five.” 城市在河边。有一座桥。", encoding="utf-8")
    document, = read_file(path)
    assert all(path.read_text(encoding="utf-8")[slice(*p.span)] == p.text for p in cut(document, 12, COUNT))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*"ab A.。！？…·‥!?\n \t\u3000\"”」3", "……", ". . . . . 7\n", "loss.Three ", "Dr. ", "城市"]), max_size=40).map("".join))
def test_an_end_is_looked_for_only_where_one_can_begin(text):
    assert [m.span() for m in _may_end(text)] == [m.span() for m in END.finditer(text)]
    assert all(MAY_END.match(m[0]) for m in END.finditer(text))
# ---- blocks and headings

TABLE = "\n".join(["Part\tPrice", *(f"Part no. {i}. Old, or new\t{i * 7}" for i in range(6))])
PROGRAM = "```\ndef start(speed):\n    # it is slow. It warms\n\n    return [speed, 1]\n```"
TEX = r"$$\begin{aligned} a. B &= c, \\ d &= e. F \end{aligned}$$"


@pytest.mark.parametrize("text, found", [
    (f"See.\n{TABLE}\nEnd.", [TABLE + "\n"]), (f"See:\n\n{PROGRAM}\n\nEnd.", [PROGRAM]), (f"So {TEX} holds.", [TEX]), ("|a|b|\n|-|-|\n|1|2|", ["|a|b|\n|-|-|\n|1|2|"]),
    ("One\ttab alone.\nNot two.", []), ("It costs $5, or $6 = much.", []), ("Let $x_1$ be, and \\(y\\) too.", ["$x_1$", "\\(y\\)"]), ("```\nnever closed\na\tb\nc\td", []),
    ("~~~\n```\n~~~\n```\n# a\n```", ["~~~\n```\n~~~", "```\n# a\n```"]), ("\\begin{equation}\na. B\n\\end{equation}", ["\\begin{equation}\na. B\n\\end{equation}"]), ("", [])])
def test_blocks(text, found):
    assert [text[a:b] for a, b in blocks(text)] == found


@pytest.mark.parametrize("block", [TABLE, PROGRAM, TEX])
def test_a_block_that_fits_is_not_cut(block):
    need = COUNT([block])[0]
    for before in ("", PLAIN, PLAIN * 3, "## Prices\n\n", "The prices:\n"):
        for budget in range(need + 12, need + 90, 7):
            document = Document(f"{before}\n{block}\n\n{PLAIN * 3}", "s", "d")
            passages = cut(document, budget, COUNT)
            assert sum(block in p.text for p in passages) == 1 and max(COUNT([p.text for p in passages])) <= budget
            assert "".join("".join(p.text for p in passages).split()) == "".join(document.text.split())


@pytest.mark.parametrize("block", ["\n".join(f"Part no. {i}. Old, or new; at sea\t{i * 7}" for i in range(60)), "```\n" + "\n".join(f"call({i}, a; b). Then" for i in range(60)) + "\n```"])
def test_a_block_that_does_not_fit_is_cut_at_its_lines(block):
    passages = cut(Document(f"{PLAIN}\n\n{block}\n\n{PLAIN}", "s", "d"), 120, COUNT)
    lines = {line for p in passages for line in p.text.split("\n")}
    assert len(passages) > 4 and set(block.split("\n")) <= lines


def test_a_formula_is_a_part_of_its_sentence():
    text = r"So $a_1. B$ is small. Then \(x. Y\) is."
    assert [p.text for p in cut(Document(text, "", ""), 24, words(0))] == [r"So $a_1. B$ is small.", r"Then \(x. Y\) is."]


def test_a_passage_begins_with_a_heading_where_its_section_does_not_fit():
    text = f"# Clay\n\n{PLAIN * 4}\n\n# Sand\n\n{PLAIN * 4}"
    need = COUNT([text.partition("# Sand")[0]])[0]
    for budget in range(need, 2 * need - 4, 9):
        assert [p.text.split("\n")[0] for p in cut(Document(text, "", ""), budget, COUNT)][:2] == ["# Clay", "# Sand"]
    assert len(cut(Document(text, "", ""), 2 * need, COUNT)) == 1  # both fit
    assert cut(Document(text, "", ""), need + 9, COUNT, overlap=9)[1].text.startswith("# Sand")  # no overlap into another section


@pytest.mark.parametrize("budget", [40, 60, 100])
def test_passages_carry_the_headings_that_they_are_under(budget):
    text = f"# Soils\n\n{PLAIN * 5}\n\n## Sand\n\n{PLAIN * 5}\n\n```\n# no heading\nx\n```\n\n### Dune\n\n{PLAIN * 5}\n\n## Peat\n\n{PLAIN * 5}"
    passages = cut(Document(text, "s", "d", 5), budget, COUNT, headings=True)
    assert max(COUNT([p.text for p in passages])) <= budget
    paths = [tuple(line for line in p.text.split("\n") if line.startswith("#") and line != "# no heading") for p in passages]
    assert list(dict.fromkeys(path[:3] for path in paths if path[0] == "# Soils"))[0] == ("# Soils",) and set(path[-1] for path in paths) == {"# Soils", "## Sand", "### Dune", "## Peat"}
    assert all(path[0] == "# Soils" for path in paths) or budget < 60
    for p in passages:
        body = text[p.span[0] - 5:p.span[1] - 5]
        assert p.text.endswith(body) and all(line.startswith("#") or not line for line in p.text[:len(p.text) - len(body)].split("\n"))
    plain = cut(Document(text, "s", "d", 5), budget, COUNT)
    assert "".join("".join(p.text for p in plain).split()) == "".join(text.split())


def test_a_heading_that_leaves_no_room_is_not_carried():
    text = f"# {'A very long heading of a page ' * 5}\n\n{PLAIN * 4}"
    passages = cut(Document(text, "", ""), 40, COUNT, headings=True)
    assert max(COUNT([p.text for p in passages])) <= 40 and not passages[-1].text.startswith("#")
    assert cut(Document(PLAIN * 9, "", ""), 40, COUNT, headings=True) == cut(Document(PLAIN * 9, "", ""), 40, COUNT)


@given(BLOCKY, st.integers(4, 80), st.integers(0, 20), st.booleans())
@settings(max_examples=300, deadline=None)
def test_text_with_blocks_is_whole_and_within_the_budget(text, budget, overlap, headings):
    text, overlap = normal(text), min(overlap, budget - 1)
    passages = cut(Document(text, "s", "d", 7), budget, COUNT, overlap, headings=headings)
    bodies = [text[p.span[0] - 7:p.span[1] - 7] for p in passages]
    assert all(p.text.endswith(body) and body.strip() == body != "" and (headings or p.text == body) for p, body in zip(passages, bodies))
    assert all(n <= budget or len(p.text) == 1 for n, p in zip(COUNT([p.text for p in passages]), passages))
    assert all(a.span[0] < b.span[0] and a.span[1] < b.span[1] for a, b in zip(passages, passages[1:]))
    covered = {i for p in passages for i in range(*p.span)}
    assert all(i + 7 in covered for i, c in enumerate(text) if not c.isspace())


@pytest.mark.parametrize("part", ["```\n", "a\tb\n", "|a|b|\n", "$x_", "\\[a", "\\begin{equation}", "# a\n", "# a\n\nb. ", "$$"])
def test_blocks_and_headings_take_bounded_time(part):
    import time
    start = time.process_time()
    cut(Document(part * 10_000, "", ""), 100, COUNT, headings=True)
    assert time.process_time() - start < 8
