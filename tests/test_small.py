"""The almanac with its recorded teacher, and the model that a package carries."""
import json
import shutil
from collections import Counter
from dataclasses import replace

import pytest

from aquilt import training
from aquilt.baselines import bonito_refuses, self_instruct, teacher_data, uninstructed
from aquilt.benchmarks import domain
from aquilt.distillation import RECORDED, distillation, requests
from aquilt.corpus import corpus, labeled
from aquilt.foundations import core
from aquilt.foundations.core import UserError, package_file, text_hash
from aquilt.foundations.profiles import SMALL
from aquilt.foundations.prompt import logic_messages
from aquilt.foundations.runs import Run
from aquilt.models import carried
from aquilt.models.carried import Carried, carried_models, obtain
from aquilt.models.engines import Prompt, Sampling, model_path
from aquilt.own import domain as domain_of_own, released
from aquilt.models.recorded import UNRECORDED, RecordedEngine, turn_key
from aquilt.reading import almanac
from aquilt.reading.almanac import ALMANAC, NO_BONITO, almanac_rows, by_todays_prompts, inspected_before, recordings, scored_before, texts
from aquilt.reading.cleaning import tokens
from aquilt.runner.status import baselines

PART = replace(SMALL, student="qwen2", passages_per_source=40, passage_tokens=1000, pairs_per_task=20, labeled_pairs=30)


def counted(given): return [len(text.split()) for text in given]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "The almanac up to distillation; the miniature's tokenizer counts."
    run = Run(PART, tmp_path_factory.mktemp("run"))
    for stage in (corpus(run), labeled(run), distillation(run)): run.do(stage)
    return run


def test_recorded_replies_become_records_and_the_others_are_told(run):
    result = run.result("distillation")
    counts = result["counts"]
    assert counts["entered"] == counts["kept"] + counts["dropped"] and counts["kept"] > 20 and set(counts["reasons"]) == {UNRECORDED}
    said = {row["question"] for row in almanac_rows("replies")} | {row["question"] for row in almanac_rows("labeled")}
    assert {r.question for r in run.records("distillation")} <= said and all(r.logic for r in run.records("distillation"))
    assert sum(row["completion_tokens"] for row in result["bill"]) > 1000


def test_the_store_holds_the_real_requests(run):
    rows = [json.loads(line) for line in (run.folder("distillation") / "replies.jsonl").read_text().splitlines()]
    assert len(rows) == run.result("distillation")["counts"]["kept"]
    assert all(row["key"] == text_hash(row["request"]) and row["request"]["model"] == "almanac-teacher" for row in rows)


def test_nothing_recorded_says_how_to_ask_a_live_teacher(tmp_path):
    engine = RecordedEngine("almanac-teacher", recordings(), counted, tmp_path / "replies.jsonl")
    with pytest.raises(UserError, match="None of 1 requests can be answered: .*--set teacher=MODEL"): engine.generate([Prompt([{"role": "user", "content": "Who?"}])], Sampling())
    assert list(engine.generate([], Sampling())) == [] and SMALL.teacher_url == RECORDED


def test_every_recorded_reply_has_the_request_that_it_was_an_answer_to():
    sent = package_file("data/almanac/asked.txt").read_text(encoding="utf-8").split()
    assert sent == sorted(by_todays_prompts()), "after a new reply, asked.txt is the sorted keys of by_todays_prompts(), a line each"


def test_an_edited_prompt_finds_no_recorded_reply(monkeypatch):
    before = recordings()
    monkeypatch.setattr(almanac, "logic_messages", lambda *asked: [{"role": "user", "content": "Briefly: " + logic_messages(*asked)[-1]["content"]}])
    lost = before.keys() - recordings().keys()
    assert len(lost) == len(almanac_rows("labeled")) and recordings().items() < before.items(), "those of Eq. 2 alone"


def test_a_reply_of_a_turn_serves_its_seed_alone(tmp_path):
    asked = [{"role": "user", "content": "Who?"}]
    engine = RecordedEngine("t", {turn_key(asked, 1): "Nobody."}, counted, tmp_path / "replies.jsonl")
    with pytest.raises(UserError, match="None of 1 requests"): engine.generate([Prompt(asked)], Sampling(seed=0))
    assert engine.generate([Prompt(asked)], Sampling(seed=1))[0].text == "Nobody."
    assert engine.generate([Prompt(asked)], Sampling(seed=2))[0].error == UNRECORDED  # the store is begun: one row, not the end


@pytest.mark.parametrize("place, stage, kept", [(0, "teacher_data", 220), (1, "teacher_data", 120), (0, "with_text", 133), (1, "with_text", 80), (1, "alone", 79)])
def test_the_teachers_data_for_both_domains_are_recorded(tmp_path, place, stage, kept):
    b, run = ALMANAC.benchmarks[place], Run(replace(SMALL, student="qwen2", samples=240), tmp_path)
    run.do(domain(run, b))
    result = run.do(teacher_data(run, b) if stage == "teacher_data" else self_instruct(run, b, stage == "with_text"))
    assert result["counts"]["kept"] == kept and set(result["counts"]["reasons"]) == {UNRECORDED}
    rows = run.records(result["stage"])
    assert len({r.question for r in rows}) == kept and all(r.answer for r in rows)
    if place and stage != "teacher_data": assert all(r.question.startswith("Context:") and r.answer.rstrip(".").endswith(("yes", "no", "maybe")) for r in rows)


def test_self_instruct_without_text_is_not_asked_of_a_closed_book():
    assert "without the text" in uninstructed(ALMANAC.benchmarks[0], False) and not uninstructed(ALMANAC.benchmarks[1], False)


def test_plain_pairs_are_short_and_of_three_tasks():
    rows = [row for row in almanac_rows("labeled") if row["id"].startswith("plain")]
    assert Counter(row["task"] for row in rows) == {"extractive_qa": 396, "natural_language_inference": 264, "closed_book_qa": 132}
    known = texts("general")
    for row in rows:
        assert len(row["logic"].split()) <= 40 and len(row["question"].split()) <= 32, row
        if row["task"] == "extractive_qa": assert row["answer"] in known[row["passage"]], row
        if row["task"] == "natural_language_inference": assert row["answer"] in ("yes", "no", "maybe")


def test_the_task_types_of_a_profile_are_those_that_are_asked_for(run):
    assert {r.task for r in run.records("distillation")} == {"extractive_qa", *SMALL.tasks}  # labeled pairs have tasks of their own
    with pytest.raises(UserError, match="There is no task 'poems'"): requests_of(run, ("poems",))


def requests_of(run, types):
    (_, records, asked, _), _ = requests(replace(run, profile=replace(run.profile, tasks=types)))
    return asked[0]


def test_every_reply_names_a_passage_and_no_test_passage_is_in_the_corpus():
    known = texts("general")
    assert all(row["passage"] in known for name in ("replies", "labeled") for row in almanac_rows(name))
    shown = {" ".join(words[i:i + 8]) for text in known.values() if (words := text.lower().split()) for i in range(len(words) - 7)}
    for name, field in (("domain", "text"), ("medical", "text"), ("medical_test", "context"), ("domain_test", "question"), ("medical_test", "question")):
        for row in almanac_rows(name):
            words = row[field].lower().split()
            assert not any(" ".join(words[i:i + 8]) in shown for i in range(len(words) - 7)), row


def test_the_benchmarks_ask_about_what_is_read_and_about_unseen_abstracts():
    domain, medicine = ALMANAC.benchmarks
    few = replace(SMALL, domain_passages=5)
    read = {r.document for r in domain.passages(few, "")[0]}
    asked = {row["question"] for row in almanac_rows("domain_test") if row["passage"] in read}
    assert {item["prompt"] for item in domain.items(few)} == asked and len(domain.items(SMALL)) == 184
    assert {item["references"][0] for item in medicine.items(SMALL)} == {"yes", "no", "maybe"}
    abstracts = {row["text"] for row in almanac_rows("medical")}
    assert not any(row["context"] in abstracts for row in almanac_rows("medical_test"))


def test_a_short_answer_is_marked_by_the_whole_of_it():
    item = next(item for item in ALMANAC.benchmarks[0].items(SMALL) if "923" in item["references"])
    marks = ALMANAC.benchmarks[0].scorers
    assert marks.corrected("Answer:923", item, True, None) == 100.0 > marks.corrected("Answer:It may be 923 or 1,041.", item, True, None)


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setenv("AQUILT_MODELS", str(tmp_path))
    monkeypatch.setattr(carried, "download", lambda repository, folder: "")
    return tmp_path


def test_an_unknown_model_is_a_sentence_and_leaves_nothing(no_hub):
    with pytest.raises(UserError, match="Unknown model 'nothing': give a hub id like OWNER/NAME, or one of smollm2"): obtain("nothing")
    with pytest.raises(UserError, match="The hub gave no model own/er: .*HF_TOKEN where it is gated"): obtain("own/er")
    assert not list(no_hub.rglob("*.part"))


def test_a_package_that_is_missing_or_another_names_its_command(no_hub, monkeypatch):
    known = carried_models()["smollm2-135m-instruct"]
    monkeypatch.setattr(carried, "carried_models", lambda: {"small": replace(known, package="no_such_package")})
    with pytest.raises(UserError, match="is not installed: run `make install-small`"): obtain("small")
    other = Carried(known.hub, "aquilt", "__init__.py", known.sha256, known.licence, known.install)
    monkeypatch.setattr(carried, "carried_models", lambda: {"small": other})
    with pytest.raises(UserError, match="is not the file that is known .* install the package again"): obtain("small")


def test_a_model_of_the_hub_without_safetensors_is_refused(no_hub, monkeypatch):
    monkeypatch.setattr(carried, "download", lambda repository, folder: (folder / "config.json").write_text("{}") and "abc")
    with pytest.raises(UserError, match="own/er has no safetensors: choose a model that has"): obtain("own/er")


def test_a_model_of_the_hub_is_found_by_its_name_afterwards(no_hub, monkeypatch):
    def fetched(repository, folder):
        for name in ("config.json", "model.safetensors"): (folder / name).write_text("{}")
        return "abc"
    monkeypatch.setattr(carried, "download", fetched)
    folder = obtain("own/er")
    assert model_path("own/er") == str(folder) and json.loads((folder / "origin.json").read_text()) == {"hub": "own/er", "revision": "abc"}
    monkeypatch.setattr(carried, "download", lambda *_: pytest.fail("fetched again"))
    assert obtain("own/er") == folder


# ---- one's own text, without a run

def test_writing_with_the_small_model_makes_its_run_from_what_is_recorded(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(domain_of_own, "do_all", lambda run, stages: done.extend(stage.name for stage in stages))
    monkeypatch.setattr(released, "models_in", lambda run: "models")
    monkeypatch.setenv("AQUILT_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("AQUILT_MODELS", str(tmp_path / "models"))  # the stages name the model, and none of them runs
    (tmp_path / "models" / "smollm2-135m-instruct").mkdir(parents=True)
    (tmp_path / "models" / "smollm2-135m-instruct" / "config.json").write_text("{}")
    p, writers = released.choose_writers(None, ("", "", "", "ours"), "small")
    assert (p.name, writers) == ("small", "models") and done == ["corpus", "labeled", "distillation", "filtering", "synthesiser", "inspection_data", "inspector"]
    done.clear()
    released.choose_writers(None, ("", "", "", "ours"), "small", dry=True), released.choose_writers(None, ("", "", "", "ours"), "smoke")
    assert not done  # nothing is made by a dry run, and a teacher that lives is not asked unasked


# ---- adapters that come with the package

def test_a_shipped_adapter_serves_the_training_that_would_make_it_and_no_other(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "SHIPPED", tmp_path / "data" / "adapters")
    monkeypatch.setattr(core, "PACKAGE", tmp_path)
    recipe, rows = training.Recipe(1e-3, 1, 1, 4, 64, "float32"), [("a", "b"), ("c", "d")]
    made = training.train_lora(model_path("qwen2"), rows, tmp_path / "first", recipe)
    shutil.copytree(tmp_path / "first" / "adapter", tmp_path / "data" / "adapters" / "mine")
    shutil.copy(tmp_path / "first" / "trained.json", tmp_path / "data" / "adapters" / "mine")
    found = training.train_lora(model_path("qwen2"), rows, tmp_path / "second", recipe)
    assert found == made | {"shipped": "mine"}
    weights = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]
    assert "shipped" not in training.train_lora(model_path("qwen2"), rows[:1], tmp_path / "third", recipe)
    monkeypatch.setenv("AQUILT_RETRAIN", "1")
    assert "shipped" not in training.train_lora(model_path("qwen2"), rows, tmp_path / "fourth", recipe)


def test_the_shipped_adapters_are_small_and_name_no_folder_of_a_machine():
    folders = [path.parent for path in training.SHIPPED.glob("*/trained.json")]
    assert folders
    for folder in folders:
        assert (folder / "adapter_model.safetensors").stat().st_size <= 10_000_000 and (folder / "base.txt").exists() and (folder / "README.md").exists()
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


# ---- what the teacher said of the small model's records

def test_scored_records_are_of_all_levels_and_nobody_says_more_than_it_must():
    rows = almanac_rows("inspected")
    assert sum(row["writer"] == "synthesiser" for row in rows) >= 500 and {row["score"] for row in rows} == {1, 2, 3, 4, 5}
    assert all(row["passage"] in texts("general") and 6 <= len(row["analysis"].split()) <= 36 for row in rows)
    assert len({(row["passage"], row["question"], row["logic"], row["answer"]) for row in rows}) == len(rows) == len(scored_before())


def test_the_teachers_own_scored_records_are_told_from_the_synthesisers():
    rows, records = almanac_rows("inspected"), inspected_before()
    assert [r.model == SMALL.teacher for r in records] == [row["writer"] == "teacher" for row in rows] and sum(row["writer"] == "teacher" for row in rows) == 130


def rows_of_words(text, n=8):
    "Every n words of a text that stand in a row."
    words = tokens(text)
    return {tuple(words[i:i + n]) for i in range(len(words) - n + 1)}


def test_no_eight_words_of_a_test_or_a_domain_stand_in_what_the_models_learn_from():
    fields = "text", "question", "logic", "answer", "analysis"
    learnt = set().union(*(rows_of_words(str(row.get(field, ""))) for name in ("general", "labeled", "replies", "inspected") for row in almanac_rows(name) for field in fields))
    for name in ("domain", "domain_test", "medical", "medical_test"):
        for row in almanac_rows(name):
            said = " ".join(row[field] for field in ("text", "context", "question") if field in row)
            assert not rows_of_words(said) & learnt, row


def test_the_chinese_replies_belong_to_the_chinese_passages():
    known, replies = texts("chinese"), almanac_rows("replies_zh")
    assert {row["passage"] for row in replies} <= known.keys() and len(known) == 24
    assert set(Counter(row["task"] for row in replies).values()) == {8}


def test_the_almanac_trains_no_synthesiser_in_bonitos_manner(tmp_path):
    stages = [stage.name for stage in baselines(Run(replace(SMALL, student="qwen2", specialist_bases=("qwen2",)), tmp_path))]
    assert "teacher_data/kelvarrin" in stages and not any("bonito" in name for name in stages)
    assert all(bonito_refuses(b) == NO_BONITO for b in ALMANAC.benchmarks)
