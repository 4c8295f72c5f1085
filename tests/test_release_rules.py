"The release's rules as switches: off in the paper's profile, on by a setting, and every one in the table beside the paper."
from dataclasses import fields, replace

import pytest

from stages import done

from aquilt.benchmarks import domain, specialist_examples, suite
from aquilt.evaluation.audit import release_rules, release_table
from aquilt.foundations.core import Drop, Record, UserError
from aquilt.foundations.profiles import MINI, PAPER, PROFILES, SMOKE, Profile, with_settings
from aquilt.foundations.runs import Run, Stage, decides
from aquilt.foundations.scenes import as_asked
from aquilt.miniature.scene import MINIATURE
from aquilt.reading.scenes import REAL, scene_of
from aquilt.synthesis import REFUSED, RULES, filter_by_score, obeyed_by, refuse, removed_up_to, synthesis

SWITCHES = [rule["setting"] for rule in release_rules() if "setting" in rule]


def scored(scores): return [Record(question=f"q{i}", answer="a", score=s, raw=f"raw {i}") for i, s in enumerate(scores)]


# ---- the 20 % rule

@pytest.mark.parametrize("scores, paper, release", [
    ([5] * 8 + [2, 1, 1], 2, 1), ([5] * 4 + [1], 2, 2), ([5] * 3 + [1], 2, 1), ([5] * 8 + [1, 2], 2, 2), ([5] * 7 + [1, 2], 2, 1), ([1] * 9, 2, 1), ([2, 2, 5], 1, 1), ([], 2, 2), ([5], 2, 2)])
def test_the_release_counts_ones_and_twos(scores, paper, release):
    assert removed_up_to(scores) == removed_up_to(scores, 2, 0.20, PAPER.simple_scores) == paper
    assert removed_up_to(scores, 2, 0.20, (1, 2)) == release == removed_up_to(scores, 2, 0.20, (2, 1, 2)), "each score once"


def test_then_only_ones_are_dropped_with_a_reason():
    kept, drops = filter_by_score(scored([5] * 8 + [2, 1, 1]), 2, 0.20, "s", (1, 2))
    assert [r.score for r in kept] == [5] * 8 + [2] and [(d.reason, d.stage, d.raw) for d in drops] == [("score 1", "s", "raw 9"), ("score 1", "s", "raw 10")]


@pytest.mark.parametrize("scores", [[2] * 9, [1, 2, 2, 5], []])
def test_a_filter_that_is_off_stays_off(scores):
    for counted in ((2,), (1, 2)):
        assert removed_up_to(scores, 0, 0.20, counted) == 0 and filter_by_score(scored(scores), 0, 0.20, "s", counted)[1] == []


# ---- long pairs, and maybe

@pytest.mark.parametrize("question, answer, refused", [(2300, 0, False), (0, 2300, False), (2299, 2, True), (1, 2300, True), (0, 0, False)])
def test_a_pair_is_counted_in_characters(question, answer, refused):
    record = Record(question="问" * question, answer="答" * answer, logic="x" * 9000, text="y" * 9000)
    kept, drops = refuse([record], {"longest_pair": 2300}, "s")
    assert [d.reason for d in drops] == ["refused: question and answer over 2300 characters"] * refused and len(kept) == (not refused)
    assert refuse([record], {"longest_pair": 0}, "s") == ([record], [])


@pytest.mark.parametrize("answer, refused", [("maybe", True), ("Maybe.", True), (" MAYBE, it depends", True), ("yes", False), ("No", False), ("yes, maybe", False), ("It is unclear", False), ("maybelline", False), ("", False)])
def test_an_answer_is_maybe_where_its_first_verdict_is(answer, refused):
    record = Record(question="q", answer=answer, logic="maybe", raw="raw")
    kept, drops = refuse([record], {"unsure": "dropped"}, "s")
    assert [(d.reason, d.record, d.raw, d.stage) for d in drops] == [("refused: answers maybe", record, "raw", "s")] * refused and len(kept) == (not refused)
    assert refuse([record], {"unsure": "kept"}, "s") == ([record], [])


def test_the_first_rule_that_refuses_is_the_reason():
    long = Record(question="q" * 9, answer="maybe")
    assert [d.reason for d in refuse([long], {"longest_pair": 3, "unsure": "dropped"}, "s")[1]] == ["refused: question and answer over 3 characters"]
    assert refuse([long], {}, "s") == ([long], []) and refuse([], {"longest_pair": 3}, "s") == ([], [])


def test_an_unknown_word_is_told_before_anything_is_written(tmp_path):
    run = Run(replace(SMOKE, unsure="drop"), tmp_path / "run")
    with pytest.raises(UserError, match="The setting unsure is 'drop': choose kept or dropped."): synthesis(run, "pubmedqa", rules=("unsure",))
    assert obeyed_by(SMOKE, ("longest_pair", "unsure")) == {"longest_pair": 0, "unsure": "kept"}


@pytest.mark.parametrize("scene", (MINIATURE, REAL), ids=lambda s: s.name)
def test_each_rule_stands_where_the_release_has_it(scene):
    assert {(b.name, *b.rules) for b in scene.benchmarks} == {("squadqa",), ("pubmedqa", "unsure"), ("ceval",), ("translation", "longest_pair"), ("essayqa", "longest_pair")}
    assert {rule for b in scene.benchmarks for rule in b.rules} == set(RULES) <= {f.name for f in fields(Profile)}


def test_a_switch_makes_exactly_its_stages_stale(tmp_path):
    def settings(p, b): return synthesis(Run(p, tmp_path / "run"), b.name, rules=b.rules).settings
    for given, names in ((["longest_pair=2300"], {"translation", "essayqa"}), (["unsure=dropped"], {"pubmedqa"}), (["simple_scores=1,2"], set(suite(SMOKE)))):
        switched = with_settings(SMOKE, given)
        assert {b.name for b in suite(SMOKE).values() if settings(SMOKE, b) != settings(switched, b)} == names


def test_refused_records_are_in_the_ledger_of_the_stage(tmp_path, monkeypatch):
    from aquilt import synthesis as page
    p = replace(SMOKE, unsure="dropped", samples=6)
    run = Run(p, tmp_path / "run")
    made = [Record(question=f"q{i}", answer=answer, score=score) for i, (answer, score) in enumerate([("yes", 5), ("maybe", 4), ("no", 3), ("Maybe.", 5), ("maybe", 1)])]
    def written(*given):
        kept, low = filter_by_score(made, 2, 0.20, "s")
        return kept, [*low, Drop(stage="s", reason="unreadable", raw="{")], {"scores": {}, "removed_up_to": 2}
    monkeypatch.setattr(page, "inspected_data", written)
    monkeypatch.setattr(page, "spread_engine", lambda *given: None, raising=False)
    monkeypatch.setattr(page, "try_adapter", lambda *given: None)
    for name in ("synthesiser", "inspector"): done(run, Stage(name, lambda folder: {}))
    done(run, domain(run, suite(p)["pubmedqa"]))
    result = done(run, synthesis(run, "pubmedqa", rules=("unsure",)))
    assert result["counts"] == {"entered": 6, "kept": 2, "dropped": 4, "reasons": {"refused: answers maybe": 2, "score 1": 1, "unreadable": 1}}
    assert [r.answer for r in run.records("synthesis/pubmedqa")] == ["yes", "no"] and result["settings"]["unsure"] == "dropped" and result["settings"]["simple_scores"] == [2]
    assert REFUSED == "refused: " and not REFUSED.startswith("score ")


# ---- EssayQA in two readings

CLOSED, OPEN = replace(MINI, essay_reading="closed"), MINI


@pytest.mark.parametrize("p, task, holds", [(CLOSED, "closed_book_qa", False), (OPEN, "open_book_qa", True), (PAPER, "closed_book_qa", False)], ids=["closed", "open", "paper"])
def test_an_essay_is_read_as_the_profile_asks(p, task, holds):
    essay = suite(p)["essayqa"]
    ((user,), _), = specialist_examples(essay, [Record(text="THE TEXT", question="THE QUESTION", answer="a", lang="zh")])
    assert essay.task == task and ("THE TEXT" in user["content"]) == holds and "THE QUESTION" in user["content"]
    assert list(suite(p)) == ["squadqa", "pubmedqa", "ceval", "translation", "essayqa"] and essay.title == "EssayQA" and essay.langs == ("zh",)


def test_text_test_and_instruction_are_the_same_in_both_readings(tmp_path):
    both = [suite(p)["essayqa"] for p in (CLOSED, OPEN)]
    one, other = (b.passages(SMOKE, "s")[0] for b in both)
    assert [r.text for r in one] == [r.text for r in other] and {r.task for r in one} == {"closed_book_qa"} and {r.task for r in other} == {"open_book_qa"}
    assert both[0].items(SMOKE) == both[1].items(SMOKE) and both[0].instructions() == both[1].instructions() and both[0].examples("zh") == both[1].examples("zh")


def test_the_reading_makes_the_domain_anew(tmp_path):
    first, second = (Run(replace(SMOKE, essay_reading=how), tmp_path / "run") for how in ("open", "closed"))
    done(first, domain(first, suite(first.profile)["essayqa"]))
    assert {r.task for r in first.records("domain/essayqa")} == {"open_book_qa"}
    done(second, domain(second, suite(second.profile)["essayqa"]))
    assert {r.task for r in first.records("domain/essayqa")} == {"closed_book_qa"}
    for name in ("squadqa", "translation"):
        one, two = (decides(run, domain(run, suite(run.profile)[name])) for run in (first, second))
        assert one == two


def test_an_unknown_reading_is_one_sentence():
    for scene in (MINIATURE, REAL):
        with pytest.raises(UserError, match="The setting essay_reading is 'ajar': choose .*(open|closed) or (open|closed)"): as_asked(scene, replace(PAPER, essay_reading="ajar"))


@pytest.mark.parametrize("name", PROFILES)
def test_no_profile_has_a_benchmark_twice(name):
    names = [b.name for b in scene_of(PROFILES[name]).benchmarks]
    assert names and len(names) == len(set(names))


# ---- the table beside the paper

@pytest.mark.parametrize("given", SWITCHES)
def test_every_switch_is_a_setting_and_gives_the_release(given):
    name = given.partition("=")[0]
    assert name in {f.name for f in fields(Profile)} and with_settings(PAPER, [given]).name == "paper-own"
    assert "release" in next(f for f in fields(Profile) if f.name == name).metadata["source"]


def test_every_rule_says_what_is_done_and_where():
    for rule in release_rules():
        assert rule.keys() == {"what", "paper", "section", "release"} | ({"setting"} if "setting" in rule else {"ours"}) and all(rule[key] for key in rule if key != "section")
    assert {"simple_scores=1,2", "longest_pair=2300", "unsure=dropped", "essay_reading=open"} <= set(SWITCHES)


def test_the_table_tells_a_profiles_value_and_whether_it_is_the_releases():
    def told(p): return release_table(p).set_index("the release's setting")["as the release"].drop("").to_dict()
    assert [given for given, same in told(PAPER).items() if not same] == ["simple_scores=1,2", "longest_pair=2300", "unsure=dropped", "essay_reading=open"]
    assert set(told(with_settings(PAPER, SWITCHES)).values()) == {True} and told(MINI)["essay_reading=open"]
    table = release_table(PAPER).set_index("what")
    assert table.loc["EssayQA's task type and training prompt", "paper"].endswith("(4.2)") and table.loc["EssayQA's task type and training prompt", "this profile"] == "closed"
