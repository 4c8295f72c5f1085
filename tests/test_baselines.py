"""The other data of Table 2: every reply is read as it comes, counted and paid once; a source says what it cannot serve."""
import json
import random
from dataclasses import replace

import pytest

from stages import done

from aquilt import baselines
from aquilt.baselines import (BONITO_TYPES, MARK, attempt, bonito_example, bonito_refuses, input_request, output_request, plain_reply, read_bonito, self_instruct, teacher_data, outcome_line, uninstructed,
                              unprompted, usable)
from aquilt.benchmarks import domain, suite
from aquilt.data_sources import BONITO, BOTH, SELF_INSTRUCT, SOURCES, TAPT, UNLABELED, data, lacking
from aquilt.foundations.core import Drop, Record, UserError
from aquilt.foundations.profiles import PAPER, SMOKE
from aquilt.foundations.runs import Run
from aquilt.foundations.scenes import Benchmark, Scorers
from aquilt.miniature.expert import expert_answer, new_input, read_input
from aquilt.miniature.scene import truth
from aquilt.miniature.server import reply
from aquilt.models.engines import Completion
from aquilt.specialists import average, table_row, volume

SUITE = suite(SMOKE)
NEW = Benchmark("capitals", ("en",), "closed_book_qa", lambda p, stage: ([], [], ""), lambda p: [], Scorers(max, max), lambda r: r.question)
every = pytest.mark.parametrize("name", SUITE)


def begun(folder, name, **settings):
    "A run with a benchmark's passages, and the benchmark."
    run = Run(replace(SMOKE, teacher_faults=0.0, samples=10, domain_passages=4, **settings), folder)
    done(run, domain(run, SUITE[name]))
    return run, SUITE[name]


# ---- the expert

@every
def test_an_example_is_read_back_and_a_new_input_has_its_form(name):
    b, p = SUITE[name], replace(SMOKE, domain_passages=4)
    for lang in b.langs:
        passage = next(r for r in b.passages(p, "")[0] if r.lang == lang)
        for i, example in enumerate(b.examples(lang)):
            assert read_input(example)[:2] == (name, lang)
            made = new_input(example, passage.text, random.Random(i))
            assert read_input(made)[:2] == (name, lang) and made not in b.examples(lang)


@every
def test_with_the_passage_the_answer_is_right(name):
    "Translations and essays aside, whose truth is their reference, the world itself says whether an answer is right."
    b, p = SUITE[name], replace(SMOKE, domain_passages=8)
    for i, r in enumerate(b.passages(p, "")[0]):
        example = b.examples(r.lang)[0]
        asked = new_input(example, r.text, random.Random(i))
        answer = expert_answer(f"{r.text}\n\n{asked}", random.Random(i))
        slots = read_input(asked)[2]
        if name == "squadqa": assert truth(r.with_(question=asked, answer=answer))
        if name == "pubmedqa": assert truth(r.with_(text=slots["context"], question=slots["question"], answer=answer))
        if name == "ceval":
            said = slots["question"] + "".join(f" {letter}. {slots[letter]}" for letter in "ABCD")
            assert truth(r.with_(question=said, answer=answer.split(". ")[1])) and slots[answer[0]] == answer.split(". ")[1]


def test_what_is_not_said_is_guessed():
    asked = "In which year was the city JaFoNe built?"
    guesses = {expert_answer(asked, random.Random(i)) for i in range(20)}
    assert len(guesses) > 5, "no knowledge from nowhere"


def test_a_foreign_example_is_refused_in_words():
    sent = [{"role": "user", "content": "As an InputGenerator, ...\nBelow are 1 [input] examples:\n[input]:\nWho are you?\nPlease generate 1 [input] based on"}]
    assert reply(sent).startswith("I cannot do this")


# ---- what is asked, and what comes back

@every
@pytest.mark.parametrize("with_text", [False, True])
def test_a_request_shows_examples_of_the_language_and_the_passage_only_where_it_may(name, with_text):
    b = SUITE[name]
    for r in b.passages(replace(SMOKE, domain_passages=4), "")[0]:
        (sent,) = input_request(b, r if with_text else r.with_(text=""), 0)
        assert (r.text in sent["content"]) == with_text and "[[" not in sent["content"]
        assert sum(e in sent["content"] for e in b.examples(r.lang)) == 3
        asked = output_request(b, r.with_(question="Q?", **({} if with_text else {"text": ""})))
        assert [m["role"] for m in asked] == ["system", "user"] and b.field in asked[0]["content"] and (r.text in asked[1]["content"]) == with_text
    assert input_request(b, r, 0) == input_request(b, r, 0) != input_request(b, r, 1)


@pytest.mark.parametrize("raw", ["Who?", "  Who?\n", "[input]: Who?", "Input: Who?", "[input]:\nWho?"])
def test_a_label_before_a_reply_is_no_part_of_it(raw): assert plain_reply(Record(raw=raw)) == "Who?"


@pytest.mark.parametrize("name", ["pubmedqa", "translation"])
def test_self_instruct_counts_and_pays_each_reply_once(tmp_path, name):
    run, b = begun(tmp_path, name)
    first = done(run, self_instruct(run, b, False))
    records, drops = run.records(first["stage"]), run.drops(first["stage"])
    assert first["counts"]["entered"] == 10 == len(records) + len(drops) and len({r.question for r in records}) == len(records)
    assert all(r.answer and not r.text and not r.logic for r in records)
    lines = (run.folder(first["stage"]) / "replies.jsonl").read_text().splitlines()
    assert len(lines) == 10 + len(records), "a repeated input is not answered again"
    assert sum(row["cost"] for row in first["bill"]) >= 0 and [row["equation"] for row in first["bill"]] == ["new input", "its answer"]
    (run.folder(first["stage"]) / "result.json").unlink()
    again = done(run, self_instruct(run, b, False))
    assert (run.folder(first["stage"]) / "replies.jsonl").read_text().splitlines() == lines, "nothing is asked twice"
    assert again["counts"] == first["counts"] and run.records(first["stage"]) == records


def test_the_general_prompt_asks_for_no_logic(tmp_path):
    run, b = begun(tmp_path, "squadqa")
    result = done(run, teacher_data(run, b))
    records = run.records(result["stage"])
    assert result["counts"]["entered"] == 10 and records and all(truth(r) and not r.logic for r in records)
    assert all(set(json.loads(r.raw)) == {"question", "answer"} for r in records)


# ---- Bonito

def test_bonito_reads_what_stands_around_the_mark():
    r = Record(text="A river.", task="extractive_qa")
    assert bonito_example(r.with_(question="Q", answer="A")) == ("<|tasktype|>\nextractive question answering\n<|context|>\nA river.\n<|task|>\n", "Q\nAnswer:\nA")
    made = read_bonito(r, Completion("{{context}} Which?\n<|pipe|>\n the river ", "stop"), "s", MARK)
    assert (made.question, made.answer) == ("A river. Which?", "the river")
    for text in ("no mark", "<|pipe|>\nA", "Q\n<|pipe|>\n "): assert isinstance(read_bonito(r, Completion(text, "stop"), "s", MARK), Drop)


def test_who_serves_what():
    assert {s.name: [n for n, b in SUITE.items() if s.refuses(b)] for s in SOURCES if any(map(s.refuses, SUITE.values()))} == {
        BONITO.name: ["ceval", "translation", "essayqa"], SELF_INSTRUCT.name: ["squadqa"]}, "Table 2's NA"
    assert unprompted(NEW) and uninstructed(NEW, True) and bonito_refuses(NEW) and not TAPT.refuses(NEW)
    real = suite(PAPER)
    assert [n for n, b in real.items() if uninstructed(b, True)] == [], "the real benchmarks have examples, too"
    assert set(BONITO_TYPES) <= {b.task for b in real.values()}


# ---- their examples

@every
def test_a_specialist_is_asked_as_the_test_asks(tmp_path, name):
    run, b = begun(tmp_path, name)
    done(run, self_instruct(run, b, True)), done(run, teacher_data(run, b))
    for source in (TAPT, UNLABELED, BOTH):
        done(run, data(run, source, b))
        ready = run.records(data(run, source, b).name)
        for (user,), (answer,) in source.examples(b, ready):
            assert answer["content"] and not answer["content"].startswith(("Answer:", "Thinking"))
            if source is TAPT: assert user["content"].startswith(f"Please output {b.field} text in ")
            if source is BOTH: assert read_input(user["content"])[0] == name
            if source is UNLABELED and name in ("pubmedqa", "essayqa"): assert read_input(user["content"])[0] == name


# ---- one that fails

def test_a_source_that_fails_is_a_missing_cell_with_its_reason(tmp_path, monkeypatch):
    run, b = begun(tmp_path, "pubmedqa")
    monkeypatch.setattr(Run, "do", done)
    def spent(*_): raise UserError("The key is spent.")
    with monkeypatch.context() as broken:
        broken.setattr(baselines, "open_teacher", spent)
        result = attempt(run, teacher_data(run, b))
    assert outcome_line(result) == "teacher_data/pubmedqa: missing, The key is spent."
    assert lacking(run, UNLABELED, b) == "The key is spent." and volume(run, b, [UNLABELED]) == 0 and lacking(run, TAPT, b) == ""
    row = table_row(run, "base", UNLABELED, b, [])
    assert (row["corrected"], row["note"]) == ("missing", "The key is spent."), "never a zero"
    assert table_row(run, "base", SELF_INSTRUCT, SUITE["squadqa"], [])["corrected"] == "NA"
    assert "kept" in attempt(run, teacher_data(run, b))["counts"] and not lacking(run, UNLABELED, b), "the same command tries again"


@pytest.mark.parametrize("cells, mean", [(["1.00 ± 0.50", "3.00"], "2.00"), (["1.00", "NA"], "NA"), (["NA", "missing"], "NA"), (["missing", "1.00"], "missing")])
def test_an_average_has_no_gaps(cells, mean):
    rows = [{"n": 2, "seeds": 1, "corrected": c, "official": c} for c in cells]
    assert average(rows, "base", TAPT)["corrected"] == mean


@pytest.mark.parametrize("said, good", [("Who?", True), ("I cannot do this: no.", False), ("Sorry, I can't.", False), ("抱歉，我不能。", False), ("I’m sorry", False), ("Why am I sorry?", True)])
def test_a_refusal_is_no_input(said, good):
    kept, drops = usable([Record(question=said)], lambda r: r.question, "s", seen=set())
    assert bool(kept) == good and [d.reason for d in drops] == ([] if good else ["the teacher refused"])
