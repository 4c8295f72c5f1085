"""What data cost: tokens add up to those of replies, completions and examples; prices turn them into dollars."""
import json
from dataclasses import asdict, replace

import pytest

from stages import done

from aquilt.baselines import self_instruct, teacher_data
from aquilt.benchmarks import domain, suite
from aquilt.costs import SIZE, Made, Prices, Work, break_even, dollars, load_rentals, paper_prices, ratio, synthesis_work, work_of_stage
from aquilt.data_sources import BOTH, NONE, TAPT, UNLABELED
from aquilt.evaluation.paper import paper_table
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run, Stage, hand_over
from aquilt.models.engines import Completion, Usage

PUBMEDQA = suite(SMOKE)["pubmedqa"]
PRICES = Prices(read=1.0, written=10.0, gpu=3.6, flops=SIZE * 1000, training=1.0, writing=0.1)


@pytest.mark.parametrize("work, cost", [(Work(), 0), (Work(teacher_read=10**6), 1), (Work(teacher_written=10**6), 10), (Work(read=1000), 0.002), (Work(written=1000), 0.02), (Work(trained=1000), 0.006)])
def test_prices_turn_tokens_into_dollars(work, cost): assert dollars(work, PRICES) == pytest.approx(cost)


def test_work_adds_and_so_do_dollars():
    a, b = Work(1, 2, 3, 4, 5), Work(10, 20, 30, 40, 50)
    assert a + b == Work(11, 22, 33, 44, 55) and dollars(a + b, PRICES) == pytest.approx(dollars(a, PRICES) + dollars(b, PRICES))


def test_the_cost_of_the_teachers_data_is_that_of_its_replies(tmp_path):
    run = Run(replace(SMOKE, samples=10, domain_passages=4), tmp_path)
    for stage in (domain(run, PUBMEDQA), teacher_data(run, PUBMEDQA), self_instruct(run, PUBMEDQA, True)): done(run, stage)
    for source, kind in ((UNLABELED, "teacher_data"), (BOTH, "self_instruct_with_text")):
        rows = [json.loads(line)["reply"]["usage"] for line in (tmp_path / kind / "pubmedqa/replies.jsonl").read_text().splitlines()]
        work = synthesis_work(run, source, PUBMEDQA)
        assert (work.teacher_read, work.teacher_written) == (sum(r["prompt_tokens"] for r in rows), sum(r["completion_tokens"] for r in rows))
        assert work.read == work.written == work.trained == 0
    assert synthesis_work(run, TAPT, PUBMEDQA) == synthesis_work(run, NONE, PUBMEDQA) == Work()


def test_local_tokens_are_those_of_the_kept_completions(tmp_path):
    run = Run(SMOKE, tmp_path)
    def work(folder):
        made = [asdict(Completion("a", "stop", Usage(5, 2, 1))), asdict(Completion("b", "stop", Usage(7, 3, 1)))]
        for name in ("completions.jsonl", "scores.jsonl"): (folder / name).write_text(json.dumps({"hash": name, "completions": made}) + "\n")
        return hand_over(folder, "local", 0, [], []) | {"tokens": 100}
    done(run, Stage("local", work))
    assert work_of_stage(run, "local") == Work(read=24, written=10, trained=100)


def test_prices_have_a_date_and_a_source_and_the_paper_keeps_its_word():
    assert all(row["source"] and row["since"] and row["low"] <= row["price"] <= row["high"] for row in load_rentals())
    assert (paper_prices().read, paper_prices().written) == (0.27, 1.10), "DeepSeek-V3 when the paper was written"
    cost = paper_table(2).filter(like="Avg. Cost").squeeze().unstack("Source")
    shares = [cost["AQuilt"].sum() / cost[f"DeepSeek-V3 w/ {name}"].sum() for name in ("SI+UD", "Unlabeled Data")]
    assert [round(share, 2) for share in shares] == [0.17, 0.31]


def test_what_pays_for_itself_and_what_never_does():
    cheap, dear = Made(Work(teacher_read=10**6), 10), Made(Work(teacher_read=10**6), 5)
    assert (cheap.cost(PRICES), dear.cost(PRICES)) == pytest.approx((0.1, 0.2)) and ratio(cheap, dear, PRICES, 7, 3) == pytest.approx(0.5)
    assert break_even(Work(teacher_read=10**6), cheap, dear, PRICES) == pytest.approx(10) and break_even(Work(), dear, cheap, PRICES) is None
