"What the stores of replies hold, their export, and what is pruned is asked again."
import json
import random

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
    assert table["cost"][0] > 0 and [*table["cost"][1:]] == ["no price"] * 2, "a price that is not known is not 0"


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


def test_no_flipped_byte_changes_a_reply_in_silence(run):
    path, rng = run / "one/replies.jsonl", random.Random(0)
    with ReplyStore(path).writing() as store: store.put("e", {"model": "other", "messages": []}, reply("十二 km², \ud800 and 12.5", "stop") | {"created": 1_770_000_000})
    data, rows, told = path.read_bytes(), list(stored(path)), 0
    for at in rng.sample(range(len(data)), 300):
        flipped = bytes([data[at] ^ 1 << rng.randrange(8)])
        path.write_bytes(data[:at] + flipped + data[at + 1:])
        try: found = list(stored(path))
        except UserError as e:
            told += 1
            assert str(path) in str(e) and ", line " in str(e) and "its request is sent again" in str(e)
            with pytest.raises(UserError, match="Delete the line"), ReplyStore(path).writing(): pass
            with pytest.raises(UserError): prune_replies(path, passing=True)
        else: assert at == len(data) - 1 and found == rows[:-1], "the last line's end is gone, so it is torn, and asked again"
    assert told >= 299


def test_damage_behind_the_back_of_a_call_is_told(run):
    path = run / "one/replies.jsonl"
    with ReplyStore(path).writing() as store:
        path.write_bytes(path.read_bytes().replace(b"said a", b"said e"))
        with pytest.raises(UserError, match="its checksum is not that of the line"): store.get("a")
        assert store.get("c")


def test_lines_of_before_the_checksum_are_read(run):
    path = run / "one/replies.jsonl"
    old = [json.dumps({name: row[name] for name in ("key", "request", "reply")}) for row in stored(path)]
    path.write_text("\n".join(old) + "\n")
    with ReplyStore(path).writing() as store:
        assert store.get("a") == reply("said a") and store.lines == 3
        store.put("z", {"model": "other", "messages": []}, reply("said z"))
    assert keys(run) == list("abczd") and list_replies(run)["replies"].sum() == 5 and export_replies(run, run / "out.jsonl") == 5
    assert prune_replies(run, model="deepseek-chat") == 2 and keys(run) == list("czd")
    assert all("crc32" in json.loads(line) for line in path.read_text().splitlines())
    path.write_text(old[0].replace('"reply"', '"note": "", "reply"') + "\n")
    with pytest.raises(UserError, match="it has a field 'note'"): keys(run)


def test_half_a_surrogate_pair_is_pruned_and_exported(run):
    with ReplyStore(run / "two/replies.jsonl").writing() as store: store.put("h", {"model": "m", "messages": []}, reply("a \ud800 b"))
    assert export_replies(run, run / "out.jsonl") == 5 and json.loads((run / "out.jsonl").read_text().splitlines()[-1])["text"] == "a \ud800 b"
    assert prune_replies(run, model="other") == 2 and [row["reply"] for row in stored(run / "two/replies.jsonl")] == [reply("a \ud800 b")]
