"What the stores of replies hold, their export, and what is pruned is asked again."
import json

import pytest

from aquilt.foundations.core import UserError
from aquilt.models.replies import ReplyStore, export_replies, list_replies, prune_replies, stored, stores


def reply(text, reason="stop"):
    return {"choices": [{"message": {"content": text}, "finish_reason": reason}], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}


@pytest.fixture
def run(tmp_path):
    for stage, rows in (("one", [("a", "deepseek-chat", "stop"), ("b", "deepseek-chat", "length"), ("c", "other", "stop")]), ("two", [("d", "other", "length")])):
        with ReplyStore(tmp_path / stage / "replies.jsonl").writing() as store:
            for key, model, reason in rows: store.put(key, {"model": model, "messages": [{"role": "user", "content": key}]}, reply(f"said {key}", reason))
    return tmp_path


def keys(run): return [row["key"] for file in stores(run) for row in stored(file)]


def test_a_list_of_stores_and_models(run):
    table = list_replies(run)
    assert table[["model", "replies", "cut off", "prompt_tokens"]].values.tolist() == [["deepseek-chat", 2, 1, 20], ["other", 1, 0, 10], ["other", 1, 1, 10]]
    assert [c > 0 for c in table["cost"]] == [True, False, False], "only a model with a price costs something"


def test_an_export_is_plain(run, tmp_path):
    assert export_replies(run, tmp_path / "out.jsonl") == 4
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[1] == {"model": "deepseek-chat", "messages": [{"role": "user", "content": "b"}], "text": "said b", "finish_reason": "length"}


@pytest.mark.parametrize("which, left", [({"model": "other"}, ["a", "b"]), ({"cut_off": True}, ["a", "c"]), ({"model": "other", "cut_off": True}, ["a", "b", "c"]), ({"model": "unheard of"}, ["a", "b", "c", "d"])])
def test_what_is_pruned(run, which, left):
    assert prune_replies(run, **which) == 4 - len(left) and keys(run) == left
    with ReplyStore(run / "one/replies.jsonl").writing() as store: assert store.get("b") == (reply("said b", "length") if "b" in left else None)


def test_replies_are_for_their_owner_alone(run):
    store, mode = run / "one/replies.jsonl", lambda path: oct(path.stat().st_mode & 0o777)
    assert {mode(path) for path in stores(run)} == {"0o600"}
    prune_replies(run, model="other")
    assert {mode(path) for path in stores(run)} == {"0o600"}
    store.chmod(0o640)  # shared with a group on purpose
    with ReplyStore(store).writing(): pass
    prune_replies(run, cut_off=True)
    assert mode(store) == "0o640"


def test_an_exported_reply_is_one_line_for_every_reader(tmp_path):
    with ReplyStore(tmp_path / "replies.jsonl").writing() as store: store.put("k", {"model": "m", "messages": []}, reply("a\u2028b\x85c\u2029d"))
    export_replies(tmp_path, tmp_path / "out.jsonl")
    assert [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()] == ["a\u2028b\x85c\u2029d"]


def test_bad_input(run, tmp_path):
    with pytest.raises(UserError, match="Say which replies go"): prune_replies(run)
    with pytest.raises(UserError, match="holds no store of replies"): list_replies(tmp_path / "none")
    with ReplyStore(run / "one/replies.jsonl").writing(), pytest.raises(UserError, match="written by another process"): prune_replies(run, model="other")
    with (run / "one/replies.jsonl").open("a") as file: file.write("torn")
    assert len(keys(run)) == 4, "a torn last line is no reply"
    with (run / "one/replies.jsonl").open("a") as file: file.write(" line\n")
    with pytest.raises(UserError, match="replies.jsonl, line 4: not a stored reply"): list_replies(run)
    (run / "two/replies.jsonl").write_text("")
    with pytest.raises(UserError, match="the stores are empty"): list_replies(run / "two")


def test_an_export_that_cannot_be_written_is_one_sentence(run, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="Cannot write .*taken"): export_replies(run, tmp_path / "taken")
    assert not list(tmp_path.glob("*.tmp"))
    with pytest.raises(UserError, match="Cannot write"): export_replies(run, run / "one/replies.jsonl/out.jsonl")


def test_what_answered_nothing_is_listed_pruned_and_never_found(run):
    with ReplyStore(run / "one/replies.jsonl").writing() as store:
        for key, text, reason in (("e", "", "stop"), ("f", "half", "insufficient_system_resource"), ("g", "", "content_filter"), ("h", None, "length")): store.put(key, {"model": "other"}, reply(text, reason))
        assert [store.get(key) is not None for key in "aefgh"] == [True, False, False, True, True]
    with ReplyStore(run / "one/replies.jsonl").writing() as store: assert set(store.in_vain) == {"e", "f"} and set(store.places) == set("abcgh")
    assert list_replies(run)["no answer"].sum() == 2
    assert prune_replies(run, passing=True) == 2 and keys(run) == list("abcgh") + ["d"]
    assert prune_replies(run, cut_off=True, passing=True) == 3 and keys(run) == list("acg")
