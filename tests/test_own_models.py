"""Inspecting, training, evaluating, talking and publishing with models of one's own: a tiny model with real mechanics, and the shipped chat model."""
import json
from pathlib import Path
from unittest.mock import patch

import pytest

from aquilt.foundations.core import Drop, Record, UserError, read_drops, read_records, write_drops, write_records
from aquilt.models.engines import Completion
from aquilt.own import evaluating, inspecting
from aquilt.own.evaluating import Item, evaluate_file, interval, item_of, item_scores, options_of, read_items, summary, texts_of
from aquilt.own.foreign import Given, read_fields
from aquilt.own.inspecting import find_adapter, find_model, inspect_file
from aquilt.own.push import cell, front, parcel, public_source, push
from aquilt.own.specialist import converse, examples_of, train_file
from tiny_model import make_adapter, make_model

USER, BOT, SYSTEM = ({"role": role, "content": text} for role, text in (("user", "Who?"), ("assistant", "A man."), ("system", "Be brief.")))
RECORD = Record(text="The Veth is a river.", task="closed_book_qa", question="What is the Veth?", answer="A river.", source="notes.txt")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return str(make_model(folder / "model")), str(make_adapter(folder / "model", folder / "adapter"))


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


class Scripted:
    "An engine whose answers are told beforehand, and which counts what it is asked."
    model, asked = "scripted", 0

    def __init__(self, *answers): self.answers, self.chunk = answers, 2

    def generate(self, prompts, sampling, adapter=None, desc="", keys=()):
        found = []
        for prompt in prompts:
            answer = self.answers[Scripted.asked % len(self.answers)]
            Scripted.asked += 1
            found.append(answer if isinstance(answer, Completion) else Completion(answer, "stop"))
        return found


# ---- models and adapters by their folders

def test_find_a_model_and_an_adapter(tiny, tmp_path, monkeypatch):
    model, adapter = tiny
    assert find_model(model) == model and find_adapter(adapter) == adapter and find_adapter("") is None and find_model("owner/name") == "owner/name"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "adapter").symlink_to(adapter)
    assert find_adapter(str(tmp_path / "out")) == str(tmp_path / "out" / "adapter")
    for folder in (adapter, str(tmp_path / "out")):
        with pytest.raises(UserError, match="--adapter"): find_model(folder)
    with pytest.raises(UserError, match="config.json"): find_model(str(tmp_path))
    for name in (model, str(tmp_path), "none"):
        with pytest.raises(UserError, match="adapter_model"): find_adapter(name)
    with pytest.raises(UserError, match="nobody"): find_model("nobody")


# ---- inspecting

SCORED = '```json\n{"analysis_steps": "It fits.", "score": "%s"}\n```'


@pytest.fixture
def inspected(tmp_path, tiny, monkeypatch):
    "A call of `inspect_file` on rows, with what the inspector says."
    monkeypatch.setenv("AQUILT_RUN_DIR", str(tmp_path / "run"))
    def call(rows, *said, **more):
        Scripted.asked = 0
        monkeypatch.setattr(inspecting, "engine_for", lambda *_: Scripted(*said))
        write(tmp_path / "in.jsonl", rows)
        counts = inspect_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "smoke", model=tiny[0], inspector=tiny[1], **more)
        return counts, read_records(tmp_path / "out.jsonl"), read_drops(tmp_path / "out.jsonl.dropped.jsonl")
    return call


def test_all_are_kept_with_scores_and_what_cannot_be_inspected_is_told(inspected):
    rows = [json.loads(RECORD.model_dump_json()), {"context": "c", "instruction": "Who?", "output": "he"}, {"question": "Who?", "answer": "he"}, {"text": "t", "messages": [USER, BOT, USER, BOT]}, {"text": "t", "question": "q", "answer": "a"}]
    counts, kept, drops = inspected(rows, SCORED % 4, SCORED % 1, "no JSON")
    assert (counts["entered"], counts["kept"], counts["dropped"], counts["scores"]) == (5, 2, 3, {1: 1, 4: 1})
    assert [(r.score, r.analysis, r.adapter) for r in kept] == [(4, "It fits.", "inspector"), (1, "It fits.", "inspector")] and kept[0].source == "notes.txt"
    assert sorted(d.reason.split(":")[0] for d in drops) == ["no score", "no text", "turns before its question, which a record cannot hold"]


def test_the_lowest_score_that_stays(inspected):
    counts, kept, drops = inspected([RECORD.model_dump(), RECORD.with_(answer="b").model_dump()], SCORED % 2, SCORED % 3, least=3)
    assert ([r.score for r in kept], [d.reason for d in drops]) == ([3], ["score 2"]) and counts["scores"] == {2: 1, 3: 1}


def test_a_stopped_inspection_goes_on(inspected):
    rows = [RECORD.with_(answer=f"{i}").model_dump() for i in range(4)]
    class Stop(Exception): pass
    def broken(self, prompts, *_, **__):
        if Scripted.asked >= 2: raise Stop
        return real(self, prompts, *_, **__)
    real = Scripted.generate
    with patch.object(Scripted, "generate", broken), pytest.raises(Stop): inspected(rows, SCORED % 4)
    inspected(rows, SCORED % 4)
    assert Scripted.asked == 2, "only the other two are asked"


def test_an_inspector_alone_is_refused(tmp_path, tiny, monkeypatch):
    monkeypatch.setenv("AQUILT_RUN_DIR", str(tmp_path / "run"))
    write(tmp_path / "in.jsonl", [RECORD.model_dump()])
    for more in ({"model": tiny[0]}, {"inspector": tiny[1]}):
        with pytest.raises(UserError, match="name both"): inspect_file(tmp_path / "in.jsonl", tmp_path / "o.jsonl", "smoke", **more)
    with pytest.raises(UserError, match="synthesiser"): inspect_file(tmp_path / "in.jsonl", tmp_path / "o.jsonl", "smoke")


# ---- training

def test_an_example_for_each_answer():
    r = Record(question="And?", answer="No.", logic="l")
    assert [len(prompt) for prompt, _ in examples_of(Given(r, (SYSTEM, USER, BOT)))] == [2, 4]
    assert examples_of(Given(r, (BOT,)))[0][0] == [BOT, {"role": "user", "content": "And?"}], "a greeting is read, not learnt"
    assert examples_of(Given(r), logic=False)[0][1] == [{"role": "assistant", "content": "No."}]


def test_train_from_chats_and_again(tiny, tmp_path, monkeypatch):
    rows = [{"messages": [USER, BOT]}] * 3 + [{"messages": [USER, {"role": "assistant", "content": "long " * 200}]}, {"x": 1}, {"messages": [USER, BOT, USER, BOT]}]
    path = write(tmp_path / "in.jsonl", rows)
    told = train_file(path, tiny[0], tmp_path / "out", rank=4, epochs=1, batch_size=2, max_length=60)
    assert told["counts"]["entered"] == 7 and told["counts"]["kept"] == 5 and told["recipe"]["rank"] == 4
    assert told["counts"]["reasons"] == {"longer than 60 tokens": 1, "no question: its fields are x; name the right one with --field question=PATH": 1}
    assert len(read_drops(tmp_path / "out" / "dropped.jsonl")) == 2 and json.loads((tmp_path / "out" / "about.json").read_text())["examples"] == 5
    before = (tmp_path / "out" / "adapter" / "adapter_model.safetensors").read_bytes()
    monkeypatch.setattr("aquilt.training.fit", lambda *_, **__: pytest.fail("it is trained already"))
    assert train_file(path, tiny[0], tmp_path / "out", rank=4, epochs=1, batch_size=2, max_length=60)["loss"] == told["loss"]
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").read_bytes() == before


def test_the_whole_model_is_written_where_it_is_asked_for(tiny, tmp_path):
    told = train_file(write(tmp_path / "in.jsonl", [{"messages": [USER, BOT]}] * 2), tiny[0], tmp_path / "out", rank=2, epochs=1, batch_size=2, merge=True)
    assert told["recipe"]["max_length"] == 128, "no longer than the model's context"
    assert find_model(str(tmp_path / "out" / "merged"))


def test_nothing_that_fits_is_an_error(tiny, tmp_path):
    with pytest.raises(UserError, match="nothing to train on .*longer than 10 tokens"): train_file(write(tmp_path / "in.jsonl", [{"messages": [USER, BOT]}]), tiny[0], tmp_path / "out", max_length=10)
    assert not (tmp_path / "out" / "adapter").exists()


def test_a_model_without_a_chat_template_is_one_sentence(tiny, tmp_path):
    import shutil
    shutil.copytree(tiny[0], tmp_path / "bare")
    (tmp_path / "bare" / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"): train_file(write(tmp_path / "in.jsonl", [{"messages": [USER, BOT]}]), str(tmp_path / "bare"), tmp_path / "out")


# ---- a conversation

def test_converse():
    typed, heard = iter(["Who?", "  And you? ", "too long", "Who?", ""]), []
    engine = Scripted("A man.", "I.", Completion("", "error", error="The prompt has 9 tokens."), "A man.")
    Scripted.asked, seen, real = 0, [], engine.generate
    engine.generate = lambda prompts, *more: seen.append([t["content"] for t in prompts[0].content]) or real(prompts, *more)
    assert converse(engine, lambda: next(typed), heard.append) == 3
    assert seen == [["Who?"], ["Who?", "A man.", "And you?"], ["Who?", "A man.", "And you?", "I.", "too long"], ["Who?"]]
    assert heard == ["A man.", "I.", "(The prompt has 9 tokens. The conversation begins anew.)", "A man."]
    assert converse(engine, lambda: "", heard.append) == 0


# ---- evaluating

@pytest.mark.parametrize("row, references, options", [
    ({"question": "q", "answer": "a"}, ("a",), None), ({"question": "q", "answer": 5}, ("5",), None), ({"question": "q", "answers": {"text": ["a", "b"]}}, ("a", "b"), None), ({"question": "q", "references": ["a", "b"]}, ("a", "b"), None),
    ({"messages": [USER, BOT]}, ("A man.",), None), ({"instruction": "q", "output": "a"}, ("a",), None), ({"question": "q", "answer": False}, ("False",), None),
    ({"question": "q", "options": {"A": "x", "B": "y"}, "answer": "B"}, ("B",), {"A": "x", "B": "y"}), ({"question": "q", "options": ["x", "y"], "answer": "y"}, ("B",), {"A": "x", "B": "y"}),
    ({"question": "q", "choices": ["x", "y"], "answer": 0}, ("A",), {"A": "x", "B": "y"}), ({"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answer": "A"}, ("A",), {"A": "x", "B": "y"}),
    ({"question": "q", "A": "x", "B": "y", "answer": "A"}, ("A",), {"A": "x", "B": "y"}), ({"question": "q", "options": ["1", "0"], "answer": "0"}, ("B",), {"A": "1", "B": "0"}),
])
def test_items(row, references, options):
    item = item_of(row, {})
    assert (item.references, item.options) == (references, options)
    assert not options or item.prompt == "q\nA. " + "\nB. ".join(options.values())


@pytest.mark.parametrize("row, reason", [({"question": "q"}, "no right answer"), ({"question": "q", "answer": []}, "no right answer"), ({"question": "q", "answer": [["a"]]}, "no right answer"), ({"answer": "a"}, "no question"), ({"question": "q", "answer": " "}, "no right answer"),
                                         ({"question": "q", "options": ["x", "y"], "answer": "z"}, "none of its options"), ({"question": "q", "options": ["x", "y"], "answer": 2}, "none of its options"), (5, "not an object"), ({"messages": [USER]}, "does not end")])
def test_rows_that_are_no_items(row, reason):
    assert reason in item_of(row, {})


def test_paths_and_passages_of_a_test():
    row = {"q": {"text": "Who?"}, "gold": ["a", "b"], "c": ["x", "a"], "context": "c"}
    item = item_of(row, read_fields(["question=q.text", "answer=gold"], ("question", "answer", "options")))
    assert item.references == ("a", "b") and item.prompt == "c\n\nWho?"
    assert item_of(row | {"gold": "a"}, read_fields(["question=q.text", "answer=gold", "options=c"], ("question", "answer", "options")), passage=False) == Item("Who?\nA. x\nB. a", ("B",), {"A": "x", "B": "a"})
    assert options_of({}, None) == options_of({"options": ["one"]}, None) == options_of({"options": "x"}, None) == {} and texts_of({"a": 1}) == ()


@pytest.mark.parametrize("output, references, exact, f1", [
    ("Thinking steps:x\nAnswer:The river.", ["a river"], 100, 100), ("It is a river", ["river"], 0, 50), ("", ["river"], 0, 0), ("答案：北京。", ["北京"], 100, 100), ("答案：在北京。", ["北京"], 0, 80), ("<think>no</think>river", ["lake", "river"], 100, 100)])
def test_scores_of_text(output, references, exact, f1):
    found = item_scores(output, Item("q", tuple(references)))
    assert (found["exact"], round(found["f1"])) == (exact, f1) and 0 <= found["rouge_l"] <= 100


def test_summaries_and_their_intervals():
    found = summary([{"exact": 100.0}, {"exact": 0.0}, {"choice": 100.0}])
    assert (found["exact"]["mean"], found["exact"]["n"], found["choice"]["n"]) == (50, 2, 1) and found["choice"]["interval"][0] > 0
    low, high = interval([40.0, 50.0, 60.0])
    assert low < 50 < high and interval([37.0]) == (0.0, 100.0) and interval([3.0], 1.0, 5.0) == (1.0, 5.0) and 1 < interval([5.0, 5.0], 1.0, 5.0)[0] < 5


def test_evaluate_with_an_adapter_and_go_on(tiny, tmp_path, monkeypatch):
    path = write(tmp_path / "test.jsonl", [{"question": "Who?", "answer": "he"}, {"page": 1}, {"question": "Wet?", "choices": ["a", "b"], "answer": 1}, {"question": "long " * 200, "answer": "x"}])
    told = evaluate_file(tiny[0], path, tmp_path / "o.jsonl", adapter=tiny[1], tokens=5, harness=tmp_path / "harness")
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert (told["n"], told["dropped"], told["errors"]) == (3, 1, 1) and "no room" in rows[2]["error"] and rows[0].keys() >= {"output", "exact", "f1", "rouge_l"} and "choice" in rows[1]
    assert "no question" in read_drops(tmp_path / "o.jsonl.dropped.jsonl")[0].reason and json.loads((tmp_path / "o.jsonl.summary.json").read_text()) == told
    monkeypatch.setattr("aquilt.models.engines.TransformersEngine.generate", lambda *_, **__: pytest.fail("it was answered already"))
    assert evaluate_file(tiny[0], path, tmp_path / "again.jsonl".replace("again", "o"), adapter=tiny[1], tokens=5)["scores"] == told["scores"]
    assert f"peft={tiny[1]}" in told["harness"] and len((tmp_path / "harness" / "own_test.jsonl").read_text().splitlines()) == 3


def test_a_stopped_evaluation_goes_on(tiny, tmp_path, monkeypatch):
    path = write(tmp_path / "t.jsonl", [{"question": f"Who is {i}?", "answer": "he"} for i in range(5)])
    class Batches(Scripted):
        batch_size = 2
        def generate(self, prompts, *more, **named):
            if Scripted.asked >= stop: raise KeyboardInterrupt
            return super().generate(prompts, *more, **named)
    monkeypatch.setattr(evaluating, "open_model", lambda *_: Batches("he"))
    Scripted.asked, stop = 0, 2
    with pytest.raises(KeyboardInterrupt): evaluate_file(tiny[0], path, tmp_path / "o.jsonl")
    assert not (tmp_path / "o.jsonl").exists()
    stop = 99
    assert evaluate_file(tiny[0], path, tmp_path / "o.jsonl")["scores"]["exact"]["mean"] == 100 and Scripted.asked == 5


def test_evaluate_refuses_what_says_nothing(tiny, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="none of its 1 questions could be asked"): evaluate_file(tiny[0], write(tmp_path / "t.jsonl", [{"question": "long " * 200, "answer": "x"}]), tmp_path / "o.jsonl")
    assert not (tmp_path / "o.jsonl").exists()
    with pytest.raises(UserError, match="none of its 1 rows is a question"): read_items(write(tmp_path / "n.jsonl", [{"question": "q"}]))
    with pytest.raises(UserError, match="one question at a time"): evaluate_file(tiny[0], write(tmp_path / "c.jsonl", [{"messages": [USER, BOT, USER, BOT]}]), tmp_path / "o.jsonl", harness=tmp_path / "h")
    monkeypatch.setattr(evaluating, "open_model", lambda *_: pytest.fail("before any work"))
    with pytest.raises(UserError, match="jsonl"): evaluate_file(tiny[0], tmp_path / "t.jsonl", tmp_path / "o.json")


@pytest.fixture
def judge(monkeypatch):
    "A judge on loopback that says what it is told to, in turn, and keeps what it was asked."
    from aquilt.miniature import server
    asked = []
    def opened(*says):
        def said(messages, *_):
            asked.append(messages)
            return next(say for key, say in says if key in messages[-1]["content"])
        monkeypatch.setattr(server, "reply", said)
        return "someone@miniature:0"
    opened.asked = asked
    return opened


def test_a_judge_scores_each_answer_once(tiny, tmp_path, monkeypatch, judge):
    rows = [{"question": "Who?", "answers": ["he", "the man"]}, {"question": "Wet?", "choices": ["stone", "river"], "answer": 1}, {"question": "谁来了？", "answer": "他"}, {"page": 1}]
    monkeypatch.setattr(evaluating, "open_model", lambda *_: Scripted("Thinking steps: a guess\nAnswer: a person", "B", "他", Completion("", "error", error="no room")))
    Scripted.asked = 0
    name = judge(("Who?", SCORED % 2), ("Wet?", SCORED % 5), ("谁", "I like it."))
    path = write(tmp_path / "t.jsonl", [*rows, {"question": "Long?", "answer": "x"}])
    told = evaluate_file(tiny[0], path, tmp_path / "o.jsonl", judge=name)
    found = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["judge"] for row in found] == [2, 5, None, None] and found[0]["analysis"] == "It fits." and "no score" in found[2]["unjudged"] and found[3]["unjudged"] == "there is no answer"
    assert (told["n"], told["unjudged"], told["scores"]["judge"]["mean"], told["scores"]["judge"]["n"]) == (4, 2, 3.5, 2) and told["judge_usage"]["requests"] == 3
    low, high = told["scores"]["judge"]["interval"]
    assert 1 <= low < 3.5 < high <= 5
    first = next(messages[-1]["content"] for messages in judge.asked if "Who?" in messages[-1]["content"])
    assert "he\nthe man" in first and "a person" in first and "a guess" not in first and any("B. river" in messages[-1]["content"] for messages in judge.asked)
    n = len(judge.asked)
    assert evaluate_file(tiny[0], path, tmp_path / "o.jsonl", judge=name)["scores"] == told["scores"] and len(judge.asked) == n, "nothing is paid for twice"
    assert "judge" not in evaluate_file(tiny[0], path, tmp_path / "o.jsonl")["scores"]


def test_a_judge_that_cannot_be_used_is_one_sentence(tiny, tmp_path, monkeypatch, judge):
    path = write(tmp_path / "t.jsonl", [{"question": "Who?", "answer": "he"}])
    monkeypatch.setattr(evaluating, "open_model", lambda *_: pytest.fail("before any work"))
    monkeypatch.delenv("SOME_KEY", raising=False)
    for name, said in (("nobody", "is no teacher"), ("m@https://example.org/v1|SOME_KEY", "SOME_KEY"), ("m@miniature:x", "miniature")):
        with pytest.raises(UserError, match=said): evaluate_file(tiny[0], path, tmp_path / "o.jsonl", judge=name)
    monkeypatch.setattr(evaluating, "open_model", lambda *_: Scripted("he"))
    with pytest.raises(UserError, match="none of 1 answers was judged .*no score"): evaluate_file(tiny[0], path, tmp_path / "o.jsonl", judge=judge(("Who?", "Good.")))
    assert not (tmp_path / "o.jsonl").exists()


def test_the_harness_reads_texts_as_they_are(tmp_path):
    import yaml
    items = [Item('{{ 7 }} "x"\n# no: yaml', ("a: b",)), Item("Wet?", ("B",), {"A": "x", "B": "是"})]
    evaluating.write_harness(tmp_path / "h", 'my "odd": name.test.jsonl', items, 64, "m")
    name = "own_my_odd_name_test"
    task = yaml.safe_load((tmp_path / "h" / f"{name}.yaml").read_text().replace("!function ", ""))
    assert (task["task"], task["generation_kwargs"]["max_gen_toks"], task["doc_to_text"]) == (name, 64, "{{prompt}}") and Path(task["dataset_kwargs"]["data_files"]["test"]).is_file()
    docs = [json.loads(line) for line in (tmp_path / "h" / f"{name}.jsonl").read_text().splitlines()]
    assert docs[0]["prompt"] == items[0].prompt and evaluating.harness_scores(docs[1], ["B"]) == {"choice": 1} and evaluating.harness_scores(docs[0], ["a: b"])["exact"] == 1
    scope = {}
    exec((tmp_path / "h" / "utils.py").read_text(), scope)
    assert scope["process_results"] is evaluating.harness_scores


# ---- publishing

@pytest.mark.parametrize("text", ["a|b", "<script>", "# head", "[x](http://y)", "`x`", "a\nb", "![x](y)", "&lt;", "*b*"])
def test_a_cell_is_no_markup(text):
    import re
    assert not re.search(r"(?<!\\)[|<>`*\[\]#&!]|\n", cell(text))


@pytest.mark.parametrize("source, said", [("/data/me/a.txt", "a.txt"), ("C:\\Users\\me\\a.txt", "a.txt"), ("notes/a.txt", "notes/a.txt"), ("CMRC2018", "CMRC2018"), ("hub:o/n@main", "hub:o/n@main"), ("", "")])
def test_no_folder_of_this_machine_is_told(source, said): assert public_source(source) == said


def test_a_datasets_card_and_copy(tmp_path):
    import yaml
    write_records(tmp_path / "r.parquet", [RECORD.with_(source="/secret/place/a.txt", prompt_hash="h"), RECORD.with_(lang="zh", source="x|y")])
    write_drops(tmp_path / "r.parquet.dropped.jsonl", [Drop(stage="s", reason="score 1")] * 2)
    with parcel(tmp_path / "r.parquet", "me/data", "cc-by-4.0") as made:
        card = (made.folder / "README.md").read_text()
        assert made.problems == () and [r.source for r in read_records(made.folder / "data" / "train.parquet")] == ["a.txt", "x|y"]
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-4.0" and head["language"] == ["en", "zh"] and head["configs"][0]["data_files"] == "data/train.parquet"
    assert "/secret" not in card and "score 1 | 2" in card and "1 different requests" in card and "x\\|y" in card
    assert front({"license": "", "x": "a: b"}) == '---\nx: "a: b"\n---\n'


def test_a_foreign_dataset_goes_as_it_is(tmp_path):
    path = write(tmp_path / "c.jsonl", [{"messages": [USER, BOT]}, {"x": 1}])
    with parcel(path, "me/data") as made:
        assert (made.folder / "data" / "train.jsonl").read_bytes() == path.read_bytes() and "1 rows of the file are none" in (made.folder / "README.md").read_text()


def test_a_foreign_dataset_that_names_a_folder_of_this_machine_is_not_sent(tmp_path):
    path = write(tmp_path / "c.jsonl", [{"question": "q", "answer": "a", "source": "/secret/place/a.txt", "of": "mine"}])
    with parcel(path, "me/data", "mit") as made: assert "1 rows of c.jsonl name a folder" in made.problems[0]


def test_an_adapters_parcel(tiny, tmp_path):
    train_file(write(tmp_path / "in.jsonl", [{"messages": [USER, BOT]}] * 2), tiny[0], tmp_path / "out", rank=2, epochs=1, batch_size=2)
    assert (tmp_path / "out" / "adapter" / "training_args.bin").exists()
    for path in (tmp_path / "out", tmp_path / "out" / "adapter"):
        with parcel(path, "me/lora", "mit") as made:
            names = {p.name for p in made.folder.iterdir()}
            assert names >= {"README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} and not any(n.endswith(".bin") for n in names)
            assert "--base" in made.problems[0] and not any(str(tmp_path) in p.read_text(errors="replace") or tiny[0] in p.read_text(errors="replace") for p in made.folder.iterdir())
        with parcel(path, "me/lora", "mit", "owner/base") as made:
            assert made.kind == "model" and not made.problems and json.loads((made.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/base"
            assert 'base_model: "owner/base"' in (made.folder / "README.md").read_text() and "examples kept" in (made.folder / "README.md").read_text()


@pytest.mark.parametrize("to", ["", "name", "a/b/c", "/a", "a/", "../a", "a b/c", "a/b\n"])
def test_a_repository_that_is_none(tmp_path, to):
    with pytest.raises(UserError, match="OWNER/NAME"): push(write(tmp_path / "r.jsonl", [RECORD.model_dump()]), to)


def test_nothing_is_pushed_without_all_that_it_needs(tmp_path, monkeypatch):
    path = write(tmp_path / "r.jsonl", [RECORD.model_dump()])
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with patch("huggingface_hub.HfApi") as hub:
        assert "Before --yes: no licence" in push(path, "me/data")
        with pytest.raises(UserError, match="no licence"): push(path, "me/data", yes=True)
        with pytest.raises(UserError, match="HF_TOKEN"): push(path, "me/data", "mit", yes=True)
        with pytest.raises(UserError, match="no identifier"): push(path, "me/data", "My Licence!")
        with pytest.raises(UserError, match="holds no adapter"): push(tmp_path, "me/data")
        assert not hub.called
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with patch("huggingface_hub.HfApi") as hub:
        hub.return_value.create_repo.side_effect = OSError("401 for hf_secret")
        with pytest.raises(UserError, match="did not take me/data") as told: push(path, "me/data", "mit", yes=True)
        assert "hf_secret" not in str(told.value)
        hub.return_value.create_repo.side_effect, hub.return_value.create_repo.return_value = None, "address"
        assert push(path, "me/data", "mit", public=True, yes=True) == "pushed to address"
        assert hub.return_value.create_repo.call_args.kwargs["private"] is False
