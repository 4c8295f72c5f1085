"""A folder of one's own files, from passages to inspected records: the miniature's teacher on loopback, its base model, the smallest sizes. Killed and repeated, nothing is paid for twice."""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

import aquilt
from aquilt.__main__ import app
from aquilt.foundations.core import Record, UserError, read_drops, read_records, text_hash
from aquilt.foundations.profiles import SMOKE
from aquilt.miniature import server
from aquilt.miniature.world import draw_passage
from aquilt.own import domain, released
from aquilt.synthesis import Order, Writers, in_rounds
from stages import done

ROOT = Path(aquilt.__file__).parents[1]
TOML = """
text = ["text"]
tasks = ["single_choice", "open_book_qa"]
teacher = "miniature-teacher@{url}"
profile = "smoke"
[settings]
passage_tokens = 120
pairs_per_task = 50
epochs = 8
batch_size = 4
inspected = 12
inspection_epochs = 1
"""
VARIABLES = ("AQUILT_TASKS", "AQUILT_BUDGET", "AQUILT_PRICES", "AQUILT_SET", "AQUILT_RUN_DIR", "AQUILT_BATCH", "AQUILT_CONCURRENCY", "AQUILT_ENGINE_ARGS")


def fill(folder: Path) -> None:
    "Two formats, two languages, and a file that cannot be read."
    rng = random.Random(0)
    folder.mkdir(parents=True)
    for i in range(8):
        lang = ("en", "zh")[i % 2]
        texts = [draw_passage(rng, kind, style, lang, "distillation") for kind, style in (("city", "encyclopedia"), ("person", "encyclopedia"))]
        (folder / f"{i}.txt").write_text("\n\n".join(texts), encoding="utf-8") if i < 4 else (folder / f"{i}.html").write_text("".join(f"<p>{t}</p>" for t in texts), encoding="utf-8")
    (folder / "scan.pdf").write_bytes(b"%PDF-1.4")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    "Variables that a command sets are taken back, and stages are done in this process."
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(domain, "do_all", lambda run, stages: [done(run, stage) for stage in stages])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A project, and what its teacher was asked, in order."
    folder, asked, real = tmp_path_factory.mktemp("own") / "mine", [], server.reply
    fill(folder / "text")
    def heard(messages, *more):
        asked.append(text_hash(messages))
        time.sleep(0.02)
        return real(messages, *more)
    server.reply = heard
    try:
        with server.teacher_server(0.02) as url:
            (folder / "aquilt.toml").write_text(TOML.format(url=url))
            yield folder, asked
    finally: server.reply = real


def call(*arguments): return CliRunner().invoke(app, [str(a) for a in arguments])


def test_from_a_folder_to_inspected_records(place, monkeypatch):
    folder, asked = place
    shown = call("distill", "--project", folder, "--preview", 2)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("question: ") == 2 and shown.stdout.count("logic: ") == 2 and "no request is sent twice" in shown.stdout and "scan.pdf" in shown.stderr
    assert len(asked) == 2
    told = call("distill", "--project", folder, "--estimate", "--requests", 4)
    assert told.exit_code == 0 and "no price" in told.stdout and "Eq. 2" not in told.stdout
    before = len(asked)

    # killed while it asks, one request at a time: what was answered is kept
    replies = folder / "run/distillation/replies.jsonl"
    at = len(replies.read_text(encoding="utf-8").splitlines())
    one = subprocess.Popen([sys.executable, "-m", "aquilt", "distill", "--project", str(folder), "--concurrency", "1"], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while one.poll() is None and len(replies.read_bytes().splitlines()) < at + 3: time.sleep(0.02)
    os.killpg(one.pid, signal.SIGKILL)
    one.wait()
    assert len(asked) > before and not (folder / "run/distillation/result.json").exists()

    again = call("distill", "--project", folder, "--concurrency", "1")
    assert again.exit_code == 0, again.output
    assert "no price" in again.stdout and "next comes `aquilt fit`" in again.stdout
    assert sum(Counter(asked).values()) - len(set(asked)) <= 1, "at most the one that was under way at the kill is asked again"
    run = domain.open_project(domain.read_project(folder))
    kept, corpus = run.records("distillation"), run.records("corpus")
    assert {r.task for r in kept} == {"single_choice", "open_book_qa"} and {r.lang for r in kept} == {"en", "zh"} == {r.lang for r in corpus}
    assert {Path(r.source).suffix for r in corpus} == {".txt", ".html"} and any("scan.pdf" in d.reason for d in run.drops("corpus"))
    assert len(kept) + len(run.drops("distillation")) == 2 * len(corpus)

    trained = call("fit", "--project", folder)
    assert trained.exit_code == 0, trained.output
    made, before = {path: path.read_bytes() for path in run.root.rglob("result.json")}, len(asked)
    assert call("fit", "--project", folder).exit_code == 0 == call("distill", "--project", folder).exit_code
    assert {path: path.read_bytes() for path in made} == made and len(asked) == before, "what is done is not done again"

    out = folder / "records.jsonl"
    call("synthesize", "--project", folder, "--out", out, "--samples", 5, "--seed", 3)
    records, drops = read_records(out), read_drops(f"{out}.dropped.jsonl")
    assert len(records) + sum(d.reason != "one of several in a reply" for d in drops) == 5, "so small a model may keep none; each is told of"
    dry = call("synthesize", "--project", folder, "--out", out, "--samples", 5, "--dry-run")
    assert dry.exit_code == 0 and "5 of the form ours" in dry.stdout and "no price" in dry.stdout

    # another text, task or teacher makes exactly what rests on it stale
    (folder / "text" / "0.txt").write_text((folder / "text" / "0.txt").read_text(encoding="utf-8").replace("o", "a", 1), encoding="utf-8")
    from aquilt.corpus import corpus as stage
    from aquilt.foundations.runs import why_again
    assert why_again(run, stage(run))[0].startswith("text was")


def test_flags_alone_are_a_project(place, tmp_path, monkeypatch):
    folder, asked = place
    monkeypatch.chdir(tmp_path)
    url = (folder / "aquilt.toml").read_text().split('miniature-teacher@')[1].split('"')[0]
    done = call("distill", "--text", os.path.relpath(folder / "text"), "--task", "closed_book_qa", "--lang", "zh", "--teacher", f"miniature-teacher@{url}", "--profile", "smoke", "--set", "passage_tokens=120", "--preview", "1")
    assert done.exit_code == 0 and done.stdout.count("question: ") == 1 and "closed_book_qa, zh" in done.stdout, done.output
    assert (tmp_path / "run/corpus/records.jsonl").exists()


# ---- the project file

GOOD = 'text = ["t"]\n'


@pytest.mark.parametrize("toml, said", [
    ("text = 5\n", "field text"), ('text = []\n', "field text"), ("", "field text"), (GOOD + 'tasks = []\n', "field tasks"), (GOOD + 'languages = ["de"]\n', "field languages.0"), (GOOD + "budget = -1\n", "field budget"),
    (GOOD + "budget = nan\n", "field budget"), (GOOD + 'more = 1\n', "field more"), (GOOD + 'folder = "x"\n', "field folder"), ("text = [", "cannot be read as TOML"), ("\x00", "cannot be read as TOML"), (GOOD + 'settings = 5\n', "field settings"),
    (GOOD + 'tasks = ["poems"]\n', "There is no task 'poems'"), (GOOD + 'teacher = "nobody"\n', "is no teacher"), (GOOD + 'profile = "huge"\n', "Unknown profile"), (GOOD + "[settings]\nepoch = 1\n", "Unknown setting"),
    (GOOD + "[settings]\nepochs = 0\n", "The setting epochs cannot be"), ('text = ["none"]\n', "does not exist"), ('text = ["."]\n', "holds the project's own folder run"), (GOOD + 'task_file = "none.toml"\n', "does not exist as a file of tasks"),
    (GOOD + 'prices = "none.toml"\n', "none.toml"), (GOOD + "[settings]\nfrequent_word = [1, 2]\n", "frequent_word")])
def test_a_project_file_that_is_wrong_is_one_sentence(tmp_path, toml, said):
    (tmp_path / "t").mkdir()
    (tmp_path / "aquilt.toml").write_text(toml)
    done = call("distill", "--project", tmp_path)
    assert done.exit_code == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.output


def test_init_writes_a_file_that_can_be_read_and_overwrites_none(tmp_path):
    assert call("init", tmp_path / "new").exit_code == 0
    project = domain.read_project(tmp_path / "new")
    assert project.profile == "single_gpu" and (tmp_path / "new/text").is_dir()
    p = domain.profile_of(project)
    assert (p.scene, p.name, p.pairs_per_task, p.teachers) == ("own", "single_gpu-own", 1000, (project.teacher,))
    again = call("init", tmp_path / "new")
    assert again.exit_code == 2 and "is there already" in again.stderr
    assert call("distill", "--project", tmp_path / "other").exit_code == 2


def test_the_example_of_a_task_is_one(tmp_path):
    from aquilt.foundations.tasks import read_tasks
    text = (ROOT / "aquilt/data/project_tasks.toml").read_text(encoding="utf-8").split("\n", 1)[1]
    text = re.sub("(?m)^# ", "", text)
    (tmp_path / "tasks.toml").write_text(text, encoding="utf-8")
    assert list(read_tasks(tmp_path / "tasks.toml")) == ["word_problem"]


def test_a_flag_comes_before_the_file_and_a_setting_of_the_environment_last(tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    (tmp_path / "aquilt.toml").write_text(GOOD + 'student = "qwen2"\nprofile = "smoke"\n[settings]\nepochs = 3\nseeds = [1, 2]\nlearning_rate = 0.5\n')
    monkeypatch.setenv("AQUILT_SET", json.dumps(["epochs=4"]))
    p = domain.profile_of(domain.read_project(tmp_path, student="llama", tasks=["single_choice"]))
    assert (p.student, p.tasks, p.epochs, p.seeds, p.learning_rate) == ("llama", ("single_choice",), 4, (1, 2), 0.5)


def test_a_budget_asks_for_a_price(place, tmp_path):
    folder, asked = place
    before = len(asked)
    done = call("distill", "--project", folder, "--budget", "1")
    assert done.exit_code == 2 and "There is no price for miniature-teacher" in done.stderr and len(asked) == before


def test_models_are_made_before_they_write(place, tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    (tmp_path / "aquilt.toml").write_text(GOOD + 'profile = "smoke"\n')
    monkeypatch.chdir(tmp_path)
    for command, said in ((["fit"], "run `aquilt distill` first"), (["synthesize", "--out", "out.jsonl"], "run `aquilt distill` and then `aquilt fit`"), (["synthesize", "none.txt", "--task", "poems", "--out", "o.jsonl"], "no task 'poems'")):
        done = call(*command)
        assert done.exit_code == 2 and said in done.stderr, done.output


# ---- rounds, and weights of others

def test_rounds_go_on_until_enough_are_kept_and_end_where_nothing_is_new():
    def new(number): return [Record(question=f"q{number}"), Record(question="again")], []
    kept, drops = in_rounds(new, 4, "s")
    assert [r.question for r in kept] == ["q0", "again", "q1", "q2"] and Counter(d.reason for d in drops) == {"repeated pair": 2}
    kept, drops = in_rounds(new, 1, "s")
    assert len(kept) == 1 and drops[0].reason == "beyond the first 1"
    assert [len(part) for part in in_rounds(lambda n: ([Record(question="q")], []), 5, "s")] == [1, 1]


def test_an_order_cycles_passages_and_tasks():
    two = [Record(text="a"), Record(text="b")]
    order = Order(("single_choice", "open_book_qa"), samples=3)
    assert [(r.text, r.task[0]) for number in (0, 1) for r in order.round(two, number)] == [("a", "s"), ("a", "o"), ("b", "s"), ("b", "o"), ("a", "s"), ("a", "o")]
    assert len(Order(("single_choice",)).round(two, 0)) == 2


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    "Two LoRAs with random weights for the miniature's base model: stand-ins of the released ones."
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from aquilt.models.engines import model_path
    folder = tmp_path_factory.mktemp("loras")
    for seed, name in enumerate(("writer", "inspector")):
        torch.manual_seed(seed)
        lora = LoraConfig(r=4, lora_alpha=1, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        get_peft_model(AutoModelForCausalLM.from_pretrained(model_path("qwen2")), lora).save_pretrained(folder / name)
    config = folder / "inspector" / "adapter_config.json"  # that of a merged model, which is not here
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "elsewhere/merged"}))
    return folder


def test_released_weights_are_merged_once_and_asked_in_their_own_form(loras, tmp_path, monkeypatch):
    from aquilt import synthesis
    from aquilt.models.engines import Completion
    monkeypatch.setenv("AQUILT_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("The mill stands on the river. It was built in 1874 by Mr. Hale.")
    asked = []
    class Engine:
        def __init__(self, model): self.model = model
        def generate(self, prompts, sampling, adapter=None, desc="", keys=()):
            asked.append((self.model, adapter, [p.content for p in prompts], [p.prefix for p in prompts]))
            return [Completion('{"analysis_steps": "good", "score": "5"}' if adapter else p.prefix + f' {i}?", "thinking_steps": "l", "answer": "{i}"}}', "stop") for i, p in enumerate(prompts)]
    monkeypatch.setattr(synthesis, "engine_for", lambda p, model: Engine(model))
    flags = ["synthesize", "notes.txt", "--task", "closed_book_qa", "--out", "out.jsonl", "--samples", 3, "--prefix", "Who", "--profile", "smoke",
             "--model", "qwen2", "--adapter", loras / "writer", "--inspector", loras / "inspector", "--prompts", "official"]
    dry = call(*flags, "--dry-run")
    assert dry.exit_code == 0 and "3 of the form official" in dry.stdout and "[reference material begin]" in dry.stdout and not (tmp_path / "models").exists() and not asked, dry.output
    done = call(*flags)
    assert done.exit_code == 0 and "3 of 3 requests became records" in done.stdout, done.output
    (writer, none, prompts, prefixes), (same, lora, inspected, _) = asked
    assert writer == same and Path(writer).parent == tmp_path / "models" and none is None and lora == str(loras / "inspector")
    assert prompts[0].endswith("[reference material end]\nPlease complete the Q&A pair based on the requirements.\n") and prefixes == ['```json\n{"question": "Who'] * 3
    assert inspected[0].startswith("Please score") and inspected[0].endswith("```\n<qa_pair end>") and '```json\n{"question": "Who 0?"' in inspected[0]
    weights = {path: path.stat().st_mtime_ns for path in Path(writer).iterdir()}
    for name in ("out.jsonl", "out.jsonl.completions.jsonl"): (tmp_path / name).unlink()
    assert call(*flags).exit_code == 0 and {path: path.stat().st_mtime_ns for path in Path(writer).iterdir()} == weights, "merged once"
    assert [r.score for r in read_records("out.jsonl")] == [5, 5, 5]


@pytest.mark.parametrize("flags, said", [
    (["--adapter", "x"], "belong to --model"), (["--prompts", "official"], "belong to --model"), (["--model", "qwen2"], "--model asks for --inspector"), (["--model", "qwen2", "--inspector", "none"], "is no folder of a LoRA"),
    (["--model", "qwen2", "--inspector", "none", "--profile", "huge"], "Unknown profile")])
def test_weights_that_cannot_be_used_are_one_sentence(tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("The mill stands on the river. It was built in 1874 by Mr. Hale.")
    done = call("synthesize", "a.txt", "--task", "closed_book_qa", "--out", "out.jsonl", *flags)
    assert done.exit_code == 2 and said in done.stderr and not Path("out.jsonl").exists(), done.output


def test_a_dry_run_of_a_hub_model_needs_no_hub(tmp_path, monkeypatch):
    from aquilt.foundations.core import write_records
    monkeypatch.chdir(tmp_path)
    write_records("passages.jsonl", [Record(text="The mill stands on the river.", source="a", span=(0, 29))])
    done = call("synthesize", "passages.jsonl", "--task", "closed_book_qa", "--out", "out.jsonl", "--model", "Qwen/Qwen2.5-7B", "--inspector", "aquilt/inspector", "--prompts", "official", "--samples", 20000, "--dry-run")
    assert done.exit_code == 0 and "vllm, bfloat16, 8192" in done.stdout and "20000 of the form official" in done.stdout and "GiB" in done.stdout and not Path("out.jsonl").exists(), done.output


def test_released_weights_refuse_a_task_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "tasks.toml").write_text("[haiku]\nname = 'haiku'\nneeds_passage = false\nquestion = 'q'\nthought = 't'\nanswer = 'a'\ninstruction = {en = 'Write a haiku.'}\n")
    monkeypatch.setenv("AQUILT_TASKS", str(tmp_path / "tasks.toml"))
    (tmp_path / "a.txt").write_text("The mill stands on the river. It was built in 1874 by Mr. Hale.")
    with pytest.raises(UserError, match="name closed_book_qa instead"):
        released.dry_run(tmp_path / "a.txt", Order(("haiku",)), Writers("m", "i", "official"), SMOKE, None)
