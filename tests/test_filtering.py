"""Relevance-aware filtering at its edges: what leans, what is a word, what thinning promises, caps, and odd input."""
import csv
import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.foundations.core import TASKS, Record, UserError, read_lines, read_records, write_records
from aquilt.filtering import (card, dependence, drop_reasons, filter_file, filter_records, filtering, frequent_words, greedy, leaning, most_allowed, over_used as reported, plot_frequencies,
                              own_words, protected_words, remove, surplus, table_1, tally, text_words, thin, waterfall, word_lists, words)
from aquilt.foundations.profiles import MINI, PAPER, SMOKE
from aquilt.leaning import leaning_cases, phrase_quality
from aquilt.foundations.runs import Run, Stage, hand_over
from aquilt.miniature.scene import MINIATURE
from stages import done
from aquilt.miniature.world import LANG

ALONE = dependence()["stand_alone"]


# ---- what leans on the passage

@pytest.mark.parametrize("text", [
    "According to the text, who ruled?", "What does THE\n  CONTEXT say?", "In (the passage) above, who ruled?", "Who ruled, as mentioned above?", "Ｗhat does ｔｈｅ ｔｅｘｔ say?",
    "What does the context of the passage say?", "In the context of trade, what does the text say?", "the text", "Per the text's author, who ruled?"])
def test_leaning_english(text):
    assert leaning(text, "en")


@pytest.mark.parametrize("text", [
    "Who ruled?", "", "What is the context of the Cold War?", "What did the text message say?", "Who wrote the text of the treaty?", "What is contextual about the textbook?",
    "The passage of time heals what?", "Which other texts exist?", "Is soothe text a word pair?", "根据上文"])
def test_innocent_english(text):
    assert leaning(text, "en") is None


@pytest.mark.parametrize("text", ["根据上文，谁是国王？", "請根據上文回答", "文中的国王是谁？", "谁是这段话的作者？", "The text：根据文章，谁？"])
def test_leaning_chinese(text):
    assert leaning(text, "zh")


@pytest.mark.parametrize("text", ["谁是国王？", "", "课文中谁是国王？", "论文中常见的错误是什么？", "上文县在哪里？", "中文中有多少个声调？", "What does the text say?"])
def test_innocent_chinese(text):
    assert leaning(text, "zh") is None


def test_the_phrase_is_named_with_its_place():
    text = "What does THE  Context say of the text?"
    phrase, first, end = leaning(text, "en")
    assert (phrase, text[first:end]) == ("the context", "THE  Context")
    assert leaning("Ｗho？ 根據上文，誰？", "zh")[1:] == (5, 9)


def written_out(phrase, forms):
    "The phrase with the first and with the last of each of its forms."
    for place in (0, -1):
        yield re.sub(r"\{(\w+)\}", lambda m: forms[m[1]][place], phrase)


@pytest.mark.parametrize("lang", list(LANG))
def test_every_listed_phrase_is_found(lang):
    lists = word_lists(lang)
    for phrase in (p for listed in lists["leaning"] for p in written_out(listed, lists["forms"])):
        assert leaning(f"x {phrase} y", lang), phrase
    for phrase in (p for listed in lists["innocent"] for p in written_out(listed, lists["forms"])):
        assert leaning(phrase + "y" * phrase.endswith('"'), lang) is None, phrase


@pytest.mark.parametrize("lang", list(LANG))
def test_every_form_is_used(lang):
    lists = word_lists(lang)
    named = {name for kind in ("leaning", "innocent") for phrase in lists[kind] for name in re.findall(r"\{(\w+)\}", phrase)}
    assert named == set(lists["forms"])


def test_the_phrases_are_as_good_as_the_page_says():
    quality = phrase_quality(leaning_cases())
    assert (quality["lean"] == 160).all() and (quality["do not"] == 160).all()
    held_out = quality.xs("held out", level="half")
    print(held_out)
    assert (held_out["false alarms"] <= 0.03).all() and (held_out["recall"] >= 0.75).all()
    assert len({(c["lang"], c["question"]) for c in leaning_cases()}) == 1280


def test_the_lists_name_known_tasks():
    named = {*ALONE, *(task for lang in LANG for task in word_lists(lang)["protected"])}
    assert named <= set(TASKS)


# ---- words

def test_words():
    assert words("Don't the rivers' names, Ａｌｐｈａ's 42 km2?", "en") == {"rivers", "names", "alpha"}
    assert words("河流ABC河流 的 7", "zh") == {"河流", "abc"}
    assert words("", "en") == words(" …?! ", "zh") == frozenset()


def test_protected_words():
    assert "true" in protected_words("multi_choice", "en") and "true" not in protected_words("closed_book_qa", "en")
    assert protected_words("a task of mine", "en") == frozenset()
    for lang, favourite in (("en", "crucially"), ("zh", "关键在于")):
        assert protected_words("a task of mine", lang, MINIATURE.vocabulary) == own_words(MINIATURE.vocabulary, lang) and favourite not in own_words(MINIATURE.vocabulary, lang)


# ---- thinning

QUESTIONS = st.lists(st.frozensets(st.sampled_from("abcdefghijkl"), max_size=4), max_size=60)


def over_used(questions, limit):
    counts = Counter(w for q in questions for w in q)
    return {w for w, n in counts.items() if n > most_allowed(len(questions), limit)}


@given(QUESTIONS, st.sampled_from([0.1, 0.2, 0.34]))
def test_thinning_leaves_no_over_used_word(questions, limit):
    gone = thin(questions, limit)
    stay = [q for i, q in enumerate(questions) if i not in gone]
    assert not over_used(stay, limit) or most_allowed(len(stay), limit) == 0
    assert all(word in questions[i] for i, word in gone.items())
    if not over_used(questions, limit) or most_allowed(len(questions), limit) == 0:
        assert not gone


@given(st.integers(0, 80), st.integers(0, 80))
def test_one_word_loses_just_what_it_must(holding, others):
    gone = thin([frozenset({"style"})] * holding + [frozenset()] * others, 0.1)
    n = holding + others
    assert all(i < holding for i in gone)
    if most_allowed(n, 0.1) and gone:
        assert holding - len(gone) <= most_allowed(n - len(gone), 0.1)
        assert holding - len(gone) + 1 > most_allowed(n - len(gone) + 1, 0.1)


@pytest.mark.parametrize("n", [10, 30, 70, 1000])
def test_exactly_at_the_limit_nothing_goes(n):
    at = [frozenset({"style"})] * (n // 10) + [frozenset()] * (n - n // 10)
    assert not thin(at, 0.1)
    assert len(thin([frozenset({"style"}), *at[:-1]], 0.1)) > 0


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.1, 0.25, 1.0]))
def test_a_word_s_surplus_is_the_least_that_will_do(count, others, limit):
    n = count + others
    few = surplus(count, n, limit)
    assert count - few <= most_allowed(n - few, limit)
    assert few == 0 or count - few + 1 > most_allowed(n - few + 1, limit)


@given(QUESTIONS)
def test_thinning_removes_no_more_than_the_words_need(questions):
    "Each word, when its turn comes, loses what it must of the questions left, so no removal could have been left out."
    gone = thin(questions, 0.1)
    stay, left = list(range(len(questions))), dict(gone)
    while left:
        counts = Counter(w for i in stay for w in questions[i])
        word = max(counts, key=lambda w: (counts[w], w))
        mine = [i for i, w in left.items() if w == word and word in questions[i]]
        few = surplus(counts[word], len(stay), 0.1)
        assert few and len(mine) >= few
        last = [i for i in stay if word in questions[i]][-few:]
        assert set(last) <= set(mine)
        stay = [i for i in stay if i not in last]
        for i in last: del left[i]


@given(QUESTIONS, st.sampled_from([0.1, 0.34]))
def test_the_harsher_reading_leaves_no_question_with_an_over_used_word(questions, limit):
    gone, bad = remove(questions, limit), over_used(questions, limit) if most_allowed(len(questions), limit) else set()
    assert set(gone) == {i for i, q in enumerate(questions) if q & bad} and all(word in questions[i] and word in bad for i, word in gone.items())


def test_the_first_in_order_stay():
    gone = thin([frozenset({"style"})] * 10 + [frozenset()] * 30, 0.1)
    assert set(gone) == set(range(10 - len(gone), 10))


def test_the_most_frequent_word_goes_first():
    both, one, none = frozenset({"more", "less"}), frozenset({"more"}), frozenset()
    gone = thin([both] * 5 + [one] * 5 + [none] * 30, 0.1)
    assert gone[9] == "more"


def test_a_word_in_every_question_takes_the_task():
    assert len(thin([frozenset({"style"})] * 20, 0.1)) == 20


# ---- the filter on records

TEXT = st.text(alphabet="abc 的河流城市", max_size=12)
QUESTION = st.one_of(TEXT, st.sampled_from(["According to the text, who?", "Crucially, who ruled?", "Who ruled the river?", "根据上文，谁？", "关键在于，谁？", ""]))
RECORDS = st.lists(st.builds(Record, task=st.sampled_from(["closed_book_qa", "multi_choice", "extractive_qa", "my own"]), lang=st.sampled_from(list(LANG)), question=QUESTION,
                             answer=st.sampled_from("abcd")), max_size=60)


def bag(records):
    return Counter(r.model_dump_json() for r in records)


@settings(deadline=None)
@given(RECORDS, st.sampled_from([MINI, PAPER, replace(PAPER, cap=5), replace(MINI, frequent_word=0.3, cap=20)]))
def test_what_the_filter_promises(records, profile):
    kept, drops = filter_records(records, profile)
    assert bag(kept) + bag(d.record for d in drops) == bag(records)
    assert not any(leaning(text, r.lang) for r in kept if r.task in ALONE for text in (r.question, r.answer))
    for (task, lang), n in Counter((r.task, r.lang) for r in kept).items():
        assert n <= profile.cap
        left = [words(r.question, lang) - protected_words(task, lang, MINIATURE.vocabulary) for r in kept if (r.task, r.lang) == (task, lang)]
        assert not over_used(left, profile.frequent_word) or most_allowed(n, profile.frequent_word) == 0
    cards = [card(r) for r in records]
    rows = tally(cards, drop_reasons(cards, profile))
    assert sum(row["generated"] for row in rows) == len(records) and sum(row["kept"] for row in rows) == len(kept)


@settings(deadline=None)
@given(RECORDS, st.randoms(use_true_random=False))
def test_the_order_of_the_file_does_not_matter(records, rng):
    profile = replace(PAPER, cap=12)
    shuffled = rng.sample(records, len(records))
    assert bag(filter_records(records, profile)[0]) == bag(filter_records(shuffled, profile)[0])


def closed_book(n, share=0.5):
    return [Record(task="closed_book_qa", question=("Crucially, who" if i < share * n else "Who") + f" is {chr(97 + i // 26)}x{chr(97 + i % 26)}?", answer=str(i)) for i in range(n)]


def test_kept_and_dropped_keep_the_order_of_entry():
    records = closed_book(60)
    kept, drops = filter_records(records, replace(PAPER, cap=50))
    place = {r.answer: i for i, r in enumerate(records)}
    for some in (kept, [d.record for d in drops]):
        assert some and [place[r.answer] for r in some] == sorted(place[r.answer] for r in some)


def test_the_seed_decides_who_stays():
    records = closed_book(100, share=0)
    profile = replace(PAPER, cap=50, frequent_word=1.0)
    first, again, other = (bag(filter_records(records, profile, seed)[0]) for seed in (0, 0, 1))
    assert first == again != other and sum(other.values()) == 50


def test_a_task_of_three_records_stays():
    assert filter_records(closed_book(3, share=1), PAPER)[1] == []


def test_only_tasks_that_stand_alone_are_asked_to():
    records = [Record(task=task, question="According to the text, who ruled?") for task in TASKS]
    assert {d.record.task for d in filter_records(records, PAPER)[1]} == set(ALONE)


def test_no_records():
    assert filter_records([], PAPER) == ([], [])


def test_unknown_language():
    with pytest.raises(UserError, match="'fr'.*en, zh"):
        filter_records([Record(task="extractive_qa", lang="fr", question="Qui ?")], PAPER)
    for name in ("stand_alone", ""):  # no language, though a key of the file, or nothing
        with pytest.raises(UserError, match="no language"):
            leaning("text", name)


# ---- the stage

def a_run(folder, records, profile=SMOKE):
    run = Run(profile, folder)
    done(run, Stage("distillation", lambda f: hand_over(f, "distillation", len(records), records, [])))
    return run


@pytest.fixture
def run(tmp_path):
    chinese = [Record(task="closed_book_qa", lang="zh", question=f"关键在于，{i}？" if i % 3 else f"{i}？") for i in range(40)]
    return a_run(tmp_path, closed_book(40) + chinese + [Record(task="single_choice", question="What does the context say?")])


def test_stage_is_done_once_and_counts_reconcile(run):
    result = done(run, filtering(run))
    assert result == done(run, filtering(run))
    assert result["counts"]["kept"] == len(run.records("filtering")) == waterfall(result)["kept"].sum()
    assert result["counts"]["dropped"] == len(run.drops("filtering"))
    assert {d.reason for d in run.drops("filtering")} == {"over-used word: crucially", "over-used word: 关键在于", "leans on the passage: the context"}


def test_shares_fall_to_the_limit(run):
    result = done(run, filtering(run))
    for lang, word in (("en", "crucially"), ("zh", "关键在于")):
        first = frequent_words(result, lang).iloc[0]
        assert first["word"] == word and first["before"] > 0.4 and first["after"] <= 0.1
    for axes, lang in zip(plot_frequencies(result).axes, LANG):  # nothing is cut off
        assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > frequent_words(result, lang)["before"].max()


def test_table_1_adds_up(run):
    done(run, filtering(run))
    table = table_1(run)
    assert list(table["English"])[-2:] == ["-", table["English"][:10].sum()] and table.loc["Total", "English, paper"] == "362k"
    done(run, Stage("inspection_data", lambda f: hand_over(f, "inspection_data", 3, [Record(score=1), Record(score=2), Record(score=1, lang="zh")], [])))
    full = table_1(run)
    assert list(full.loc["Self-Inspection"])[:2] == [2, 1] and full.loc["Total", "English"] == table.loc["Total", "English"] + 2


def test_an_empty_run_has_tables_and_a_figure(tmp_path):
    run = a_run(tmp_path, [])
    result = done(run, filtering(run))
    assert table_1(run).loc["Total", "Chinese"] == 0 and waterfall(result).empty
    plot_frequencies(result).savefig(tmp_path / "empty.png")


def test_one_language_alone(tmp_path):
    run = a_run(tmp_path, closed_book(30))
    drawn = plot_frequencies(done(run, filtering(run)))
    drawn.savefig(tmp_path / "one.png")
    assert [axes.get_title() for axes in drawn.axes] == ["English"]  # no empty panel
    assert table_1(run).loc["Total", "Chinese"] == 0


# ---- anyone's file

def lines(path): return path.read_text(encoding="utf-8").splitlines()


def test_a_file_is_filtered_as_its_records_are(tmp_path):
    records = [*closed_book(60), Record(task="multi_choice", question="Who?", answer="according to the text, he", logic="x"), Record(task="single_choice", question="Who?", logic="The passage says so.")]
    write_records(tmp_path / "in.jsonl", records)
    result = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", replace(PAPER, cap=50), seed=3)
    kept, drops = filter_records(records, replace(PAPER, cap=50), seed=3)
    assert read_records(tmp_path / "out.jsonl") == kept and result["counts"] | {"reasons": 0} == {"entered": 62, "kept": len(kept), "dropped": len(drops), "reasons": 0}
    ledger = [row for _, row in read_lines(tmp_path / "out.jsonl.dropped.jsonl")]
    assert [row["reason"] for row in ledger] == [d.reason for d in drops] and all(re.match(r"line \d+", row["raw"]) for row in ledger)
    leans = next(row for row in ledger if row["reason"] == "answer leans on the passage: the text")
    assert leans["raw"].startswith("line 61: answer, characters 13 to 21: ") and "according to the text, he" in leans["raw"]
    assert {row["task"]: row["answer leans on the passage"] for row in result["tasks"]}["multi_choice"] == 1
    assert {row["task"]: row["leaning logic"] for row in result["tasks"]} == {"closed_book_qa": 0, "multi_choice": 0, "single_choice": 1}


def test_lines_stay_as_they_are_and_what_is_no_record_is_in_the_ledger(tmp_path):
    good = ['{"question": "Who?", "score": 0.93, "text": null, "source": {"a": 1}, "lang": null}', '{"id": 7,   "question": "Who ruled?", "task": "closed_book_qa"}', '{"question": "", "extra": [1]}', '{"question": "ＡＢ 誰是國王？ Who?", "lang": "zh", "task": "my own"}']
    bad = ["{", '"text"', '{"q": "Who?"}', '{"question": 5}', '{"question": null}', '{"question": "?", "task": 3}', "\ufeff[]"]
    (tmp_path / "in.jsonl").write_text("\n".join([*good, "", *bad]), encoding="utf-8")
    counts = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER)["counts"]
    assert lines(tmp_path / "out.jsonl") == good and (counts["entered"], counts["dropped"]) == (11, 7)
    ledger = [json.loads(line) for line in lines(tmp_path / "out.jsonl.dropped.jsonl")]
    assert all(row["reason"].startswith("not a record") for row in ledger) and ledger[3]["raw"] == 'line 9: {"question": 5}' and "question" in ledger[3]["reason"]


def test_records_without_task_and_language_get_those_that_are_given(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"question": "根据上文，谁？"}\n{"question": "谁？"}\n{"question": "According to the text, who?", "lang": "en", "task": "open_book_qa"}\n', encoding="utf-8")
    assert filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER)["counts"]["kept"] == 3
    result = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER, task="closed_book_qa", lang="zh")
    assert result["counts"]["kept"] == 2 and lines(tmp_path / "out.jsonl") == ['{"question": "谁？"}', '{"question": "According to the text, who?", "lang": "en", "task": "open_book_qa"}']
    dropped, = map(json.loads, lines(tmp_path / "out.jsonl.dropped.jsonl"))
    assert (dropped["record"]["task"], dropped["record"]["lang"]) == ("closed_book_qa", "zh")


def test_several_processes_say_the_same(tmp_path):
    write_records(tmp_path / "in.jsonl", closed_book(200) + [Record(task="multi_choice", lang="zh", question=f"关键在于，{i}？") for i in range(200)])
    found = [filter_file(tmp_path / "in.jsonl", tmp_path / f"{n}.jsonl", replace(PAPER, cap=120), workers=n) for n in (0, 2)]
    assert found[0] == found[1] and (tmp_path / "0.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert (tmp_path / "0.jsonl.dropped.jsonl").read_bytes() == (tmp_path / "2.jsonl.dropped.jsonl").read_bytes()


def test_a_language_without_lists_is_in_the_ledger(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"question": "Qui ?", "lang": "fr"}\n{"question": "Who?", "lang": "stand_alone"}\n{"question": "Who?"}\n', encoding="utf-8")
    counts = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER)["counts"]
    assert counts["kept"] == 1 and counts["reasons"] == {"not filtered: there are no lists for the language 'fr'": 1, "not filtered: there are no lists for the language 'stand_alone'": 1}


@pytest.mark.parametrize("named", ['', '"lang": null, ', '"lang": "", ', '"lang": "ZH", ', '"lang": "zh-CN", ', '"lang": "zh_Hans", '])
@pytest.mark.parametrize("given", ["", "ZH", "zh-TW"])
def test_a_language_is_found_out_and_read_without_regard_to_case(tmp_path, named, given):
    (tmp_path / "in.jsonl").write_text(f'{{{named}"question": "根据上述材料，粘土为什么保水？", "answer": "颗粒小"}}\n{{{named}"question": "粘土为什么保水？"}}\n', encoding="utf-8")
    result = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER, task="closed_book_qa", lang=given)
    assert result["counts"]["kept"] == 1 and [row["lang"] for row in result["tasks"]] == ["zh"]


def test_records_of_other_tools_without_a_language(tmp_path):
    records = ["According to the text, who ruled?", "Who ruled?", "2 + 2 = ?", "What does 仁 mean?", "根据上文，谁统治？", "課文中的國王是誰？根據上文回答。", "Welche Partei regiert laut dem Text in diesem Jahr?", "このテキストによると、王は誰ですか？"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"question": q}) + "\n" for q in records))
    counts = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER, task="closed_book_qa")["counts"]
    assert [json.loads(line)["question"] for line in lines(tmp_path / "out.jsonl")] == records[1:4]
    assert {r for r in counts["reasons"] if r.startswith("not")} == {f"not filtered: there are no lists for the language '{lang}'" for lang in ("de", "ja")}


def test_a_language_without_lists_is_refused_where_it_is_asked_for(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"question": "Qui ?"}\n')
    with pytest.raises(UserError, match="'fr'.*en, zh"): filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER, lang="fr")
    assert not (tmp_path / "out.jsonl").exists()
    assert filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER, lang="EN")["counts"]["kept"] == 1


@pytest.mark.parametrize("given, out, said", [("none.jsonl", "out.jsonl", "is not a file"), ("in.jsonl", "in.jsonl", "would be overwritten"), ("x.jsonl.dropped.jsonl", "x.jsonl", "would be overwritten"),
                                              ("in.jsonl", "out.parquet", "must end in .jsonl"), ("in.jsonl", "out.jsonl.gz", "must end in .jsonl"), ("wide.jsonl", "out.jsonl", "is not UTF-8"), ("bytes.jsonl", "out.jsonl", "bytes.jsonl")])
def test_a_file_that_cannot_be_filtered_is_one_sentence_and_leaves_nothing(tmp_path, given, out, said):
    for name in ("in.jsonl", "x.jsonl.dropped.jsonl"): (tmp_path / name).write_text('{"question": "Who?"}\n', encoding="utf-8")
    (tmp_path / "wide.jsonl").write_text('{"question": "Who?"}\n', encoding="utf-16")
    (tmp_path / "bytes.jsonl").write_bytes(b"PAR1\x00\x01")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UserError, match=said): filter_file(tmp_path / given, tmp_path / out, PAPER)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_word_that_takes_its_whole_group_is_in_the_report(tmp_path):
    write_records(tmp_path / "in.jsonl", [Record(question=f"Crucially, {chr(97 + i)}{chr(97 + i)}?") for i in range(20)])
    result = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER)
    assert result["counts"]["kept"] == 0 and result["words"][0]["word"] == "crucially" and (result["words"][0]["before"], result["words"][0]["after"]) == (1, 0)


@pytest.mark.parametrize("question", ["从本质上看，光是什么？", "秦统一六国，从此中国进入什么时代？", "由此类推，结果是什么？", "以本币计价的债券叫什么？", "数据中心的PUE是指什么？", "《西游记》一书中，孙悟空的师父是谁？", "在双缝实验中，光表现出什么性质？",
                                      "我国法律规定将满多少周岁的人视为成年人？", "《唐诗三百首》的编者是谁？", "公民应该文明礼貌，这属于什么？"])
def test_ordinary_chinese_questions_do_not_lean(question): assert leaning(question, "zh") is None


@pytest.mark.parametrize("question", ["What is the ASCII code of the letter A?", 'Who is the author of the poem "The Raven"?', "Who wins the auction in that case?", "Who is the narrator of The Great Gatsby?", "How is heat removed from the material?"])
def test_ordinary_english_questions_do_not_lean(question): assert leaning(question, "en") is None


def test_typographic_quotes_are_quotes():
    assert leaning("What is the author’s main argument?", "en") and leaning("What does “the passage” say?", "en")


def test_a_setting_that_is_neither_is_one_sentence():
    with pytest.raises(UserError, match="over_used is thin or remove"): filter_records([], replace(PAPER, over_used="both"))


# ---- ordinary language

def questions_in(value):
    "Every text under a key `question`, however deep."
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == "question" and isinstance(part, str): yield part
        else: yield from questions_in(part)


def test_real_questions_are_seldom_found(shared):
    "Questions of real datasets, none of which names a passage on purpose; those that are found are printed, and most of them do lean."
    asked = {"en": [], "zh": []}
    for path in sorted((shared / "data").glob("ceval/**/*.csv")):
        asked["zh"] += [row["question"] for row in csv.DictReader(path.open(encoding="utf-8-sig"))]
    for name, lang in (("drcd", "zh"), ("cmrc2018", "zh"), ("squad_v1.1", "en"), ("squad_v2.0", "en")):
        for path in sorted((shared / "data" / name).glob("*.json")): asked[lang] += questions_in(json.loads(path.read_text(encoding="utf-8")))
    for lang, questions in asked.items():
        found = [question for question in dict.fromkeys(questions) if leaning(question, lang)]
        print(lang, len(set(questions)), len(found), *found[:10], sep="\n  ")
        assert len(set(questions)) > 100 and len(found) <= 0.01 * len(set(questions))


# ---- words of the texts themselves

NAMES = [f"{a}{b}" for a in ("Abel", "Beck", "Cole", "Dorn", "Egon") for b in ("son", "man", "wick", "ford")]


def cases(lang="en", text=True):
    "A set on one subject: the texts and the questions speak of the plaintiff, the questions say notably besides."
    if lang == "zh": return [Record(lang="zh", text=f"原告起诉了{name}。" * text, question=f"值得注意的是，原告起诉了{name}吗？", answer="x") for name in NAMES]
    return [Record(text=f"The plaintiff sued {name}." * text, question=f"Notably, whom did the plaintiff sue in {name}'s case?", answer="x") for name in NAMES]


@pytest.mark.parametrize("lang, word, style", [("en", "plaintiff", "notably"), ("zh", "原告", "值得注意")])
def test_a_word_that_the_texts_have_is_not_over_used(tmp_path, lang, word, style):
    write_records(tmp_path / "in.jsonl", cases(lang))
    paper = filter_file(tmp_path / "in.jsonl", tmp_path / "paper.jsonl", PAPER)
    told = []
    removed = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER, remove_overused=True, warn=told.append)
    shares = {row["word"]: row for row in removed["words"]}
    assert word in text_words(map(card, cases(lang))) and (shares[word]["protected"], shares[style]["protected"]) == (True, False)
    assert paper["counts"]["kept"] == removed["counts"]["kept"] == 0 and "over_used" not in paper and removed["over_used"] == []
    assert not any(word in reason for reason in removed["counts"]["reasons"]) and len(told) == 1 and "takes 20 of 20 records" in told[0]
    plain_questions = [r.with_(question=r.question.replace("Notably, whom", "Whom").replace("值得注意的是，", "")) for r in cases(lang)]
    write_records(tmp_path / "in.jsonl", plain_questions)
    assert filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER, remove_overused=True)["counts"]["kept"] == 20
    assert filter_file(tmp_path / "in.jsonl", tmp_path / "paper.jsonl", PAPER)["counts"]["kept"] < 5  # the paper's filter does not look at the texts


def test_without_texts_no_word_is_theirs(tmp_path):
    assert not text_words(map(card, cases(text=False)))


def test_over_used_words_are_only_reported_where_they_are_not_to_go(tmp_path):
    write_records(tmp_path / "in.jsonl", cases() + [Record(task="closed_book_qa", question="According to the text, who?")])
    told = []
    result = filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", PAPER, remove_overused=False, warn=told.append)
    assert result["counts"]["reasons"] == {"leans on the passage: the text": 1} and result["counts"]["kept"] == 20 and not told
    assert result["over_used"] == [{"task": "", "lang": "en", "word": "notably", "questions": 20}] and all(row["over-used word"] == 0 for row in result["tasks"])
    assert {row["word"]: row["after"] for row in result["words"]}["notably"] == 1


def test_a_filter_that_takes_a_fifth_is_told_before_anything_is_written(tmp_path):
    records = [Record(task="closed_book_qa", question=f"According to the text, who is {chr(97 + i) * 2}?" if i < 6 else f"Who is {chr(97 + i) * 2}?") for i in range(24)]
    write_records(tmp_path / "in.jsonl", records)
    seen = []
    filter_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", replace(PAPER, cap=10), warn=lambda s: seen.append((s, (tmp_path / "out.jsonl").exists())))
    assert [written for _, written in seen] == [False, False]
    assert seen[0][0].startswith("leans on the passage: this filter takes 6 of 24 records, more than a fifth (the text); ") and seen[1][0].startswith("over the cap: this filter takes 8 of 24 records, more than a fifth (10); --set cap")
    assert greedy([], {}) == reported([], {}) == []
