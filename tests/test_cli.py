"""The command line: what it hands on, its exit codes, and one line for what the user can put right."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import aquilt
from aquilt.__main__ import app
from aquilt.foundations.core import UserError, write_json
from aquilt.foundations.profiles import MINI

ROOT = Path(aquilt.__file__).parents[1]


@pytest.fixture
def call(monkeypatch):
    "A call in this process; variables that a command sets are taken back."
    monkeypatch.setenv("AQUILT_RUN_DIR", "")
    monkeypatch.delenv("AQUILT_RUN_DIR")
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def replaced(monkeypatch, module, name, value=None):
    "Put a recorder in place of a function that a command calls; returns the list of its calls."
    calls = []

    def recorder(*positional, **named):
        calls.append((positional, named))
        if isinstance(value, BaseException):
            raise value
        return value

    monkeypatch.setattr(f"aquilt.{module}.{name}", recorder)
    return calls


def command(*arguments, **environment):
    "A call as a process of its own."
    return subprocess.run([sys.executable, "-m", "aquilt", *map(str, arguments)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


def test_version_and_help(call):
    assert call("--version").stdout.strip() == aquilt.__version__
    text = call("--help").stdout
    assert all(name in text for name in ("reproduce", "status", "estimate", "report", "doctor", "pretrain", "corpus", "synthesize"))
    assert call("no-such-command").exit_code == 2


def test_reproduce_hands_on(call, monkeypatch, tmp_path):
    calls = replaced(monkeypatch, "runner.reproduce", "reproduce", value=tmp_path)
    done = call("reproduce")
    assert done.exit_code == 0 and str(tmp_path) in done.stdout and calls == [(("mini", (), None, ()), {})]
    call("reproduce", "--profile", "smoke", "--only", "32", "--only", "33", "--run-dir", "there")
    assert calls[1] == (("smoke", ["32", "33"], Path("there"), ()), {})
    monkeypatch.setenv("AQUILT_JOBS", "")
    call("reproduce", "--jobs", "3", "--refresh", "synthesis/*", "--refresh", "relevance")
    assert calls[2] == (("mini", (), None, ["synthesis/*", "relevance"]), {}) and os.environ["AQUILT_JOBS"] == "3"


def test_commands_on_finished_records(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.json").write_text('[{"instruction": "Which river?", "output": "The Veth."}, {"page": 1}]')
    assert "1 records, 1 dropped" in call("show", "mine.json").stdout and "m.html: open it" in call("show", "mine.json", "--html", "m.html").stdout
    assert "1 of 2 rows written as alpaca" in call("export", "mine.json", "--to", "alpaca", "--out", "a.json").stdout
    assert "1 of 2 records kept" in call("filter", "mine.json", "kept.jsonl").stdout and Path("kept.jsonl").read_text() == '{"instruction": "Which river?", "output": "The Veth."}\n'
    assert "Nothing was pushed" in call("push", "mine.json", "--to", "me/data").stdout
    calls = replaced(monkeypatch, "own.inspecting", "inspect_file", {"entered": 2, "kept": 1, "dropped": 1, "reasons": {"no text": 1}, "scores": {4: 1}})
    assert "1 of 2 records kept (scores: 4: 1)" in call("inspect", "mine.json", "s.jsonl", "--least", "3", "--field", "text=t").stdout
    assert calls == [((Path("mine.json"), Path("s.jsonl"), "mini", ["text=t"], 3, "", ""), {})]
    calls = replaced(monkeypatch, "own.specialist", "train_file", {"counts": {"entered": 2, "kept": 1, "dropped": 1}, "loss": [{"loss": 3.0}, {"loss": 1.0}], "updates": 7})
    done = call("train", "mine.json", "--base", "m", "--out", "o", "--rank", "8", "--no-logic", "--passage")
    assert "trained on 1 of 2 examples in 7 updates, loss 3.0 to 1.0" in done.stdout and "7 updates teach little" in done.stderr
    assert calls == [((Path("mine.json"), "m", Path("o"), (), False, True, False, ""), {"epochs": 3, "learning_rate": 1e-4, "batch_size": 32, "rank": 8, "max_length": 2048, "seed": 0})]
    told = {"scores": {"exact": {"mean": 50.0, "interval": [9.5, 90.5], "n": 2}}, "n": 2, "dropped": 1, "errors": 0, "cut off": 1, "unjudged": 2, "harness": "lm_eval"}
    calls = replaced(monkeypatch, "own.evaluating", "evaluate_file", told)
    said = call("evaluate", "m", "t.jsonl", "--out", "a.jsonl", "--adapter", "o", "--harness", "h", "--judge", "j@u").stdout
    assert "2 answers have no judgement" in said and "exact     50.00  (95 %: 9.5 to 90.5; 2 questions)" in said and "1 answers were cut off" in said and "1 rows are no questions" in said and "lm_eval" in said
    assert calls == [(("m", Path("t.jsonl"), Path("a.jsonl"), "o", (), None, 1024, "", Path("h"), "j@u"), {})]


def test_chat_reads_lines_until_an_empty_one(monkeypatch):
    from aquilt.models.engines import Completion
    class Echo:
        def generate(self, prompts, sampling, adapter): return [Completion(f"{len(prompts[0].content)} {prompts[0].content[-1]['content']}", "stop")]
    replaced(monkeypatch, "own.specialist", "open_model", Echo())
    for typed in ("a\nb\n\nc\n", "a\nb\n", "a\nb"):
        done = CliRunner().invoke(app, ["chat", "m"], input=typed)
        assert (done.exit_code, done.stdout) == (0, "1 a\n3 b\n")


def test_each_command_on_records_has_an_example(call):
    for name in ("show", "export", "inspect", "train", "evaluate", "chat", "push"): assert f"  aquilt {name} " in call(name, "--help").stdout, name


def test_user_error_is_one_line(call, monkeypatch):
    replaced(monkeypatch, "runner.reproduce", "reproduce", value=UserError("The file is\nwrong: put it right."))
    done = call("reproduce")
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "aquilt: The file is wrong: put it right.\n")


def test_ctrl_c(call, monkeypatch):
    replaced(monkeypatch, "runner.reproduce", "reproduce", value=KeyboardInterrupt())
    done = call("reproduce")
    assert done.exit_code == 130 and done.stderr == "aquilt: stopped; the same command goes on from here.\n"


def test_a_fault_of_the_program_keeps_its_trace(call, monkeypatch):
    replaced(monkeypatch, "runner.reproduce", "reproduce", value=RuntimeError("a bug"))
    assert isinstance(call("reproduce").exception, RuntimeError)


def test_pretrain_hands_on(call, monkeypatch, tmp_path):
    calls = replaced(monkeypatch, "miniature.pretraining", "pretrain", value=tmp_path)
    assert call("pretrain", "qwen2", tmp_path).exit_code == 0
    call("pretrain", "llama", tmp_path, "--steps", 5, "--seed", 3, "--start", "base", "--peak", 1e-3)
    call("pretrain", "llama", tmp_path, "--tokenizer", "base", "--exercise")
    none = {"peak": 4e-3, "seed": 0, "start": None, "tokenizer": None, "exercise": False}
    assert calls == [(("qwen2", tmp_path), none), (("llama", tmp_path), none | {"peak": 1e-3, "seed": 3, "start": Path("base"), "steps": 5}),
                     (("llama", tmp_path), none | {"tokenizer": Path("base"), "exercise": True})]
    assert call("pretrain", "llama", tmp_path, "--steps", 0).exit_code == 2


def test_where_real_sources_are_is_told_by_the_environment(call, monkeypatch, tmp_path):
    for name in ("AQUILT_SOURCES", "AQUILT_PARTIAL"): monkeypatch.setenv(name, "")
    calls = replaced(monkeypatch, "runner.reproduce", "reproduce", value=tmp_path)
    assert call("reproduce", "--profile", "single_gpu", "--sources", tmp_path, "--partial").exit_code == 0
    assert calls == [(("single_gpu", (), None, ()), {})] and (os.environ["AQUILT_SOURCES"], os.environ["AQUILT_PARTIAL"]) == (str(tmp_path), "1")


def test_how_teachers_are_asked_is_told_by_the_environment(call, monkeypatch, tmp_path):
    limits = {"CONCURRENCY": "256", "REQUESTS_PER_MINUTE": "500.0", "TOKENS_PER_MINUTE": "200000.0", "TIMEOUT": "90.0"}
    for name in limits: monkeypatch.setenv(f"AQUILT_{name}", "")
    replaced(monkeypatch, "runner.reproduce", "reproduce", value=tmp_path)
    options = [part for name, value in limits.items() for part in (f"--{name.lower().replace('_', '-')}", value.removesuffix(".0"))]
    assert call("reproduce", *options).exit_code == 0 and {name: os.environ[f"AQUILT_{name}"] for name in limits} == limits
    assert call("reproduce", "--concurrency", "0").exit_code == 2
    refused = call("reproduce", "--timeout", "0")
    assert refused.exit_code == 2 and "--timeout" in refused.output and "above 0" in refused.output, "before anything runs"


def test_money_is_told_by_the_environment(call, monkeypatch, tmp_path):
    for name in ("AQUILT_BUDGET", "AQUILT_PRICES", "AQUILT_BATCH"): monkeypatch.setenv(name, "")
    replaced(monkeypatch, "runner.reproduce", "reproduce", value=tmp_path)
    (tmp_path / "mine.toml").write_text("")
    assert call("reproduce").exit_code == 0 and not os.environ["AQUILT_BATCH"]
    assert call("reproduce", "--budget", "12.50", "--prices", tmp_path / "mine.toml", "--batch").exit_code == 0
    assert (os.environ["AQUILT_BUDGET"], os.environ["AQUILT_PRICES"], os.environ["AQUILT_BATCH"]) == ("12.50", str(tmp_path / "mine.toml"), "1")


def test_filter_prints_its_report(call, monkeypatch, tmp_path):
    monkeypatch.setenv("AQUILT_SET", "")
    (tmp_path / "in.jsonl").write_text("".join(f'{{"question": "{"Crucially, who" if i % 3 else "Who"} is {chr(97 + i)}{chr(97 + i)}?", "id": {i}}}\n' for i in range(26)) + '{"question": "According to the text, who?"}\n')
    reported = call("filter", tmp_path / "in.jsonl", tmp_path / "all.jsonl", "--task", "closed_book_qa")
    assert "26 of 27 records kept" in reported.stdout and "only reported" in reported.stdout and "crucially (closed_book_qa, en): 16" in reported.stdout and "a fifth" not in reported.stderr
    done = call("filter", tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--task", "closed_book_qa", "--remove-overused")
    assert done.exit_code == 0 and "crucially" in done.stdout and "leans on the passage" in done.stdout and "only reported" not in done.stdout
    assert "over-used word: this filter takes 16 of 27 records, more than a fifth (crucially)" in done.stderr
    assert f"{tmp_path / 'out.jsonl'}: 10 of 27 records kept; the 17 others" in done.stdout
    assert "27 records name none of the task types" in call("filter", tmp_path / "in.jsonl", tmp_path / "any.jsonl").stderr and "name none" not in done.stderr
    harsh = call("filter", tmp_path / "in.jsonl", tmp_path / "harsh.jsonl", "--task", "closed_book_qa", "--remove-overused", "--set", "over_used=remove")
    assert "9 of 27 records kept" in harsh.stdout
    assert call("filter", tmp_path / "none.jsonl", tmp_path / "out2.jsonl").exit_code == 2 and not (tmp_path / "out2.jsonl").exists()


def test_settings_are_told_by_the_environment(call, monkeypatch, tmp_path):
    from aquilt.foundations.profiles import get_profile
    monkeypatch.setenv("AQUILT_SET", "")
    replaced(monkeypatch, "runner.reproduce", "reproduce", value=tmp_path)
    assert call("reproduce", "--profile", "single_gpu", "--set", "teacher=mine", "--set", "teacher_url=http://localhost:8000/v1").exit_code == 0
    own = get_profile("single_gpu")
    assert (own.name, own.teacher, own.teacher_url) == ("single_gpu-own", "mine", "http://localhost:8000/v1") == (get_profile("single_gpu-own").name, *("mine", "http://localhost:8000/v1"))


def test_estimate_prints_a_table(call, monkeypatch, tmp_path):
    import pandas
    calls = replaced(monkeypatch, "distillation", "estimate", value=pandas.DataFrame([{"equation": "Eq. 1", "estimate": 12.5}]))
    done = call("estimate", "--profile", "smoke", "--requests", 7, "--run-dir", tmp_path)
    assert done.exit_code == 0 and "Eq. 1" in done.stdout and "12.5" in done.stdout and calls[0][0][1] == 7


def test_instruct_hands_on(call, monkeypatch, tmp_path):
    calls = replaced(monkeypatch, "miniature.pretraining", "instruct", value=tmp_path)
    assert call("instruct", "base", tmp_path, "--steps", 5).exit_code == 0
    assert calls == [((Path("base"), tmp_path), {"seed": 0, "steps": 5})]


def test_synthesize_hands_on(call, monkeypatch, tmp_path):
    from aquilt.synthesis import Order
    calls = replaced(monkeypatch, "synthesis", "synthesize_file", value={"entered": 5, "kept": 3, "reasons": {"empty": 2}})
    for stage in ("synthesiser", "inspector"): write_json(tmp_path / stage / "result.json", {"stage": stage, "profile": "smoke", "hash": "0", "settings": {}, "inputs": {}, "models": {}, "files": {}, "code": {}})
    done = call("synthesize", "my.txt", "--task", "single_choice", "--out", "out.jsonl", "--lang", "zh", "--profile", "smoke", "--run-dir", tmp_path)
    assert done.exit_code == 0 and done.stdout == "out.jsonl: 3 of 5 passages became records that passed inspection\n"
    (text, out, order, writers, p), _ = calls[0]
    assert (text, out, order) == (Path("my.txt"), Path("out.jsonl"), Order(("single_choice",), "zh")) and os.environ["AQUILT_RUN_DIR"] == str(tmp_path)
    assert (writers.model, writers.inspector, p.name) == (str(tmp_path / "synthesiser/merged"), str(tmp_path / "inspector/adapter"), "smoke")
    assert call("synthesize", "my.txt", "--out", "out.jsonl").exit_code == 2, "the task is not guessed"
    replaced(monkeypatch, "synthesis", "synthesize_file", value={"entered": 5, "kept": 0, "reasons": {"score 1": 3, "empty": 2}})
    done = call("synthesize", "my.txt", "--task", "single_choice", "--out", "out.jsonl")
    assert done.exit_code == 2 and not done.stdout and "nothing is left of 5 (score 1: 3, empty: 2); each with its reason is in out.jsonl.dropped.jsonl" in done.stderr


def test_what_the_system_refuses_is_one_line(call, monkeypatch):
    replaced(monkeypatch, "runner.reproduce", "reproduce", value=PermissionError(13, "Permission denied", "/closed"))
    done = call("reproduce")
    assert (done.exit_code, done.stdout) == (2, "") and done.stderr == "aquilt: /closed: Permission denied. Correct the name, the permission or the disk, and repeat the command.\n"


ENGLISH = "The city lies on a wide river and has an old bridge. Its people work in the mills and on the ships that go down to the sea."
CHINESE = "这座城市位于一条大河边，有一座古老的桥。城里的人在工厂和船上工作，船沿河驶向大海。"


def test_corpus_makes_passages_of_a_folder_and_says_which_file_it_could_not_read(call, tmp_path):
    from aquilt.foundations.core import read_drops, read_records
    folder, out = tmp_path / "texts", tmp_path / "passages.jsonl"
    folder.mkdir()
    (folder / "a.txt").write_text(ENGLISH, encoding="utf-8")
    (folder / "b.md").write_text(CHINESE, encoding="utf-8")
    (folder / "c.txt").write_bytes(b"\x00\x01\x02\xff" * 100)
    done = call("corpus", folder, "--out", out)
    assert done.exit_code == 0 and "c.txt" in done.stderr and f"{out}: 2 of 3 passages kept" in done.stdout
    assert "at most 256 tokens, as qwen2 counts them, the miniature's" in done.stdout and "1  " in done.stdout
    named = call("corpus", folder, "--out", out, "--model", Path(__file__).resolve().parent.parent / "aquilt" / "data" / "models" / "llama")
    assert "miniature's" not in named.stdout and "llama counts them." in named.stdout
    assert [(r.lang, r.text) for r in read_records(out)] == [("en", ENGLISH), ("zh", CHINESE)]
    assert len(read_drops(Path(f"{out}.dropped.jsonl"))) == 1


def test_corpus_of_one_bad_file_is_one_line_and_writes_nothing(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\x00\x01\x02\xff" * 100)
    done = command("corpus", tmp_path / "a.txt", "--out", tmp_path / "out.jsonl")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "a.txt" in done.stderr and not (tmp_path / "out.jsonl").exists()


def test_report(call, monkeypatch, tmp_path):
    monkeypatch.setenv("AQUILT_FIGURES_DIR", str(tmp_path / "figures"))
    write_json(tmp_path / "run" / "corpus" / "result.json", {"stage": "corpus", "profile": MINI.name, "hash": "0123"})
    done = call("report", "--run-dir", tmp_path / "run")
    assert done.exit_code == 0 and done.stdout.strip() == str(tmp_path / "figures" / "report.html")
    assert call("report", "--run-dir", tmp_path / "empty").exit_code == 2


def test_status_of_a_run_that_has_not_begun(call, tmp_path):
    done = call("status", "--profile", "smoke", "--run-dir", tmp_path / "run")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0 and lines[0].split() == ["corpus", "missing", "does", "it"] and lines[-1] == f"0 done, 0 stale, {len(lines) - 1} missing" and len(lines) > 40


def test_status_lists_what_is_done_only_where_it_is_asked_to(call, monkeypatch, tmp_path):
    rows = [{"stage": "corpus", "state": "done", "why": "", "next run": ""}, {"stage": "labeled", "state": "stale", "why": "seed was 0, is 1", "next run": "does it again"}]
    replaced(monkeypatch, "runner.status", "status", value=rows)
    short, whole = (call("status", "--run-dir", tmp_path, *more).stdout for more in ((), ("--all",)))
    assert "labeled  stale   does it again: seed was 0, is 1" in short and "1 done, 1 stale, 0 missing" in short and "corpus" not in short and "corpus   done" in whole


def test_doctor_shows_no_key():
    done = command("doctor", OPENAI_API_KEY="sk-secret")
    assert done.returncode == 0 and "profile mini" in done.stdout and "sk-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments, says", [
    (["reproduce", "--profile", "large"], "Unknown profile 'large'"),
    (["reproduce", "--profile", "smoke", "--only", "77"], "No notebook is called '77'"),
    (["reproduce", "--profile", "smoke", "--run-dir", "FILE/run"], "Cannot write the run directory"),
    (["report", "--run-dir", "FILE/run"], "Cannot write the run directory"),
    (["reproduce", "--profile", "smoke", "--run-dir", "RUN", "--refresh", "nothing"], "No finished stage of"),
    (["status", "--profile", "large"], "Unknown profile 'large'"),
    (["status", "--run-dir", "FILE/run"], "Cannot write the run directory"),
    (["status", "--profile", "smoke", "--run-dir", "RUN", "--set", "scene=moon"], "Unknown scene 'moon'"),
    (["status", "--profile", "smoke", "--run-dir", "RUN", "--set", "threads=many"], "The setting threads is int"),
], ids=["profile", "notebook", "run directory", "report", "refresh", "status", "status directory", "scene", "threads"])
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, says):
    (tmp_path / "FILE").touch()
    done = command(*[a.replace("FILE", str(tmp_path / "FILE")).replace("RUN", str(tmp_path / "run")) for a in arguments], AQUILT_FIGURES_DIR=str(tmp_path))
    assert done.returncode == 2 and done.stderr.startswith(f"aquilt: {says}") and done.stderr.count("\n") == 1 and not done.stdout


def test_start_is_quick_work():
    "No subcommand pays for another's imports."
    done = subprocess.run([sys.executable, "-c", "import sys, aquilt.__main__; print(*{'torch', 'papermill', 'aquilt.runner.reproduce', 'aquilt.miniature.pretraining'} & set(sys.modules))"],
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0 and not done.stdout.split()


def test_help_fits_a_screen_and_each_command_has_an_example(call):
    shown = call("--help").stdout
    assert len(shown.splitlines()) <= 40 and all(title in shown for title in ("Records of your own text:", "Looking at records, and using them:", "The paper's experiments:", "Machine and models:")) and "Others:" not in shown
    group = typer.main.get_command(app)
    commands = {name: command for name, command in group.commands.items() if not command.hidden}
    commands |= {f"replies {name}": command for name, command in commands.pop("replies").commands.items()}
    assert [name for name, command in commands.items() if f"aquilt {name}" not in command.help] == []
