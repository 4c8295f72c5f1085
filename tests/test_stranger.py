"""A stranger's folder, by the commands of the README: twelve files in eight formats and two languages become passages, records, a trained specialist and a score on own questions, offline."""
import json
import random
import re
from pathlib import Path

from aquilt.distillation import FURTHER
from aquilt.foundations.core import Drop, Record, read_drops, read_records
from aquilt.miniature.server import teacher_server
from aquilt.miniature.world import draw_passage
import test_own_domain
from test_documents import pdf, word

alone, call = test_own_domain.alone, test_own_domain.call  # `alone` is at work in each test

SUFFIXES = {".txt", ".md", ".html", ".docx", ".pdf", ".csv", ".jsonl", ".parquet"}
SIZES = """[settings]
passage_tokens = 120
pairs_per_task = 50
epochs = 8
batch_size = 4
inspected = 24
inspection_epochs = 5
inspection_batch_size = 4
"""


def fill(folder: Path) -> None:
    "The stranger's twelve files; one of them, a scan, cannot be read."
    import csv

    import pyarrow
    import pyarrow.parquet
    rng = random.Random(0)
    def told(lang: str) -> list[str]: return [draw_passage(rng, kind, "encyclopedia", lang, "distillation") for kind in ("city", "person")]
    for lang in ("en", "zh"):
        (folder / f"notes_{lang}.txt").write_text("\n\n".join(told(lang)), encoding="utf-8")
        (folder / f"manual_{lang}.md").write_text("# Manual\n\n" + "\n\n".join(told(lang)), encoding="utf-8")
        word(folder / f"letter_{lang}.docx", *told(lang))
    (folder / "page.html").write_text("<html><body><main>" + "".join(f"<p>{text}</p>" for text in told("en")) + "</main></body></html>", encoding="utf-8")
    (folder / "report.pdf").write_bytes(pdf(*told("en")))
    (folder / "scan.pdf").write_bytes(pdf(""))
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file: csv.writer(file).writerows([["text"], *([text] for text in told("en"))])
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in told("zh")), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"text": told("zh")}), folder / "faq.parquet")


def ok(*arguments) -> str:
    "What a command says, which must go well."
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def contents(folder: Path, pattern: str) -> dict[Path, bytes]: return {path: path.read_bytes() for path in folder.rglob(pattern)}


def run_of(stage: str) -> tuple[list[Record], list[Drop]]:
    "The kept records of a stage of the project, and its ledger."
    return read_records(f"run/{stage}/records.jsonl"), read_drops(f"run/{stage}/dropped.jsonl")


def test_from_a_strangers_folder_to_a_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ok("init", "mine")
    monkeypatch.chdir(tmp_path / "mine")
    fill(Path("text"))
    files = sorted(Path("text").iterdir())
    assert len(files) == 12 and {path.suffix for path in files} == SUFFIXES
    with teacher_server(0.02) as url:
        own = {"tasks": '["single_choice", "open_book_qa"]', "teacher": f'"miniature-teacher@{url}"', "student": '"qwen2"', "profile": '"smoke"'}
        text = Path("aquilt.toml").read_text(encoding="utf-8").split("[settings]")[0]
        for name, value in own.items(): text = re.sub(f"(?m)^{name} = .*$", f"{name} = {value}", text)
        Path("aquilt.toml").write_text(text + SIZES, encoding="utf-8")

        # passages and the teacher's records; every file is in one or in a ledger
        ok("distill")
        corpus, lost = run_of("corpus")
        for file in files: assert any(Path(r.source).name == file.name for r in corpus) != any(file.name in f"{d.raw} {d.reason}" for d in lost if d.stage == "files"), file
        assert {Path(r.source).suffix for r in corpus} == SUFFIXES and {r.lang for r in corpus} == {"en", "zh"}
        kept, dropped = run_of("distillation")
        assert len(kept) + len(dropped) == 2 * len(corpus) and {r.lang for r in kept} == {"en", "zh"}
        paid = contents(Path("run"), "replies.jsonl")
        ok("distill")
        assert paid and contents(Path("run"), "replies.jsonl") == paid, "repeated, it asks for nothing"

        # the writer and the inspector: what enters a stage is kept or in its ledger
        ok("fit")
        filtered, judged = (run_of(stage) for stage in ("filtering", "inspection_data"))
        assert len(filtered[0]) + len(filtered[1]) == len(kept) and {r.lang for r in judged[0]} == {"en", "zh"}
        for stage in ("filtering", "inspection_data"):
            counts = json.loads(Path("run", stage, "result.json").read_text(encoding="utf-8"))["counts"]
            assert counts["entered"] == counts["kept"] + counts["dropped"], stage
        paid, trained = contents(Path("run"), "replies.jsonl"), contents(Path("run"), "*.safetensors")
        ok("fit")
        assert contents(Path("run"), "replies.jsonl") == paid and contents(Path("run"), "*.safetensors") == trained and len(trained) == 3

    # records, by the two models alone
    said = ok("synthesize", "--samples", 12, "--out", "records.jsonl")
    records, lost = read_records("records.jsonl"), read_drops("records.jsonl.dropped.jsonl")
    assert f"{len(records)} of 12 requests" in said and len(records) + sum(d.reason != FURTHER for d in lost) == 12 and {r.lang for r in records} == {"en", "zh"}
    before = contents(Path(), "records.jsonl*")
    ok("synthesize", "--samples", 12, "--out", "records.jsonl")
    assert contents(Path(), "records.jsonl*") == before

    # looked at, and handed on
    ok("show", "records.jsonl", "--html", "records.html")
    assert all(json.dumps(r.question, ensure_ascii=False) in Path("records.html").read_text(encoding="utf-8") for r in records)
    ok("export", "records.jsonl", "--to", "messages", "--out", "chats.jsonl")
    chats = [json.loads(line) for line in Path("chats.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(chats) == len(records) and all([turn["role"] for turn in chat["messages"]] == ["user", "assistant"] for chat in chats)

    # a specialist, and its score on own questions
    training = "train", "chats.jsonl", "--base", "qwen2-instruct", "--out", "specialist", "--rank", 4, "--epochs", 1, "--batch-size", 4, "--learning-rate", 5e-3
    assert f"trained on {len(records)} of {len(records)} examples" in ok(*training)
    adapter = contents(Path("specialist"), "*.safetensors")
    ok(*training)
    assert contents(Path("specialist"), "*.safetensors") == adapter and adapter
    asked = [next(r for r in kept if (r.task, r.lang) == ("open_book_qa", lang)) for lang in ("en", "zh")]
    rows = [*({"text": r.text, "question": r.question, "answer": r.answer} for r in asked), {"question": "Which is wet?", "choices": ["stone", "river"], "answer": 1}]
    Path("test.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    evaluation = "evaluate", "qwen2-instruct", "test.jsonl", "--adapter", "specialist", "--out", "answers.jsonl", "--tokens", 48
    said = ok(*evaluation)
    assert all(re.search(rf"(?m)^{name} +\d+\.\d\d .*; {n} questions", said) for name, n in (("exact", 2), ("f1", 2), ("rouge_l", 2), ("choice", 1))) and "3 questions with answers and scores" in said, said
    before = contents(Path(), "answers.jsonl*")
    assert ok(*evaluation) == said and contents(Path(), "answers.jsonl*") == before
