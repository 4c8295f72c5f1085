"""Bad command lines and files, by group: each ends in one sentence and exit code 2 or 1, without a stack trace, and before any work. What is right to accept is accepted."""
import gzip
import json
import os
import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

import aquilt
from aquilt.__main__ import app
from aquilt.foundations.core import write_records

ROOT = Path(aquilt.__file__).parents[1]
WORDS = "The city lies on a wide river and has an old bridge. Its people work in the mills and on the ships that go down to the sea."
LONG = "n" * 300
RESULT = {"stage": "corpus", "profile": "mini", "hash": "0", "settings": {}, "inputs": {}, "models": {}, "files": {}, "code": {}}
DAMAGED = {"empty": "", "cut": '{"stage": "corp', "a list": "[]", "null": "null", "deep": "[" * 100_000, "no stage": '{"hash": "0"}', "text": '"x"',
           **{f"wrong {name}": json.dumps(RESULT | {name: 5}) for name in ("stage", "hash", "settings", "inputs", "models", "files", "code", "counts", "environment")},
           "counts without numbers": json.dumps(RESULT | {"counts": {"kept": "many"}}), "seconds in words": json.dumps(RESULT | {"seconds": "two"})}
SHEETS = {"cut": "[[price]", "text": "price = 5\n", "another name": '[[prices]]\nmodel = "m"\n', "deep": "a = " + "[" * 100_000, "no model": "[[price]]\ninput = 1\n",
          **{f"{name} {value}": "[[price]]\n" + "".join(f"{k} = {v}\n" for k, v in ({"model": '"m"', "since": "2025-01-01T00:00:00Z", "input": 1, "cached": 1, "output": 1, "source": '"x"'} | {name: value}).items())
             for name, value in (("input", "-1"), ("output", "nan"), ("cached", "inf"), ("since", "2025-01-01"), ("since", '"soon"'), ("batch", "2"), ("model", '""'), ("more", "1"),
                                 ("off_peak", '{from = "16:30+08:00", to = "00:30", input = 1, cached = 1, output = 1}'), ("off_peak", '{from = "25:00", to = "00:30", input = 1, cached = 1, output = 1}'))}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with one of each bad file."
    from transformers.utils import logging
    logging.get_logger()  # its stream is that of the first import, and a command's is closed afterwards
    folder = tmp_path_factory.mktemp("bad")
    (folder / "good.jsonl").write_text(json.dumps({"text": WORDS, "question": "Who is there?", "answer": "a man"}) + "\n")
    contents = {"empty.jsonl": b"", "binary.jsonl": b"\x00\x01\x02\xff" * 100, "wide.jsonl": WORDS.encode("utf-16"), "deep.jsonl": b"[" * 100_000, "list.jsonl": b"[1]\n[2]\n", "cut.jsonl": b'{"text": "a',
                "numbers.jsonl": b'{"text": 5}\n', "cut.jsonl.gz": gzip.compress(WORDS.encode() * 99)[:-9], "no.jsonl.gz": b"no gzip", "cut.parquet": b"PAR1....PAR", "cut.pdf": b"%PDF-1.7 ....",
                "cut.docx": b"PK\x03\x04....", "other.xyz": WORDS.encode(), "empty.txt": b"", "binary.txt": b"\x00\x01\x02\xff" * 100, "latin.txt": "naïve café ".encode("latin-1") * 40, "quote.csv": b'text\n"open\n',
                "columns.csv": b"a,b\n1,2\n", "file": b""}
    for name, content in contents.items(): (folder / name).write_bytes(content)
    for name in ("loop.jsonl", "loop"): (folder / name).symlink_to(name)
    (folder / "dangling.jsonl").symlink_to("nowhere/at/all.jsonl")
    for name in ("folder.jsonl", "nothing", "model", "lora"): (folder / name).mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"): (folder / "lora" / name).write_text("{}")
    os.mkfifo(folder / "pipe.jsonl")
    write_records(folder / "nothing" / "only.jsonl", [])
    (folder / "model" / "config.json").write_text('{"model_type": "nothing"}')
    for name, text in SHEETS.items(): (folder / f"{name}.toml").write_text(text)
    for i, (name, text) in enumerate(DAMAGED.items()):
        for run in ("corpus", "synthesiser"):
            path = folder / f"run {name}" / run / "result.json"
            path.parent.mkdir(parents=True)
            path.write_text(text)
    for name, content in {"text": "no store\n", "list": "[]\n", "keys": '{"key": 5}\n', "request": '{"key": "a", "request": 5, "reply": {}}\n', "bytes": "\x00\xff\n"}.items():
        (folder / f"store {name}").mkdir()
        (folder / f"store {name}" / "replies.jsonl").write_text(content, encoding="latin-1")
    return folder


@pytest.fixture
def call(monkeypatch, tmp_path):
    "A call in this process, in a folder of its own, whose work would be an error of the test; variables that it sets are taken back."
    for name in ("AQUILT_RUN_DIR", "AQUILT_TASKS", "AQUILT_SET", "AQUILT_PRICES", "AQUILT_BUDGET", "AQUILT_BATCH", "AQUILT_SOURCES", "AQUILT_PARTIAL", "AQUILT_ENGINE_ARGS", "AQUILT_JOBS",
                 "AQUILT_CONCURRENCY", "AQUILT_TIMEOUT", "AQUILT_REQUESTS_PER_MINUTE", "AQUILT_TOKENS_PER_MINUTE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("AQUILT_FIGURES_DIR", str(tmp_path / "figures"))
    monkeypatch.chdir(tmp_path)
    def work(*_, **__): raise AssertionError("work was begun")
    for name in ("aquilt.runner.reproduce.run_notebooks", "aquilt.miniature.pretraining.train_on", "aquilt.miniature.pretraining.train_tokenizer", "aquilt.distillation.ask_teacher",
                 "aquilt.own.specialist.train_lora", "aquilt.own.specialist.converse", "aquilt.own.evaluating.generate_resumable", "aquilt.own.inspecting.inspect", "huggingface_hub.HfApi"): monkeypatch.setattr(name, work)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def refused(done, *said):
    "One sentence, a code that is not zero, and no other exception than the exit."
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == 2 and not done.stdout.strip(), done.output
    lines = done.stderr.strip().splitlines()
    assert lines and (lines[-1].startswith("aquilt: ") or lines[-1].startswith("Error: ")) and "Traceback" not in done.stderr, done.stderr
    if lines[-1].startswith("aquilt: "): assert len(lines) == 1 or all(line.startswith("aquilt: ") for line in lines), done.stderr
    for words in said: assert words in done.stderr
    return lines[-1]


def at(place, arguments): return [place / a[1:] if a.startswith("@") else a for a in arguments]


# ---- what is read

READ = ["missing.jsonl", "empty.jsonl", "binary.jsonl", "wide.jsonl", "deep.jsonl", "list.jsonl", "cut.jsonl", "cut.jsonl.gz", "no.jsonl.gz", "loop.jsonl", "dangling.jsonl", "folder.jsonl", "pipe.jsonl", "file", f"{LONG}.jsonl", "nul\0.jsonl", "half\udcff.jsonl"]
DOCUMENTS = ["numbers.jsonl", "cut.parquet", "cut.pdf", "cut.docx", "other.xyz", "empty.txt", "binary.txt", "latin.txt", "quote.csv", "columns.csv", "nothing", "loop"]
READERS = {"corpus": ["corpus", "FILE", "--out", "out.jsonl"], "corpus parquet": ["corpus", "FILE", "--out", "out.parquet"], "filter": ["filter", "FILE", "out.jsonl"],
           "tests": ["corpus", "@good.jsonl", "--out", "out.jsonl", "--tests", "FILE"], "show": ["show", "FILE"], "show page": ["show", "FILE", "--html", "out.html"], "export": ["export", "FILE", "--to", "messages", "--out", "out.jsonl"],
           "inspect": ["inspect", "FILE", "out.jsonl", "--run-dir", "run", "--model", "qwen2-instruct", "--inspector", "@lora"], "train": ["train", "FILE", "--base", "qwen2-instruct", "--out", "trained"],
           "evaluate": ["evaluate", "qwen2-instruct", "FILE", "--out", "out.jsonl", "--harness", "harness"], "push": ["push", "FILE", "--to", "me/data"]}


@pytest.mark.parametrize("file", READ + DOCUMENTS)
@pytest.mark.parametrize("command", READERS)
def test_a_file_that_cannot_be_read(call, place, command, file):
    if command == "tests" and file in ("empty.jsonl", "file", "empty.txt"): pytest.skip("no test items are a list of none")
    refused(call(*at(place, [f"@{file}" if a == "FILE" else a for a in READERS[command]])))
    assert command == "filter" or not any(Path(name).exists() for name in ("out.jsonl", "out.html", "trained", "harness"))


# those that import transformers are few
TAKEN = ["missing.jsonl", "empty.jsonl", "binary.jsonl", "list.jsonl", "cut.jsonl", "loop.jsonl", "pipe.jsonl", "nothing", "numbers.jsonl", "cut.parquet", "cut.pdf", "other.xyz", "run deep", f"{LONG}.jsonl"]
FOLDERS = {"replies list": ["replies", "list", "FILE"], "replies export": ["replies", "export", "FILE", "--out", "out.jsonl"], "replies prune": ["replies", "prune", "FILE", "--cut-off"],
           "instruct": ["instruct", "FILE", "new"], "start": ["pretrain", "qwen2", "new", "--start", "FILE"], "tokenizer": ["pretrain", "qwen2", "new", "--tokenizer", "FILE"],
           "model": ["corpus", "@good.jsonl", "--out", "out.jsonl", "--model", "FILE"], "train-job": ["train-job", "FILE"]}
EMPTY_IS_NONE = {("replies prune", "empty.jsonl"), ("replies prune", "cut.jsonl"), ("start", "model"), ("tokenizer", "model")}  # a torn last line is cut off


@pytest.mark.parametrize("command, file", [(command, file) for command in FOLDERS for file in [*TAKEN, "model"] if (command, file) not in EMPTY_IS_NONE and (command != "model" or file in ("cut.jsonl", "model"))])
def test_a_folder_or_file_of_another_kind(call, place, command, file):
    refused(call(*at(place, [f"@{file}" if a == "FILE" else a for a in FOLDERS[command]])))
    assert not Path("out.jsonl").exists()


@pytest.mark.parametrize("store", ["text", "list", "keys", "request", "bytes"])
@pytest.mark.parametrize("command", ["replies list", "replies export", "replies prune"])
def test_a_damaged_store_of_replies(call, place, command, store):
    refused(call(*at(place, [f"@store {store}" if a == "FILE" else a for a in FOLDERS[command]])), "replies.jsonl, line 1")


@pytest.mark.parametrize("sheet", [f"{name}.toml" for name in SHEETS] + ["missing.toml", "folder.jsonl", "binary.jsonl", "loop.jsonl"])
@pytest.mark.parametrize("command", [["reproduce"], ["estimate"], ["replies", "list", "@good.jsonl"], ["distill", "--text", "@good.jsonl"]], ids=lambda c: c[0])
def test_a_damaged_price_sheet(call, place, command, sheet):
    assert sheet.split(".")[0] in refused(call(*at(place, command), "--prices", place / sheet))


# ---- what is written

OUT = {"csv": "out.csv", "no ending": "out", "json": "out.json", "packed": "out.jsonl.gz", "capitals": "OUT.JSONL", "empty": "", "here": ".", "root": "/", "folder": "@folder.jsonl", "in a file": "@file/out.jsonl", "loop": "@loop.jsonl",
       "in a loop": "@loop/out.jsonl", "nobody reads": "@pipe.jsonl", "too long": f"{LONG}.jsonl", "NUL": "nul\0.jsonl", "itself": "@good.jsonl", "in /proc": "/proc/none/out.jsonl"}
WRITERS = {"corpus": ["corpus", "@good.jsonl", "--out", "OUT"], "filter": ["filter", "@good.jsonl", "OUT"], "synthesize": ["synthesize", "@good.jsonl", "--task", "single_choice", "--out", "OUT", "--run-dir", "run"],
           "replies export": ["replies", "export", "@good.jsonl", "--out", "OUT"], "export": ["export", "@good.jsonl", "--to", "messages", "--out", "OUT"],
           "inspect": ["inspect", "@good.jsonl", "OUT", "--run-dir", "run"], "evaluate": ["evaluate", "qwen2-instruct", "@good.jsonl", "--out", "OUT"]}


@pytest.mark.parametrize("out", OUT)
@pytest.mark.parametrize("command", WRITERS)
def test_an_output_that_cannot_be_written(call, place, command, out):
    before = (place / "good.jsonl").read_bytes()
    refused(call(*at(place, [OUT[out] if a == "OUT" else a for a in WRITERS[command]])))
    assert (place / "good.jsonl").read_bytes() == before and (place / "loop.jsonl").is_symlink() and not list(Path().rglob("*.tmp"))


@pytest.mark.parametrize("command", WRITERS)
def test_a_socket_and_a_read_only_folder_are_no_output(call, place, command, monkeypatch, tmp_path):
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug.jsonl")
        refused(call(*at(place, ["plug.jsonl" if a == "OUT" else a for a in WRITERS[command]])), "neither a file nor a pipe")
    real = os.open
    def closed(path, flags, *more, **named):
        if flags & os.O_CREAT and str(path).startswith(str(tmp_path / "closed")): raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *more, **named)
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "open", closed)
    refused(call(*at(place, ["closed/out.jsonl" if a == "OUT" else a for a in WRITERS[command]])), "Permission denied")


@pytest.mark.parametrize("command", [["status"], ["report"], ["reproduce", "--only", "31"], ["estimate"], WRITERS["synthesize"][:-2]], ids=lambda c: c[0])
@pytest.mark.parametrize("folder", ["file", "file/run", "loop", "loop/run", "pipe.jsonl", LONG, "nul\0", "/proc/none"])
def test_a_run_directory_that_cannot_be(call, place, command, folder):
    refused(call(*at(place, ["out.jsonl" if a == "OUT" else a for a in command]), "--run-dir", folder if folder[0] == "/" else place / folder))


# ---- what a run has written

@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("command", [["status"], ["report"], WRITERS["synthesize"][:-2]], ids=lambda c: c[0])
def test_a_damaged_result(call, place, command, damage):
    assert "result.json" in refused(call(*at(place, ["out.jsonl" if a == "OUT" else a for a in command]), "--run-dir", place / f"run {damage}"), "delete it" )


@pytest.mark.parametrize("content", ["", "[]", "null", "[" * 100_000, '{"31_corpus": 5}', '{"31_corpus": {}}', '{"31_corpus": {"inputs": "a", "files": [5]}}', '{"31_corpus": {"inputs": 1, "files": []}}'])
def test_a_damaged_record_of_finished_pages(content, tmp_path):
    from aquilt.foundations.core import UserError
    from aquilt.runner.reproduce import read_done
    (tmp_path / "done.json").write_text(content)
    with pytest.raises(UserError, match="done.json is damaged .*delete it"): read_done(tmp_path / "done.json")
    assert read_done(tmp_path / "none.json") == {}


# ---- settings

SETTINGS = ["teachr=x", "teacher", "=", "", "name=mini", "cap=-1", "cap=0", "cap=ten", "cap=1.5", "cap=inf", "frequent_word=nan", "frequent_word=-0.1", "frequent_word=2", "frequent_word=inf", "top_p=0", "top_p=1.5", "temperature=-1",
            "temperature=nan", "temperature=inf", "learning_rate=0", "learning_rate=-1", "learning_rate=nan", "epochs=0", "batch_size=0", "lora_rank=-4", "max_length=0", "samples=-1", "simple_share=nan", "low_score=6", "low_score=-1",
            "simple_scores=0", "simple_scores=2,9", "seeds=", "seeds=-1", "seeds=1,1", "seeds=a", "seeds=99999999999", "threads=-1", "ablation_base=7", "ablation_base=-1", "specialist_bases=", "student=", "teacher=", "engine=", "scene=",
            "over_used=less", "unsure=perhaps", "guided=xml", "essay_reading=shut", "dtype=int3", "context=0", "test_items=-1", "teacher_faults=2", "passage_tokens=0"]
SETTERS = {"reproduce": ["reproduce", "--only", "31"], "estimate": ["estimate"], "status": ["status"], "doctor": ["doctor"], "filter": ["filter", "@good.jsonl", "out.jsonl"],
           "synthesize": ["synthesize", "@good.jsonl", "--task", "single_choice", "--out", "out.jsonl", "--profile", "smoke"],
           "distill": ["distill", "--text", "@good.jsonl", "--task", "single_choice"], "fit": ["fit", "--text", "@good.jsonl"], "inspect": ["inspect", "@good.jsonl", "out.jsonl", "--profile", "smoke"]}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("command", ["reproduce", "status", "filter", "synthesize", "distill"])
def test_a_setting_that_is_wrong(call, place, command, setting):
    assert setting.partition("=")[0] in refused(call(*at(place, SETTERS[command]), "--set", setting)) and not Path("out.jsonl").exists()


@pytest.mark.parametrize("given", ["{", "5", '"teacher=x"', "[5]", "{}x", "[[]]"])
@pytest.mark.parametrize("command", SETTERS)
def test_damaged_settings_in_the_environment(call, place, command, given, monkeypatch):
    monkeypatch.setenv("AQUILT_SET", given)
    if command == "doctor": pytest.skip("without --profile it looks at the profiles as they are")
    refused(call(*at(place, SETTERS[command])), "AQUILT_SET")


@pytest.mark.parametrize("profile", ["", "large", "Mini", "mini ", "mini-own-own", "../mini"])
@pytest.mark.parametrize("command", ["reproduce", "estimate", "status", "report", "doctor", "filter", "synthesize", "inspect"])
def test_an_unknown_profile(call, place, command, profile):
    if command == "doctor" and not profile: pytest.skip("all profiles")
    arguments = [a for a in SETTERS.get(command, [command]) if a not in ("--profile", "smoke")]
    refused(call(*at(place, arguments), "--profile", profile), "Unknown profile")


# ---- numbers and names

NUMBERS = [["corpus", "@good.jsonl", "--out", "out.jsonl", *more] for more in (["--tokens", "0"], ["--tokens", "x"], ["--tokens", "-5"], ["--overlap", "-1"], ["--overlap", "300"], ["--least", "-1"], ["--least", "x"], ["--near", "2"], ["--near", "-1"],
           ["--near", "nan"], ["--near", "x"], ["--workers", "-1"], ["--workers", "x"], ["--column", "none"], ["--encoding", "klingon"], ["--lang", "klingon"], ["--lang", "de"], ["--profile", "large"], ["--model", "none"], ["--unknown"])]
NUMBERS += [["filter", "@good.jsonl", "out.jsonl", *more] for more in (["--lang", "de"], ["--lang", "english"], ["--workers", "-1"], ["--seed", "x"], ["--unknown"], ["more"])]
NUMBERS += [["synthesize", "@good.jsonl", "--out", "out.jsonl", *more] for more in ([], ["--task", ""], ["--task", "closed_book"], ["--task", "single_choice", "--lang", "EN"], ["--task", "single_choice", "--lang", "de"], ["--task", "single_choice", "--engine-arg", "x", "--profile", "smoke"])]
NUMBERS += [["reproduce", *more] for more in (["--only", "77"], ["--only", ""], ["--jobs", "0"], ["--jobs", "x"], ["--concurrency", "0"], ["--concurrency", "-1"], ["--timeout", "0"], ["--timeout", "nan"], ["--timeout", "inf"], ["--timeout", "-1"], ["--requests-per-minute", "0"],
            ["--requests-per-minute", "nan"], ["--tokens-per-minute", "-1"], ["--tokens-per-minute", "inf"], ["--budget", ""], ["--budget", "x"], ["--budget", "-1"], ["--budget", "nan"], ["--budget", "inf"], ["--refresh", "nothing"], ["--set", "teachers=nobody"],
            ["--set", "teachers=a@nowhere"], ["--set", "teachers=a@http://x*0"], ["--set", "judge=nobody"], ["--set", "scene=moon"], ["--sources", "none", "--only", "31"])]
NUMBERS += [["synthesize", *more] for more in (["--out", "out.jsonl"], ["--out", "out.jsonl", "--task", "single_choice"], ["@good.jsonl", "--task", "single_choice"], *(["@good.jsonl", "--out", "out.jsonl", "--task", "single_choice", *given] for given in (
            ["--samples", "-1"], ["--samples", "x"], ["--keep", "-1"], ["--seed", "x"], ["--task-file", "none.toml"], ["--task-file", "@cut.toml"], ["--project", "none"], ["--project", "@file"], ["--prompts", "official"], ["--adapter", "x"],
            ["--model", "none"], ["--model", "qwen2", "--inspector", "@model"], ["--model", "qwen2", "--inspector", "x", "--profile", "large"])))]
NUMBERS += [[command, "--text", "@good.jsonl", *more] for command in ("distill", "fit") for more in (["--task", "poems"], ["--lang", "de"], ["--teacher", "nobody"], ["--teacher", "a@http://x*0"], ["--profile", "large"], ["--task-file", "none.toml"], ["--task-file", "@cut.toml"],
            ["--project", "@file"], ["--text", "none"], ["--text", "."], ["--budget", "x"], ["--budget", "1", "--teacher", "m@http://localhost:1/v1", "--profile", "smoke"], ["--student", "unknown", "--profile", "smoke"], ["--unknown"])]
NUMBERS += [["distill", "--text", "@good.jsonl", *more] for more in (["--preview", "-1"], ["--preview", "x"], ["--requests", "1"], ["--concurrency", "0"], ["--timeout", "nan"])] + [["distill"], ["fit"], ["fit", "--profile", "smoke", "--text", "@good.jsonl"], ["init", "@file"], ["init", "@loop"], ["init", "@good.jsonl"]]
NUMBERS += [["estimate", *more] for more in (["--requests", "0"], ["--requests", "1"], ["--requests", "-1"], ["--requests", "x"], ["--timeout", "nan"], ["--concurrency", "0"], [])]
NUMBERS += [["pretrain", *more] for more in (["gpt", "new"], ["", "new"], ["qwen2", "new", "--steps", "0"], ["qwen2", "new", "--peak", "-1"], ["qwen2", "new", "--peak", "nan"], ["qwen2", "new", "--peak", "inf"], ["qwen2", "@file"], ["qwen2", "@loop"], ["qwen2"], [])]
NUMBERS += [["filter", "@good.jsonl", "out.jsonl", "--field", "question"], ["show"], ["show", "@good.jsonl", "--rows", "-1"], ["show", "@good.jsonl", "--field", "x=y"], ["show", "@good.jsonl", "--field", "question=none"], ["show", "@good.jsonl", "--search", "no such words"], ["show", "@good.jsonl", "--reason", ""]]
NUMBERS += [["export", "@good.jsonl", "--to", to, "--out", out] for to, out in (("", "out.jsonl"), ("chatml", "out.jsonl"), ("parquet", "out.jsonl"), ("alpaca", "out.parquet"), ("llamafactory", "out.jsonl"), ("llamafactory", "@file"), ("llamafactory", "@loop"))]
NUMBERS += [["export", "@good.jsonl", *more] for more in ([], ["--to", "messages"], ["--out", "out.jsonl"], ["--to", "messages", "--out", "out.jsonl", "--field", "answer=question[0]"])]
NUMBERS += [["inspect", "@good.jsonl", "out.jsonl", *more] for more in ([], ["--least", "6"], ["--least", "-1"], ["--model", "qwen2-instruct"], ["--inspector", "@lora"], ["--model", "none", "--inspector", "@lora"], ["--model", "qwen2-instruct", "--inspector", "@folder.jsonl"], ["--field", "text="])]
NUMBERS += [["train", "@good.jsonl", *more] for more in ([], ["--base", "qwen2-instruct"], *(["--out", "trained", "--base", base] for base in ("", "none", "@folder.jsonl", "@lora", "@model")), *(["--base", "qwen2-instruct", "--out", out] for out in ("@file", "@loop", "@file/in", "nul\0", "/proc/none")),
            *(["--base", "qwen2-instruct", "--out", "trained", option, value] for option, value in (("--epochs", "0"), ("--epochs", "x"), ("--learning-rate", "0"), ("--learning-rate", "nan"), ("--learning-rate", "inf"), ("--batch-size", "0"), ("--rank", "0"), ("--max-length", "8"), ("--field", "x"))))]
NUMBERS += [["evaluate", *more] for more in ([], ["qwen2-instruct"], ["qwen2-instruct", "@good.jsonl"], *([model, "@good.jsonl", "--out", "out.jsonl"] for model in ("", "none", "@folder.jsonl", "@lora", "@model")),
            *(["qwen2-instruct", "@good.jsonl", "--out", "out.jsonl", option, value] for option, value in (("--tokens", "0"), ("--adapter", "none"), ("--adapter", "@folder.jsonl"), ("--engine", "onnx"), ("--engine-arg", "x"), ("--engine-arg", "colour=blue"), ("--harness", "@file"), ("--field", "options"))))]
NUMBERS += [["chat", *more] for more in ([], ["none"], ["@folder.jsonl"], ["@lora"], ["@model"], ["qwen2-instruct", "--adapter", "@folder.jsonl"], ["qwen2-instruct", "--temperature", "3"], ["qwen2-instruct", "--temperature", "nan"], ["qwen2-instruct", "--tokens", "0"], ["qwen2-instruct", "--engine", "onnx"])]
NUMBERS += [["push", *more] for more in ([], ["@good.jsonl"], ["@good.jsonl", "--to", "data"], ["@good.jsonl", "--to", "me/data", "--licence", "All mine"], ["@good.jsonl", "--to", "me/data", "--yes"], ["@folder.jsonl", "--to", "me/data"], ["@lora", "--to", "me/data"], ["missing", "--to", "me/data"])]
NUMBERS += [["instruct", "none", "new"], ["instruct"], ["model", ""], ["model", "unknown"], ["model", "../up"], ["model", "@folder.jsonl"], ["replies", "lists"], ["replies", "prune", "@good.jsonl"], ["replies", "prune"], ["status", "more"], ["report", "--run-dir", "@nothing"],
            ["doctor", "--profile", "large"], ["no-such-command"], ["--unknown"]]


@pytest.mark.parametrize("arguments", NUMBERS, ids=" ".join)
def test_an_argument_that_is_wrong(call, place, arguments):
    done = call(*at(place, arguments), *(["--run-dir", "run"] if arguments[0] in ("reproduce", "estimate", "synthesize", "status") else ()))
    refused(done)
    assert not Path("out.jsonl").exists()


# ---- what is right to accept

def test_what_is_right_to_accept(call, place, tmp_path):
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    assert call("corpus", place / "good.jsonl", "--out", "link.jsonl").exit_code == 0
    assert (tmp_path / "link.jsonl").is_symlink() and "bridge" in (tmp_path / "real.jsonl").read_text(), "a link is followed"
    os.mkfifo("pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    while not read and call("corpus", place / "good.jsonl", "--out", "pipe").exit_code: pass  # until the reader is there
    reader.join(10)
    assert b"bridge" in read[0] and Path("pipe").is_fifo() and Path("pipe.dropped.jsonl").read_bytes() == b""
    (tmp_path / "folder").mkdir()
    os.mkfifo("folder/pipe.txt")
    (tmp_path / "folder" / "a.txt").write_text(WORDS)
    done = call("corpus", "folder", "--out", "out.jsonl")
    assert done.exit_code == 0 and "pipe.txt" in done.stderr and "1 of 2 passages kept" in done.stdout, "a pipe among files is told"
    for lang in ("en", "zh"): assert call("filter", place / "good.jsonl", "f.jsonl", "--lang", lang).exit_code == 0
    assert call("status", "--run-dir", "run", "--set", "teachers=a@http://localhost:1*2,b@http://localhost:2|KEY").exit_code == 0


def test_a_full_disk_is_one_sentence_and_leaves_nothing(call, place, monkeypatch, tmp_path):
    def full(*_): raise OSError(28, "No space left on device")
    monkeypatch.setattr("aquilt.foundations.core.os.replace", full)
    refused(call("corpus", place / "good.jsonl", "--out", "out.jsonl"), "No space left")
    assert not list(tmp_path.iterdir())


def test_the_page_that_asks_the_teacher_first_tells_its_reason():
    "A cell that took the first reply for a record ended in an AttributeError, and the server's words were lost."
    from aquilt import distillation
    from aquilt.foundations.core import Record, UserError
    cells = ["".join(cell["source"]) for cell in json.loads((ROOT / "nbs/32a_distillation.ipynb").read_text(encoding="utf-8"))["cells"]]
    cell = next(text for text in cells if text.startswith("record = read_pair(example"))
    failed = distillation.Completion('{"error": "x"}', "error", error="https://x (model m) answered with status 500: no GPU is free")
    with pytest.raises(UserError, match="no GPU is free"): exec(cell, vars(distillation) | {"example": Record(text="u"), "raw": failed})


@pytest.mark.parametrize("given", ["{", "5", '"a=1"', "[5]", "[" * 100_000])
def test_damaged_arguments_of_the_engine_in_the_environment(given, monkeypatch):
    from aquilt.foundations.core import UserError
    from aquilt.foundations.profiles import SMOKE
    from aquilt.models.vllm_engine import engine_for
    monkeypatch.setenv("AQUILT_ENGINE_ARGS", given)
    with pytest.raises(UserError, match="AQUILT_ENGINE_ARGS"): engine_for(SMOKE, "model")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04....", b"nonsense" * 99])
def test_a_damaged_checkpoint(content, monkeypatch, tmp_path):
    from aquilt.foundations.core import UserError
    from aquilt.miniature import pretraining
    monkeypatch.setattr(pretraining, "optimizers_for", lambda *_: [])
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UserError, match="checkpoint.pt cannot be read .*delete it"): pretraining.train_on(None, None, None, tmp_path, 1, 1e-3, 0, 1)
