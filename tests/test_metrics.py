"""The official metrics against predictions scored by the benchmarks' own scripts, and the edges of the readers."""
import json
import random
import sys

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
    macro = metrics.macro_f1([metrics.verdict(output) for output in outputs], list(labels.values())) / 100
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


# ---- PubMedQA

@pytest.mark.parametrize("text, reading", [("Yes.", "yes"), ("NO", "no"), ("unknown, noted", ""), ("", ""), ("Maybe no", "maybe")])
def test_verdict(text, reading):
    assert metrics.verdict(text) == reading


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
])
def test_choice_is_clear_or_empty(output, reading):
    assert metrics.choice(output, OPTIONS) == reading


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
