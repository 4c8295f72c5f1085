"""The official metrics against predictions scored by the benchmarks' own scripts, and the edges of the readers."""
import json
import random
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquilt import benchmarks
from aquilt.evaluation import metrics
from aquilt.foundations.core import UserError

OPTIONS = {"A": "长江", "B": "黄河", "C": "珠江", "D": "淮河"}


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expected(shared):
    return load(shared / "golden" / "EXPECTED.json")


def mean(scores):
    return sum(scores) / len(scores)


# ---- parity with the official scripts

def squad_questions(path):
    "Id and references of every question of a SQuAD or CMRC file."
    data = load(path)
    for article in data["data"] if isinstance(data, dict) else data:
        for paragraph in article.get("paragraphs", [article]):
            for question in paragraph["qas"]:
                answers = [answer["text"] if isinstance(answer, dict) else str(answer) for answer in question["answers"]]
                yield question.get("id", question.get("query_id")), answers


@pytest.mark.parametrize("version, exact", [("squad_v1.1", "exact_match"), ("squad_v2.0", "exact")])
def test_squad_parity(shared, expected, version, exact):
    predictions = load(shared / "golden" / expected[version]["preds"])
    questions = [(predictions[key], references) for key, references in squad_questions(shared / "data" / expected[version]["data"])]
    assert mean([metrics.squad_f1(*question) for question in questions]) == pytest.approx(expected[version]["expected"]["f1"], abs=1e-9)
    assert mean([metrics.squad_exact(*question) for question in questions]) == pytest.approx(expected[version]["expected"][exact], abs=1e-9)


@pytest.mark.parametrize("form", ["cmrc2018_dev.subset.json", "squad-style/cmrc2018_dev.subset.json"])
def test_cmrc_parity(shared, expected, form):
    predictions = load(shared / "golden" / expected["cmrc2018"]["preds"])
    questions = list(squad_questions(shared / "data" / "cmrc2018" / form))
    assert len(questions) == expected["cmrc2018"]["expected"]["TOTAL"]
    f1 = mean([metrics.cmrc_f1(predictions[key], references) for key, references in questions])
    assert f1 == pytest.approx(expected["cmrc2018"]["expected"]["F1"], abs=5e-4)  # printed with three decimals


def test_pubmedqa_parity(shared, expected):
    labels = load(shared / "data" / "pubmedqa" / "test_ground_truth.subset.json")
    predictions = load(shared / "golden" / expected["pubmedqa"]["preds"])
    outputs, items = [predictions[key] for key in labels], [{"references": [label]} for label in labels.values()]
    accuracy = mean(metrics.score("pubmedqa", outputs, items)["official"]) / 100
    macro = metrics.macro_f1([metrics.first_verdict(output) for output in outputs], list(labels.values())) / 100
    assert f"Accuracy {accuracy:f}\nMacro-F1 {macro:f}" == expected["pubmedqa"]["expected"]


LEXEVAL = ("5_3.Baichuan_13B_base", "5_3.Qwen_7B_chat", "5_3.gpt4", "5_4.Qwen_7B_chat", "5_4.gpt4")


@pytest.mark.parametrize("name", LEXEVAL)
def test_lexeval_parity_line_by_line(shared, expected, name):
    file = f"lexeval_{name}.subset.jsonl"
    lines = [json.loads(line) for line in (shared / "golden" / file).read_text(encoding="utf-8").splitlines() if line]
    scores = [metrics.official_rouge_l(line["output"], line["answer"]) / 100 for line in lines]
    assert scores == pytest.approx([line["_expected_rouge_l_f"] for line in lines], abs=1e-9)
    assert mean(scores) == pytest.approx(expected["lexeval_rouge_l"]["files"][file]["mean_rouge_l_f"], abs=1e-9)


def test_the_official_reader_loses_english_targets(shared):
    lines = [json.loads(line) for line in (shared / "golden" / "lexeval_5_3.gpt4.subset.jsonl").read_text(encoding="utf-8").splitlines() if line]
    english = [line for line in lines if not any("\u4e00" <= character <= "\u9fff" for character in line["answer"])]
    scores = metrics.score("translation", [line["output"] for line in english], [{"references": [line["answer"]]} for line in english])
    assert len(english) > 10 and mean(scores["official"]) < 20 and mean(scores["corrected"]) > 40


# ---- where the answer begins

@pytest.mark.parametrize("output, official, corrected", [
    ("", "", ""),
    ("  Paris ", "Paris", "Paris"),
    ("Answer:", "", ""),
    ("Thinking steps:x\nAnswer: y ", "y", "y"),
    ("Thinking steps:They ask for the Answer: easy.\nAnswer:y\n", "y", "y"),
    ("Thinking steps:x and x and x", "Thinking steps:x and x and x", ""),
    (" \nThinking steps:x", "Thinking steps:x", ""),
    ("My Thinking steps: none", "My Thinking steps: none", "My Thinking steps: none"),
    ("Thinking steps：看A。\nAnswer：B", "Thinking steps：看A。\nAnswer：B", "B"),
    ("Thinking steps:x\n**Answer:** y", "** y", "y"),
    ("Thinking steps:x\n**Answer**: y", "Thinking steps:x\n**Answer**: y", "y"),
    ("Thinking steps:x\nfinal answer: y", "Thinking steps:x\nfinal answer: y", "y"),
    ("Thinking steps:看。\n答案：甲", "Thinking steps:看。\n答案：甲", "甲"),
    ("Thinking steps:看。\n最终答案是：甲", "Thinking steps:看。\n最终答案是：甲", "甲"),
    ("Thinking steps：看", "Thinking steps：看", ""),
    ("<think>Answer: a. No.</think>\nb", "a. No.</think>\nb", "b"),
    ("Answer: a</think>Answer: b", "b", "b"),
    ("a, says one</think>\nb", "a, says one</think>\nb", "b"),
    ("<THINK>a</THINK>Answer: b<think>or c?</think>", "b<think>or c?</think>", "b"),
    ("<think>Answer: a, or", "a, or", ""),
    ("They gave no answer: it was late.", "They gave no answer: it was late.", "They gave no answer: it was late."),
])
def test_answer_readers(output, official, corrected):
    assert metrics.last_answer(output) == official
    assert metrics.answer_text(output) == corrected


# ---- SQuAD and CMRC

@pytest.mark.parametrize("prediction, references, f1, exact", [
    ("", ["Paris"], 0, 0),
    ("the", ["Paris"], 0, 0),
    ("", [], 100, 100),
    ("Paris", [], 0, 0),
    ("PARIS!", ["Lyon", "paris"], 100, 100),
    ("a b b", ["b b"], 100, 100),
    ("b b b", ["b"], 50, 0),
])
def test_squad_edges(prediction, references, f1, exact):
    assert metrics.squad_f1(prediction, references) == f1
    assert metrics.squad_exact(prediction, references) == exact


def test_cmrc_counts_one_run_and_squad_any_words():
    assert metrics.cmrc_f1("甲丙乙", ["甲乙丙"]) == pytest.approx(100 / 3)
    assert metrics.cmrc_f1("", ["甲"]) == 0
    assert metrics.cmrc_f1("《甲》", ["甲。"]) == 100
    assert metrics.span_f1("river Mito", ["Mito river"]) == 100


@pytest.mark.parametrize("prediction, reference", [
    (unicodedata.normalize("NFD", "café"), "café"), ("1990—1995", "1990-1995"), ("−5", "-5"), ("‘The Prelude’", "'The Prelude'"), ("don’t", "don't"), ("«Le Monde»", '"Le Monde"'), ("ＭＩＴＯ", "Mito"), ("ﬁsh", "fish"),
    ("Mi\u200bto", "Mito"), ("２００８年", "2008年"), ('"北京"', "“北京”"), ("「北京」", "北京"), ("1990－1995年", "1990-1995年"), ("Mito River", "Mito\u00a0River"),
])
def test_what_a_reader_would_not_tell_apart_is_equal(prediction, reference):
    assert metrics.span_f1(prediction, [reference]) == metrics.span_f1(reference, [prediction]) == 100
    assert metrics.rouge_l(prediction, reference) == 100 or "-" in reference


@pytest.mark.parametrize("text", ["Mito, the river (1,850 km) runs. It's long!", "米托河，全程：8.9公里；“该城”。", "Lumara-Veth 12%"])
def test_ordinary_texts_keep_their_score(text):
    for other in ("the Mito river", "米托河流经该城", text[3:]): assert metrics.span_f1(text, [other]) == (metrics.cmrc_f1 if any("\u4e00" <= c for c in other) else metrics.squad_f1)(text, [other])


# ---- PubMedQA

@pytest.mark.parametrize("text, reading", [("Yes.", "yes"), ("NO", "no"), ("unknown, noted", ""), ("", ""), ("Maybe no", "maybe")])
def test_verdict(text, reading):
    assert metrics.verdict(text) == metrics.first_verdict(text) == reading


@pytest.mark.parametrize("text, official, corrected", [
    ("The data show no harm, so the answer is yes.", "no", "yes"),
    ("There is no doubt: yes", "no", "yes"),
    ("Not maybe but no.", "maybe", "no"),
    ("It is not a yes; no.", "yes", "no"),
    ("I would not say maybe, rather than yes I say no", "maybe", "no"),
    ("It isn't maybe: yes", "maybe", "yes"),
    ("Yes. No harm was seen.", "yes", "yes"),
    ("Yes, there is no doubt.", "yes", "yes"),
    ("Yes, maybe by lowering the dose.", "yes", "yes"),
    ("At first yes, but the answer is: no", "yes", "no"),
    ("Maybe it helps. The answer to this question is **yes**.", "maybe", "yes"),
    ("No, the drug had no effect.", "no", "no"),
    ("No because it fails", "no", "no"),
    ("No it does not", "no", "no"),
    ("No significant difference was found.", "no", "no"),
    ("There was no dropout.", "no", ""),
    ("no change in women, so maybe", "no", "maybe"),
    ("ｙｅｓ", "", "yes"),
    ("(yes/no/maybe): no", "yes", "no"),
    ("I cannot say yes; maybe", "yes", "maybe"),
    ("**No**", "no", "no"),
])
def test_the_verdict_is_the_one_that_the_answer_gives(text, official, corrected):
    assert (metrics.first_verdict(text), metrics.verdict(text)) == (official, corrected)


def test_macro_f1_counts_an_unread_item_as_a_miss():
    assert metrics.macro_f1(["", "no", "maybe"], ["yes", "no", "maybe"]) == pytest.approx(200 / 3)


# ---- C-Eval

@pytest.mark.parametrize("output, reading", [
    ("Thinking steps:A B C\nAnswer:D", "D"),
    ("所以答案是A。不对，所以答案是C。", "C"),
    ("C是正确的，答案是A", "C"),
    ("The answer is B because of A", "B"),
    ("Beijing", "B"),
    ("应选珠江或长江", "C"),
])
def test_official_choice_is_a_cascade(output, reading):
    assert metrics.official_choice(output, OPTIONS, random.Random(0)) == reading


@pytest.mark.parametrize("output, reading", [
    ("Thinking steps:A B C\nAnswer:D", "D"),
    ("Answer:B. 因为A不对", "B"),
    ("(C) 珠江", "C"),
    ("The answer is A because the others are not", "A"),
    ("A是错误的，B也是，答案应该是选项D。", "D"),
    ("应选D", "D"),
    ("Beijing", ""),
    ("A river in China", ""),
    ("ABC", ""),
    ("选项B和选项C", ""),
    ("淮河", "D"),
    ("应选珠江或长江", ""),
    ("Thinking steps:B", ""),
    ("", ""),
    # in other clothes
    ("b", "B"), ("b.", "B"), ("(d)", "D"), ("c) 珠江", "C"), ("Ｂ", "B"), ("（Ｂ）", "B"), ("【B】", "B"), ("**B**", "B"), ("a", "A"),
    ("答案：ｂ", "B"), ("Answer: b", "B"), ("answer：b", "B"), ("The answer is b", "B"), ("the correct answer is (c).", "C"), ("选b", "B"), ("option d", "D"), ("选项ｃ", "C"),
    ("Thinking steps:先看A，再看C。\nAnswer：B", "B"), ("<think>A? Answer: A</think>B", "B"), ("maybe A</think>C", "C"),
    # a small letter is mostly a word
    ("a river in China", ""), ("The answer is a river in China", ""), ("it is a large one", ""), ("vitamin c", ""), ("The answer is B-cell lymphoma", ""), ("vitamin B12", ""), ("d'accord", ""),
    # what is rejected, and what is left
    ("A and B are both wrong, choose C", "C"), ("A and B are both wrong, so it must be C.", "C"), ("A, B and D are incorrect; C remains", "C"), ("A、B都不对，选C", "C"), ("A和B均错误，应选D", "D"),
    ("A is wrong. B is right.", "B"), ("B isn't correct, C is", "C"), ("A不正确，B正确", "B"), ("A项错误，B项正确。", "B"), ("A can be excluded, B is the correct answer", "B"), ("排除A和D，选B", "B"),
    ("The answer is not A but B", "B"), ("答案不是A，而是B", "B"), ("不选A，选D", "D"), ("not A", ""), ("答案不是A", ""), ("B不对", ""), ("neither A nor B", ""), ("B rather than A", "B"), ("B, not A", "B"),
    ("The answer is B, not A.", "B"), ("B。A不对。", "B"), ("Although B is tempting, C is correct", "C"), ("B是正确的", "B"), ("B对应的是黄河，D对。", "D"),
    # what is stated goes before what follows
    ("The answer is B. Note that A is a common distractor.", "B"), ("B is the answer; A is a distractor", "B"), ("我选B，因为A太长", "B"), ("正确答案应该为：C", "C"), ("正确选项为C，错误选项为A", "C"), ("答案是A。不对，答案是C。", "C"),
    ("B is not only long but right, as against A; the answer: B", "B"), ("B不仅长，A也长", "B"),
    # what is not clear
    ("A or B", ""), ("B或C", ""), ("A and C", ""), ("选A或B", ""), ("The answer is A or B", ""), ("Both A and B are correct", ""), ("either B or D", ""),
])
def test_choice_is_clear_or_empty(output, reading):
    assert metrics.choice(output, OPTIONS) == reading


def test_other_letters_and_texts_of_options():
    assert metrics.choice("The answer is E", OPTIONS | {"E": "海河"}) == "E" and metrics.choice("The answer is E", OPTIONS) == ""
    assert metrics.choice("It is nitrogen.", {"A": "Oxygen", "B": "Nitrogen"}) == "B"
    assert metrics.choice("caf\u00e9", {"A": "tea", "B": "cafe\u0301"}) == "B" and metrics.choice("B", {}) == "B"


@pytest.mark.parametrize("unit", ["\n", "* ", "A, ", "answer ", "答案", "<think>", "no ", "not ", "选", "is wrong ", "Answer:"])
def test_long_outputs_are_read_quickly(unit):
    start, text = time.process_time(), unit * (50_000 // len(unit))
    metrics.answer_text(text), metrics.verdict(text), metrics.choice(text, OPTIONS)
    assert time.process_time() - start < 5


def test_unreadable_choice_is_random_officially_and_wrong_when_corrected():
    outputs, items = ["不知道"] * 400, [{"references": ["B"], "options": OPTIONS}] * 400
    scores = metrics.score("ceval", outputs, items, seed=1)
    assert 15 < mean(scores["official"]) < 35 and mean(scores["corrected"]) == 0
    assert scores == metrics.score("ceval", outputs, items, seed=1) != metrics.score("ceval", outputs, items, seed=2)


# ---- ROUGE-L

@pytest.mark.parametrize("prediction, reference", [("", "租金"), ("租金", ""), ("。", "租金"), ("...", "..."), (" \n", "rent")])
def test_rouge_of_nothing_is_zero(prediction, reference):
    assert metrics.official_rouge_l(prediction, reference) == metrics.rouge_l(prediction, reference) == 0.0


def test_a_text_beyond_the_recursion_limit_scores_zero_officially():
    text, limit = " ".join("甲乙丙丁戊己庚辛壬癸"[i % 10] * 2 for i in range(400)), sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        assert metrics.official_rouge_l(text, text) == 0.0
    finally:
        sys.setrecursionlimit(limit)
    assert metrics.rouge_l(text, text) == 100.0


def test_rouge_keeps_order_and_gaps():
    assert metrics.rouge_l("the lessee of the flat pays", "the lessee pays") == pytest.approx(200 * 3 / 9)
    assert metrics.rouge_l("租金 支付", "支付 租金") == pytest.approx(50)


@given(st.text("ab Ab甲乙 。.,\n", max_size=30), st.text("ab Ab甲乙 。.,\n", max_size=30))
def test_scores_stay_in_their_range(prediction, reference):
    for metric in (metrics.rouge_l, lambda p, r: metrics.span_f1(p, [r]), lambda p, r: metrics.squad_exact(p, [r])):
        assert 0.0 <= metric(prediction, reference) <= 100.0
    assert metrics.rouge_l(prediction, prediction) == (100.0 if metrics.words(prediction) else 0.0)


# ---- score

def test_reasoning_is_cut_off_for_our_own_models_alone():
    output, items = "Thinking steps: long\nAnswer: Mito", [{"references": ["Mito"]}]
    assert metrics.score("squadqa", [output], items)["official"] == [100.0]
    assert metrics.score("squadqa", [output], items, ours=False)["official"] == [pytest.approx(100 / 3)]
    assert metrics.score("squadqa", [output], items, ours=False)["corrected"] == [100.0]


@pytest.mark.parametrize("benchmark", metrics.BENCHMARKS)
def test_scores_are_one_float_per_item(benchmark):
    items = [{"references": ["no"], "options": OPTIONS}] * 3
    scores = metrics.score(benchmark, ["", "Answer:no", "Thinking steps:no"], items)
    assert {key: [type(score) for score in column] for key, column in scores.items()} == {"official": [float] * 3, "corrected": [float] * 3}
    assert scores["corrected"][0] == scores["corrected"][2] == 0.0
    assert metrics.score(benchmark, [], []) == {"official": [], "corrected": []}


@pytest.mark.parametrize("benchmark, outputs, items, word", [
    ("squad", [], [], "squadqa"),
    ("squadqa", ["x"], [], "1 outputs for 0 items"),
    ("pubmedqa", ["x"], [{"references": "yes"}], "references"),
    ("essayqa", ["x"], [{"references": []}], "references"),
    ("ceval", ["x"], [{"references": ["A"]}], "options"),
])
def test_bad_input_is_one_sentence(benchmark, outputs, items, word):
    with pytest.raises(UserError, match=word):
        metrics.score(benchmark, outputs, items)


# ---- whole files, by the names that users call

@pytest.mark.parametrize("version, exact", [("squad_v1.1", "exact_match"), ("squad_v2.0", "exact")])
def test_squad_scores_are_those_of_the_script(shared, expected, version, exact):
    wanted = expected[version]["expected"]
    scores = benchmarks.squad_scores(load(shared / "golden" / expected[version]["preds"]), dict(squad_questions(shared / "data" / expected[version]["data"])))
    assert scores == {"exact_match": pytest.approx(wanted[exact], abs=1e-6), "f1": pytest.approx(wanted["f1"], abs=1e-6)}


def test_pubmedqa_scores_are_those_of_the_script(shared, expected):
    scores = benchmarks.pubmedqa_scores(load(shared / "golden" / expected["pubmedqa"]["preds"]), load(shared / "data" / "pubmedqa" / "test_ground_truth.subset.json"))
    assert f"Accuracy {scores['accuracy']:.6f}\nMacro-F1 {scores['macro_f1']:.6f}" == expected["pubmedqa"]["expected"]


def test_rouge_l_is_that_of_lexeval_line_by_line(shared, expected):
    for file, wanted in expected["lexeval_rouge_l"]["files"].items():
        lines = [json.loads(line) for line in (shared / "golden" / file).read_text(encoding="utf-8").splitlines() if line]
        found = [benchmarks.rouge_l(line["output"], line["answer"]) for line in lines]
        assert found == [pytest.approx(line["_expected_rouge_l_f"], abs=1e-6) for line in lines] and mean(found) == pytest.approx(wanted["mean_rouge_l_f"], abs=1e-6)


def test_what_cannot_be_scored_is_one_sentence():
    with pytest.raises(UserError, match="exactly one"): benchmarks.pubmedqa_scores({"a": "yes"}, {"a": "yes", "b": "no"})
    with pytest.raises(UserError, match="no references"): benchmarks.squad_scores({}, {})
    assert benchmarks.extract_choice("答案是B", OPTIONS) == "B" and benchmarks.extract_choice("", OPTIONS) is None
