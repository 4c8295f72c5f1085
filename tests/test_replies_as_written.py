"""Replies as models write them: which object is the answer, valid JSON with another meaning, scores in other clothes, fields that swallow the next, and mutations."""
import json
import sys
import time
from pathlib import Path

import pytest

from aquilt.distillation import FURTHER, further_pairs, read_pair
from aquilt.foundations.core import Record
from aquilt.foundations.prompt import INSPECTION_KEYS, LOGIC_KEYS, META_KEYS, QA_KEYS, parse_json_object, parse_json_objects, parse_score, help_needed
from aquilt.models.engines import Completion

sys.path.append(str(Path(__file__).parent / "benchmarks"))
import bench_mutations  # noqa: E402

PAIR = ("What is the unit of mass?", "Step 1", "kilogram")


def said(question=PAIR[0], logic=PAIR[1], answer=PAIR[2], **more):
    return json.dumps({"question": question, "thought process": logic, "answer": answer} | more, ensure_ascii=False)


def read(reply, keys=META_KEYS):
    return tuple(parse_json_object(reply, keys).values())


# ---- which object is the answer

DRAFT, FORM = said("Draft?", "d", "d"), said("...", "...", "...")


@pytest.mark.parametrize("reply", [
    f"<think>Draft: {DRAFT} - no.</think>\n{said()}", f"Hm, {DRAFT}? No.\n</think>\n\n{said()}", f"<thinking>\n{DRAFT}\n</thinking>\n```json\n{said()}\n```", f"[THINK]{DRAFT}[/THINK]{said()}",
    f"◁think▷{DRAFT}◁/think▷{said()}", f"<think>{DRAFT}</think>Better:<think>{DRAFT}</think>{said()}", f"Sure. {said()}\n<think>Was {DRAFT} better?</think>",
    f"First {DRAFT}, or rather {said()}", f"```json\n{DRAFT}\n```\nCorrected:\n```json\n{said()}\n```", DRAFT.replace("Draft", 'My "draft"') + said(), f"{DRAFT} {said()[:-1]},}}",
    f"Format: {FORM}\nHere:\n{said()}", f"{said()}\nas in {FORM}", f"{said('xxx', 'xxx', 'xxx')}{said()}", f"{said('<question>', '<thoughts>', '<answer>')}\n{said()}",
    "```json\n{\nquestion:{{The question you create}},\nthought process:{{The thought process you create}},\nanswer:{{The answer you create}}\n}\n```\n" + said(),
    f"[{said()}]", f'{{"qa": {said()}}}', f'{{"result": {{"pairs": [{said()}]}}}}', f"{{\"output\": {json.dumps(said())}}}", json.dumps(said()), f'{{"id": 3, "task": "x", {said()[1:]}', f"Fill {{this}} in: {said()}",
    said().replace("thought process", "thoughtProcess"), said().replace("thought process", "Thinking-Steps"), said().replace('"question"', '"Question "').replace("answer", "ANSWER"),
    said().replace("question", "问题").replace("thought process", "思考过程").replace("answer", "答案"), said().replace("question", "题目").replace("thought process", "解题步骤").replace("answer", "正确答案")])
def test_the_answer_is_the_last_object_with_all_fields_and_real_values(reply):
    assert read(reply) == PAIR


@pytest.mark.parametrize("reply, reason", [
    (FORM, "'question' is missing"), (said("xxx", "xxx", "xxx"), "repeats the form"), (said(logic="..."), "'thought process' is missing"), (f"<think>Draft: {DRAFT}", "no readable"), (f"<think>{DRAFT}</think>I cannot.", "no readable"),
    ('{"question": "q"} {"thought process": "l"} {"answer": "a"}', "missing"), ('{"question": "q"x"} {"answer": "a"}', "missing")])
def test_what_is_no_answer_has_a_reason(reply, reason):
    with pytest.raises(ValueError, match=reason): read(reply)


def test_a_tag_in_a_value_is_no_reasoning():
    assert read(said("What does <think> begin, and </think> end?"))[0] == "What does <think> begin, and </think> end?"


@pytest.mark.parametrize("reply", [f"[{DRAFT}, {said()}]", f"{DRAFT}\n{said()}", f'{{"pairs": [{DRAFT}, {said()}]}}', f"{DRAFT[:-1]}, {said()[1:]}", f"[{DRAFT[:-2]}}}, {said()}]"])
def test_further_pairs_are_ledger_rows(reply):
    record = read_pair(Record(text="u"), Completion(reply, "stop"), META_KEYS, "s")
    rows = further_pairs(record, META_KEYS, "s")
    assert (record.question, record.logic, record.answer) == PAIR
    assert [(row.record.question, row.reason, row.raw, row.stage) for row in rows] == [("Draft?", FURTHER, reply, "s")]


def test_one_pair_written_twice_is_one():
    assert len(parse_json_objects(said() + said(), META_KEYS)) == 1


# ---- options

OPTIONS = {"A": "oxygen", "B": "helium"}


@pytest.mark.parametrize("more", [
    {"options": OPTIONS}, {"Options": ["oxygen", "helium"]}, {"choices": ["A. oxygen", "B. helium"]}, {"options": "A. oxygen\nB) helium"}, {"选项": {"A.": "oxygen", "B.": "helium"}}, OPTIONS, {"option_a": "oxygen", "optionB": "helium"},
    {"options": [{"label": "A", "text": "oxygen"}, {"label": "B", "text": "helium"}]}])
def test_options_beside_the_question_join_it(more):
    for reply in (said("Which gas?", **more), said('Which "gas"?', **more).replace('\\"', '"')):
        assert read(reply)[0].replace('"', "") == "Which gas?\nA. oxygen\nB. helium"


@pytest.mark.parametrize("more", [{"options": OPTIONS}, {"options": []}, {"options": None}, {"A": "oxygen"}])
def test_options_that_the_question_names_are_not_said_twice(more):
    assert read(said("Which gas? A. oxygen B. helium", **more))[0] == "Which gas? A. oxygen B. helium"


# ---- valid JSON, wrong meaning

@pytest.mark.parametrize("latex", [
    r"\frac{1}{2}", r"\times", r"\theta", r"\beta", r"\nu", r"\rho", r"\text{kg}", r"\alpha", r"\bar{x}", r"\forall", r"\neq", r"\ne 0", r"\nabla", r"\notin", r"\right)", r"\rangle", r"\tan x", r"\to 0", r"\tau", r"\textbf{x}", r"\binom{n}{k}",
    r"\begin{matrix}", r"\underline{x}", r"\upsilon", r"\Delta", r"\{1\}", r"\%", r"\,", r"\sqrt{2}"])
def test_a_single_backslash_of_latex_is_a_backslash(latex):
    for value in (f"${latex}$", rf"\({latex}\)", f"so $x$ and $${latex}$$."):
        assert read(f'{{"question": "q", "thought process": "s", "answer": "{value}"}}')[2] == value
        assert read(said(answer=value))[2] == value, "written as JSON wants it"


@pytest.mark.parametrize("value", [
    "one\ntwo", "a\tb", "1\t2\tthree", "first\nnumber two", "It costs $5.\nu = 3", "$x$ and\nu is $y$", "steps:\ne. five", "\ttotal\ttest", "one\r\ntwo", "C:\\new", "\\nu", "a\nnew line\n\nnot this", "the\nreason\nrest", "\ttan, \tto go"])
def test_new_lines_and_tabs_of_ordinary_text_stay(value):
    assert read(said(answer=value))[2] == value


@pytest.mark.parametrize("written, text", [
    ("3.10", "3.10"), ("1e3", "1e3"), ("-0.0", "-0.0"), ("1e999", "1e999"), ("12345678901234567890.5", "12345678901234567890.5"), ("9" * 5000, "9" * 5000), ("true", "true"), ("[false, 1.50]", "false\n1.50"), ('"inf"', "inf")])
def test_numbers_and_truth_keep_their_spelling(written, text):
    for reply in (f'{{"question": "q", "thought process": "s", "answer": {written}}}', f'{{"question": "a "q"", "thought process": "s", "answer": {written},}}'):
        assert read(reply)[2] == text


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "null", '"\\u0000"', '"a\\u0000e9"', '"a\x00b"', '"\\u001b[1m"', '"\x7f"', '" "', '"…"', "[]", "{}"])
def test_a_value_that_is_no_text_is_refused(written):
    with pytest.raises(ValueError, match="'answer' (is missing|holds a control)"): read(f'{{"question": "q", "thought process": "s", "answer": {written}}}')


# ---- broken objects

Q = "质量的单位是什么？"


@pytest.mark.parametrize("reply, values", [
    ('{“question”: “质量的单位是什么？”, “thought process”: “第一步”, “answer”: “千克”}', (Q, "第一步", "千克")), ('{"question“: “质量的单位是什么？”, ”thought process“: “第一步”, ”answer”: “千克”}', (Q, "第一步", "千克")),
    ('{“question”：“质量的单位是什么？”，“thought process”：“第一步”，“answer”：“千克”}', (Q, "第一步", "千克")), ("{‘question’: ‘质量的单位是什么？’, ‘thought process’: ‘第一步’, ‘answer’: ‘千克’}", (Q, "第一步", "千克")),
    ('{"question": "他说“好”，又说“不”？", “thought process”: "第一步", "answer": "千克"}', ("他说“好”，又说“不”？", "第一步", "千克")),
    ('{"question": "q?, "thought process": "s", "answer": "kg"}', ("q?", "s", "kg")), ('{"question": "q?" "thought process": "s", "answer": "kg}', ("q?", "s", "kg")), ('{"question": "q?", thought process": "s", "answer: "kg"}', ("q?", "s", "kg")),
    ("{'question': 'What's it?', 'thought process': 's', 'answer': 'kg'}", ("What's it?", "s", "kg")), ("{question: What is it?, thought process: s, answer: kg}", ("What is it?", "s", "kg")),
    ('{"question": "Is it "a", or "b"?", "thought process": ["1", "2"], "answer": "a "b""}\nBye {x}.', ('Is it "a", or "b"?', "1\n2", 'a "b"')), ('{"question": "so "x"", "thought process": "s", "answer": "$\\\\frac{1}{2}$"', ('so "x"', "s", "$\\frac{1}{2}$")),
    ('{"id": 1, "question": "so "x"?", "level": "hard", "thought process": "s", "answer": "a"}', ('so "x"?', "s", "a")), ('{"question": "q "x"", "thought process": "s", "answer": "a", "confidence": 0.9}', ('q "x"', "s", "a")),
    ('{"question": "q", "thought process": "s", "answer": "a"\n\nLet me know.', ("q", "s", "a"))])
def test_broken_objects_are_read_by_their_names(reply, values):
    assert read(reply) == values and help_needed(reply) == "repaired"


@pytest.mark.parametrize("reply", [
    '{"question": "q?, \\"thought process\\": \\"s\\", \\"answer\\": \\"a"}', '{"question": "q?", "thoght process": "s", "answer": "a"}', '{"question": "q?" "thought process" "s", "answer": "a"}', '{"question": "q?", "thought process"; "s", "answer": "a"}',
    '{"question": "a "yes", "no": "maybe" one", "thought process": "s", "answer": "a"}', '{"question": "What is "answer": 5?", "thought process": "s", "answer": "a"}', '{"question": "so "x"", "thought process": ["1", "2, "answer": "a"}',
    '{"question": "What is half of 6?", "thought process": ”Halve it.”, \\"answer\\": \\"3"}4.0"answer": "3"}'])
def test_a_field_that_swallows_the_next_is_refused(reply):
    with pytest.raises(ValueError): read(reply)


@pytest.mark.parametrize("unit", ['{"a":', "{", "{ ", '{"question": "x", ', '"{\\"', "<think>", '{"question": ["', '"x ', "\\nu ", '", "a":', "“,", ",\n", '"}', "[["])
def test_long_nonsense_takes_no_second(unit):
    for begin in ("", '{"question": "', "{question: ", "{" + " " * 8000):
        began = time.process_time()
        with pytest.raises(ValueError): read(begin + unit * (8000 // len(unit)))
        assert time.process_time() - began < 1


# ---- scores

@pytest.mark.parametrize("value", ["4", 4, 4.0, "4.0", "4.5", "**4**", "__4__", "`4`", '"4"', "Score: 4", "score is 4", "**Score:** 4", "Overall rating: 4/5", "Final Score = 4 out of 5", "4/5", "4 / 5", "４", "４／５", "4 of 5", "4 points", "4 points out of 5", "4 stars",
                                   "4 - High quality", "4 (good)", "(4)", "\\boxed{4}", "$4$", "4.", "评分：4", "综合评分为4分", "4分", "得分：4分（满分5分）", " 4\n"])
def test_a_score_in_other_clothes_is_read(value):
    assert parse_score(value) == 4


@pytest.mark.parametrize("value", ["99", "-5", "0", "6", "5.5", "0.5", "8/10", "4/10", "4 / 50", "80 %", "80%", "4%", "４％", "4 percent", "4 out of 10", "4 points of 10", "8分（满分10分）", "4分/10分", "3-4", "3–4", "4 or 5", "4,5", "40", "4e1", "1e999", "Infinity", "N/A", "x", "score", "", True])
def test_a_score_on_another_scale_is_none(value):
    with pytest.raises(ValueError, match="is not a number from 1 to 5"): parse_score(value)


def test_scores_are_read_from_the_last_inspection():
    reply = '{"analysis_steps": "xxx", "score": "xxx"} {"analysis": "Good.", "Score": "**4**/5"}'
    assert parse_score(parse_json_object(reply, INSPECTION_KEYS)["score"]) == 4


def test_other_prompts_are_read_in_the_same_way():
    assert read('{"question": "q", "thought process": "s", "answer": "a"}', QA_KEYS) == ("q", "s", "a")
    assert read('{"thinking_steps": "s"}', LOGIC_KEYS) == ("s",) and read('{"question": "q", "answer": "a"}', ("question", "answer")) == ("q", "a")


# ---- mutations

def test_a_thousand_mutated_replies_are_read_or_refused():
    told, slowest, swallowed = bench_mutations.measure(1000, 17)
    assert sum(told.values()) == 1000 and slowest < 1 and not swallowed
    assert told["record"] > 300 and sum(n for word, n in told.items() if word.startswith("refused")) > 300
