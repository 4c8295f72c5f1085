"""Differences with intervals: what they compare, what they refuse, and what a verdict says."""
import random

import pytest

from aquilt.evaluation.claims import TABLE_2, TABLE_3, Claim, Difference, claims_table, paired_difference, verdict
from aquilt.evaluation.paper import paper_table
from aquilt.foundations.core import UserError


def scores(shift=0.0, seeds=3, items=40, noise=0.0, salt=0, names=("squadqa",)):
    rng, luck = random.Random(7), random.Random(salt)
    hard = {name: [rng.gauss(50, 20) for _ in range(items)] for name in names}
    return {name: {seed: [h + shift + luck.gauss(0, noise) for h in hard[name]] for seed in range(seeds)} for name in names}


def test_equal_rows_have_no_difference_and_decide_nothing():
    found = paired_difference(scores(), scores())
    assert (found.value, found.low, found.high) == (0, 0, 0) and verdict(found) == "undecided"


def test_a_constant_shift_is_certain_however_different_the_items_are():
    found = paired_difference(scores(5), scores())
    assert found.low == pytest.approx(5) == pytest.approx(found.high) and verdict(found) == "reproduced" and verdict(paired_difference(scores(), scores(5))) == "not reproduced"


def test_pairing_narrows_the_interval():
    mixed = {"squadqa": {seed: random.Random(1).sample(row, len(row)) for seed, row in scores()["squadqa"].items()}}
    paired, unpaired = paired_difference(scores(5, noise=3, salt=1), scores(noise=3, salt=2)), paired_difference(scores(5, noise=3, salt=1), mixed)
    assert paired.high - paired.low < unpaired.high - unpaired.low


def test_each_benchmark_weighs_the_same():
    first = {"a": {0: [10.0] * 4, 1: [10.0] * 4}, "b": {0: [0.0] * 400, 1: [0.0] * 400}}
    second = {"a": {0: [0.0] * 4, 1: [0.0] * 4}, "b": {0: [0.0] * 400, 1: [0.0] * 400}}
    found = paired_difference(first, second)
    assert found.value == 5.0 and (found.items, found.seeds) == (404, 2)


def test_a_row_that_has_one_seed_is_compared_with_every_seed_of_the_other():
    found = paired_difference(scores(5, noise=2, salt=1), scores(seeds=1))
    assert found.seeds == 3 and found.low < found.value < found.high


@pytest.mark.parametrize("first, second, said", [
    (scores(seeds=3), scores(seeds=2), r"squadqa: the rows have the seeds \[0, 1, 2\] and \[0, 1\]"), (scores(items=3), scores(items=4), "squadqa: the rows were asked different numbers of items"),
    (scores(), {}, "squadqa: one of the rows has no scores")])
def test_rows_that_do_not_match_are_refused(first, second, said):
    with pytest.raises(UserError, match=said): paired_difference(first, second)


@pytest.mark.parametrize("low, high, items, seeds, said", [(0.1, 3, 90, 3, "reproduced"), (-3, -0.1, 90, 3, "not reproduced"), (-1, 1, 90, 3, "undecided"), (0.0, 1, 90, 3, "undecided"),
                                                          (1, 3, 90, 1, "undecided"), (1, 1, 1, 2, "undecided")])
def test_verdicts(low, high, items, seeds, said):
    assert verdict(Difference((low + high) / 2, low, high, items, seeds)) == said and verdict(None) == "missing"


def test_a_table_of_claims_has_a_row_for_all_benchmarks_and_for_each():
    names = ("squadqa", "ceval")
    rows = {"AQuilt": scores(5, noise=1, salt=1, names=names), "w/o Logic": scores(noise=1, salt=2, names=names)}
    table = claims_table(rows, TABLE_3[:2], names, {(row, name): paper_table(3).loc[row, title] for row in ("AQuilt", "w/o Logic") for name, title in zip(names, ("SquadQA", "CEVAL"))})
    assert list(table["benchmark"]) == ["all", *names] * 2 and list(table["verdict"]) == ["reproduced"] * 3 + ["missing"] * 3
    assert list(table["paper"][:3]) == pytest.approx([1.865, 0.21, 3.52], abs=0.01) and table["paper"][3:].isna().all()


def test_claims_quote_the_paper(shared):
    text = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in (shared / "paper").glob("*.txt"))
    for claim in (*TABLE_2, *TABLE_3): assert claim.quote.rpartition(" (")[0] in text, claim.quote


def test_a_claim_names_two_rows():
    assert {(claim.better, claim.worse) for claim in TABLE_3} == {("AQuilt", row) for row in ("w/o Logic", "w/o Self-Inspection", "w/ Low-Quality")} and isinstance(TABLE_2[0], Claim)
