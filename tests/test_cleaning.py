"""What leaves a corpus and why: form, length, language, repetitions, test items; counts that reconcile; files that are whole or not there."""
import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.reading import cleaning, documents
from aquilt.reading.cleaning import (DELIBERATE, Exact, Nearest, Overlap, Rules, clean_batches, clean_file, examine, garbled, language, make_corpus, minhashes, read_tests, shingles, tokens, too_short, writing)
from aquilt.foundations.core import Drop, Record, UserError, read_drops, read_records
from aquilt.reading.documents import normal, passage_again

MODEL = Path(__file__).resolve().parent.parent / "aquilt" / "data" / "models" / "qwen2"
A = ("The city of Brone lies by the river Tal and has two bridges, of which the older one was built by its first mayor in the year of the flood. Its market opens on the third day of every week, "
     "and farmers from all villages upstream bring wool, salt, honey and dark bread there by boat.")
B = "A trial of the drug in ninety patients found no difference after two weeks, although the dose had been doubled for half of them by mistake on the fourth day."
ZH = "布龙市位于塔尔河畔，有两座桥梁，其中较旧的一座由第一任市长在洪水之年修建。每周第三天开放集市，上游各村的农民乘船运来羊毛、盐、蜂蜜和黑面包。"
ANY = Rules(langs=())


def verdicts(texts, rules=Rules(), size=1000, workers=0):
    batches = [(texts[i:i + size], i) for i in range(0, len(texts), size)]
    return [v for _, found in clean_batches(batches, rules, workers, lambda start, i: f"text {start + i}") for v in found]


def reasons(texts, rules=Rules(), **options):
    return [v.reason for v in verdicts(texts, rules, **options)]


def sample(n, words=60, seed=0):
    "Different English-looking texts."
    rng = random.Random(seed)
    vocabulary = A.split() + B.split() + ["".join(rng.choices("etaoinshrdlu", k=6)) for _ in range(3000)]
    return [" ".join(rng.choices(vocabulary, k=words)) + "." for _ in range(n)]


# ---- a text by itself

def test_form_is_made_normal_before_anything_is_judged():
    found = verdicts([A.replace("e", "e\u200b") + "\r\n", "cafe\u0301 " + B, "café " + B, "\x00\x01 \u200b\n"], ANY)
    assert [v.reason for v in found] == ["", "", "repeated", "empty"] and found[0].text == A + "\n" and found[1].text.startswith("café")


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12) | st.text("ab\n\t\x00\x0b\r\x7f", max_size=6), max_size=8))
@settings(deadline=None, max_examples=200)
def test_a_batch_is_normal_as_each_text_is(texts):
    assert cleaning._normal_batch(texts) == list(map(normal, texts))


@pytest.mark.parametrize("text, least, short", [("", 1, True), ("a" * 20, 20, False), ("a" * 19, 20, True), ("城" * 10, 20, False), ("城" * 9, 20, True), ("城" * 9 + "aa", 20, False), (" " * 18 + "a", 20, True),
                                                ("a", 0, False)])
def test_too_short(text, least, short):
    assert too_short(text, least) == short


def test_empty_and_short():
    assert reasons(["", " \n\u3000", "Short.", "短。", A], Rules(near=0)) == ["empty", "empty", "too short", "too short", ""]
    assert reasons(["", "Short.", "短。", "x"], Rules(near=0, least=0)) == ["empty", "", "", ""]
    assert reasons(["   \n" * 30], Rules(near=0)) == ["empty"]


@pytest.mark.parametrize("text, code", [(A, "en"), (ZH, "zh"), ("臺灣是一個島嶼，位於東亞，氣候溫暖潮濕。", "zh"), ("Der Hund läuft im Wald herum und sucht seinen Herrn.", "de"), ("東京は日本の首都です。とても大きい。", "ja"),
                                        ("Мама мыла раму, а папа читал газету на кухне.", "ru"), ("", "en"), ("12 + 3 = 15", "en"), ("道可道，非常道；名可名，非常名。无名天地之始，有名万物之母。", "zh"), ("學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？", "zh"),
                                        ("서울은 대한민국의 수도이며 가장 큰 도시이다.", "ko"), ("東京の電車はとても便利で、駅から駅まで早い。", "ja"), ("城市。", "zh"), ("bad \ufdd0 bytes", "en")])
def test_language(text, code):
    assert language(text) == code


def test_languages_that_stay():
    texts = [A, ZH, "Der Hund läuft im Wald herum und sucht seinen Herrn."]
    assert reasons(texts) == ["", "", "language de"] and reasons(texts, Rules(langs=("de",))) == ["language en", "language zh", ""] and reasons(texts, ANY) == ["", "", ""]
    assert [v.lang for v in verdicts(texts)] == ["en", "zh", "de"]


@pytest.mark.parametrize("text, why", [
    ("/G21/G22/G23/G24 /G25/G26 /G2A/G30", "glyph"), ("(cid:12)(cid:7)(cid:99) (cid:3)", "glyph"), ("/g3/g120/C45 and /a17/uni0041", "glyph"), ("\ue001\ue002 \ue003\ue004", "glyph"),
    ("The caf\u00c3\u00a9 in M\u00c3\u00bcnchen isn\u00e2\u20ac\u2122t open.", "encoding"), ("\u00e5\u0178\u017d\u00e5\u00b8\u201a\u00e5\u0153\u00a8\u00e6\u00b2\u00b3", "encoding"),
    ("城市在河边，有一座桥。".encode().decode("latin-1"), "encoding"), ("城市在河边，有一座桥。".encode("gb18030").decode("latin-1"), "encoding"), ("城市在河边，有一座桥。它很旧。".encode().decode("gb18030", "replace"), "encoding"),
    ("Мама мыла раму.".encode("cp1251").decode("cp1252"), "encoding"), ("caf\ufffd in M\ufffdnchen", "encoding"), ("锟斤拷锟斤拷锟斤拷", "encoding"),
    ("Contents\n1 Clay ........ 3\n2 Sand . . . . . 17\nPreface ..... iv\n", "contents"), ("第一章 …………… 3\n第二章 ········ 9\n附录………12", "contents")])
def test_what_is_no_text_is_told_apart(text, why):
    assert why in garbled(normal(text)) and reasons([text + " " * 20], Rules(near=0, least=0)) == [garbled(normal(text))]


@pytest.mark.parametrize("text", [A, ZH, "", "See /usr/lib/python3 and /v1/api for the 25 items.", "Le goût du café «noir», à Noël… l’été où naît l’âme.", "Preis: 5 €–10 €, “quoted” — naïve", "Þjóðin á sér langa sögu.",
                                  "Мама мыла раму, а папа читал газету.", "Tiếng Việt là ngôn ngữ chính thức tại Việt Nam.", "联通公司位于北京，营业额为三百亿元。", "• A list:\n\uf0b7 its first item of some length\n\uf0b7 its second one",
                                  "He waited .... 5 minutes.\nAnd left.", "Mount /dev/sda1 on /home and /dev/sdb2 on /srv, then restart the machine and look whether both are there.", "São Paulo, Ångström, Ève"])
def test_what_is_text_stays(text):
    assert garbled(text) == ""


# ---- repetitions

def test_exact_and_near_repetitions():
    changed = A.replace("honey", "wax")
    found = verdicts([A, B, A, changed, ZH, ZH.replace("蜂蜜", "蜡"), ZH, changed], Rules(near=0.75))
    assert [v.reason for v in found] == ["", "", "repeated", "nearly repeated", "", "nearly repeated", "repeated", "repeated"]
    assert (found[3].like, found[5].like, found[2].like) == ("text 0", "text 4", "")
    assert reasons([A, changed], Rules(near=0)) == ["", ""]


def test_short_texts_that_differ_stay():
    texts = [f"The population of city number {i} is {i * 7919}." for i in range(50)]
    assert reasons(texts, Rules(near=0.9)).count("") > 45


LAW = ("Any person who keeps a {} on a public road without the licence that this part requires, or who lets another keep it so, commits an offence and is liable on conviction to a fine that does not "
       "exceed {} units, unless the keeper shows that the licence was applied for in due time.")
ZH_LAW = "第{}条　任何人未取得本章规定的许可证而在公共道路上停放{}级车辆，或者允许他人如此停放的，处{}元以下罚款；能够证明已经在规定的期限内提出申请的，可以免于处罚。"


@pytest.mark.parametrize("one, two", [(LAW.format("vehicle of class 1", "100"), LAW.format("vehicle of class 2", "200")), (LAW.format("vehicle of class B", "100"), LAW.format("vehicle of class C", "100")),
                                      (LAW.format("vehicle", "two hundred"), LAW.format("vehicle", "three hundred")), (LAW.format("vehicle", "1,000"), LAW.format("vehicle", "1,500")),
                                      (LAW.format("vehicle of part II", "100"), LAW.format("vehicle of part IV", "100")), (LAW.format("first vehicle", "100"), LAW.format("third vehicle", "100")),
                                      (ZH_LAW.format("三", "甲", "五百"), ZH_LAW.format("四", "甲", "五百")), (ZH_LAW.format("三", "甲", "五百"), ZH_LAW.format("三", "乙", "五百")),
                                      (ZH_LAW.format("三", "甲", "五百"), ZH_LAW.format("三", "甲", "二百"))])
def test_provisions_with_other_facts_are_no_repetitions(one, two):
    assert reasons([one, two, one.replace("conviction", "a conviction").replace("公共", "公用")], Rules(near=0.6)) == ["", "", "nearly repeated"]


def test_similarity_is_estimated_well():
    rng = random.Random(1)
    for share in (0.2, 0.5, 0.8, 0.95):
        errors = []
        for _ in range(30):
            words = ["".join(rng.choices("abcdefgh", k=20)) for _ in range(300)]  # longer than a shingle: each word is one
            one, two = words[:200], words[:int(200 * share)] + words[200:400 - int(200 * share)]
            true = len(set(one) & set(two)) / len(set(one) | set(two))
            x, y = minhashes([" ".join(one), " ".join(two)])
            errors.append(x.jaccard(y) - true)
        assert abs(sum(errors) / 30) < 0.05 and max(map(abs, errors)) < 0.3, share


def test_shingles_of_a_text_do_not_depend_on_its_neighbours():
    texts = [A, "", ZH, "a", "two words", "\n\n", "é è", "x" * 100]
    assert list(shingles(texts)) == [s for text in texts for s in shingles([text])]
    assert [len(s) for s in shingles(["one two three", "城市 a", "", " "])] == [3, 3, 0, 0]


def test_near_repetitions_are_found_with_the_stated_probability():
    texts = sample(200)
    near = [" ".join(words[:30] + ["other"] + words[31:]) for words in map(str.split, texts)]  # 3 shingles of 60 change: similarity 0.9
    found = reasons(texts + near, Rules(langs=()))
    assert found[:200] == [""] * 200 and found[200:].count("nearly repeated") >= 190


def test_the_index_is_bounded():
    texts = sample(100)
    nearest = Nearest(0.8, window=10)
    for i, minhash in enumerate(minhashes(texts)): nearest.add(minhash, str(i))
    assert len(nearest.halves) == 2 and sum(len(kept) for _, kept in nearest.halves) <= 20
    found = [nearest.like(m) for m in minhashes(texts)]
    assert found[90:] == [str(i) for i in range(90, 100)] and not any(found[:80])


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), max_size=12), st.integers(0, 4))
@settings(deadline=None)
def test_exact_repetitions_are_never_forgotten(batches, recent):
    exact, seen = Exact(recent), set()
    for batch in batches:
        found = exact.seen(batch)
        expected = []
        for text in batch:
            expected.append(text in seen)
            seen.add(text)
        assert found == expected


def test_batches_and_workers_change_nothing():
    texts = sample(40) + [A, "", "x", A, A.replace("honey", "wax"), ZH] + sample(20)
    one = verdicts(texts)
    assert one == verdicts(texts, size=1) == verdicts(texts, size=7) == verdicts(texts, size=20, workers=2)
    assert Counter(v.reason for v in one)["repeated"] == 21 and verdicts([]) == []


def test_no_minhash_where_none_is_asked_for():
    assert examine([A], Rules(near=0))[3] == [None] and examine(["", A], Rules())[3][0] is None


# ---- a file

def write(path, texts, **more):
    path.write_text("".join(json.dumps({"text": t, **more}, ensure_ascii=False) + "\n" for t in texts), encoding="utf-8")
    return path


def test_a_file_is_cleaned_and_other_fields_stay(tmp_path):
    path = write(tmp_path / "a.jsonl", [A, B + "\x07", "", "Short.", A], id=7)
    path.write_text(path.read_text(encoding="utf-8") + "\n{half\n[1]\n{\"text\": 5}\n{\"txt\": \"x\"}\n" + json.dumps({"text": ZH}), encoding="utf-8")
    counts = clean_file(path, tmp_path / "out.jsonl", progress=False)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == [{"text": A, "id": 7}, {"text": B, "id": 7}, {"text": ZH}]
    drops = read_drops(tmp_path / "out.jsonl.dropped.jsonl")
    assert counts == {"entered": 10, "kept": 3, "dropped": 7, "reasons": dict(sorted(Counter(d.reason for d in drops).items()))}
    assert {d.raw.split(", ")[-1]: d.reason for d in drops if str(path) in d.raw} == {"line 7": "not JSON", "line 8": "no text in 'text'", "line 9": "no text in 'text'", "line 10": "no text in 'text'"}
    assert [d.raw for d in drops if d.reason == "repeated"] == [A]


def test_cleaning_twice_changes_nothing(tmp_path):
    path = write(tmp_path / "a.jsonl", [*sample(30), A, A + "\x00", ""])
    clean_file(path, tmp_path / "b.jsonl", progress=False)
    counts = clean_file(tmp_path / "b.jsonl", tmp_path / "c.jsonl", progress=False)
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "c.jsonl").read_bytes() and counts["dropped"] == 0
    assert (tmp_path / "c.jsonl.dropped.jsonl").read_text() == ""


def test_a_compressed_file_another_column_and_a_byte_order_mark(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps({"body": A}).encode() + b"\n\n" + json.dumps({"body": B}).encode()))
    assert clean_file(tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl", column="body", progress=False)["kept"] == 2
    assert [json.loads(line.decode("utf-8-sig"))["body"] for line in (tmp_path / "b.jsonl").read_bytes().splitlines()] == [A, B]


def test_a_line_above_the_limit_is_a_drop(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LIMIT", 1 << 20)
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps({"text": A}).encode() + b'\n{"text": "' + b"x" * (3 << 20) + b'"}\n' + json.dumps({"text": B}).encode() + b"\n")
    counts = clean_file(path, tmp_path / "b.jsonl", progress=False)
    assert counts["kept"] == 2 and counts["reasons"] == {"a line too long": 1}
    assert "line 2" in read_drops(tmp_path / "b.jsonl.dropped.jsonl")[0].raw


def test_nothing_half_written(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps({"text": t}) + "\n" for t in sample(3000)).encode())[:-500])
    (tmp_path / "out.jsonl").write_text("the result of before")
    with pytest.raises(UserError, match="a.jsonl.gz is cut short"): clean_file(path, tmp_path / "out.jsonl", progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl.gz", "out.jsonl"] and (tmp_path / "out.jsonl").read_text() == "the result of before"
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "new.jsonl") as writer:
        writer.keep(Record(text="x"))
        raise KeyboardInterrupt
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl.gz", "out.jsonl"]


def test_places_that_cannot_be_written(tmp_path):
    path = write(tmp_path / "a.jsonl", [A])
    with pytest.raises(UserError, match="would be overwritten"): clean_file(path, tmp_path / "." / "a.jsonl")
    with pytest.raises(UserError, match="Cannot write"): clean_file(path, path / "out.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(UserError, match="Cannot write"): clean_file(path, tmp_path / "folder.jsonl", progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "folder.jsonl"]
    with pytest.raises(UserError, match="does not exist"): clean_file(tmp_path / "none.jsonl", tmp_path / "o.jsonl")


def test_counts_that_do_not_reconcile_are_a_fault(tmp_path):
    with pytest.raises(RuntimeError, match="1 entered, but 1 kept and 1 dropped"), writing(tmp_path / "a.jsonl") as writer:
        writer.entered = 1
        writer.keep(Record(text="x"))
        writer.drop(Drop(stage="s", reason="r"))
        writer.counts("s")
    assert not list(tmp_path.iterdir())


# ---- test items

def test_tokens():
    assert tokens("The CITY's “3.5” km, 城市Ａ_b") == ["the", "city", "s", "3", "5", "km", "城", "市", "a", "b"]


def test_overlap_by_13_tokens_or_the_whole_item():
    item = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    overlap = Overlap({"ceval": [item, "城市在河边有桥", "a b c"], "essayqa": ["nothing of the kind is here at all"]})
    assert overlap.of("Zero ONE, two three four five six seven eight nine ten eleven twelve; thirteen!") == ["ceval"]  # 13 in a row
    assert overlap.of(" ".join(item.split()[:12]) + " other") == [] and overlap.of("a b c") == [] and overlap.of("") == []
    row = overlap.table().set_index("benchmark").loc["ceval"]
    assert (row["items"], row["too short"], row["13-gram"], row["exact"], row["passages"]) == (3, 1, 1, 0, 1)
    assert overlap.of(f"So: {item}. And 城市，在河边有桥。") == ["ceval"]
    row = overlap.table().set_index("benchmark").loc["ceval"]
    assert (row["13-gram"], row["exact"], row["passages"]) == (2, 2, 2)
    assert overlap.table().set_index("benchmark").loc["essayqa", "passages"] == 0


def test_an_item_is_not_exact_inside_longer_words():
    overlap = Overlap({"ceval": ["art one two three four"]})
    assert overlap.of("start one two three four") == [] and overlap.of("art one two three fourteen") == [] and overlap.of("art one two three four") == ["ceval"]


def test_the_deliberate_overlap_is_explained_where_it_shows():
    overlap = Overlap({"squadqa": [A], "pubmedqa": [B]})
    assert not overlap.table()["note"].any()
    overlap.of(A + B)
    assert overlap.table()["note"].tolist() == [DELIBERATE["squadqa"], ""] and "deliberate" in DELIBERATE["squadqa"] and "4.2" in DELIBERATE["squadqa"]


def test_test_items_from_a_file(tmp_path):
    path = tmp_path / "tests.jsonl"
    path.write_text('{"benchmark": "ceval", "text": "a"}\n{"benchmark": "ceval", "text": "b"}\n{"benchmark": "x", "text": "c"}\n')
    assert read_tests(path) == {"ceval": ["a", "b"], "x": ["c"]}
    for line in '{"benchmark": "ceval"}', "5", '{"benchmark": 1, "text": "a"}':
        path.write_text('{"benchmark": "ceval", "text": "a"}\n' + line)
        with pytest.raises(UserError, match="tests.jsonl, line 2, field"): read_tests(path)


# ---- the corpus

@pytest.fixture
def folder(tmp_path):
    there = tmp_path / "mine"
    there.mkdir()
    (there / "a.txt").write_text(f"{A}\n\n{B}\n", encoding="utf-8")
    write(there / "b.jsonl", [A, ZH, ""])
    (there / "c.html").write_text(f"<p>{B}<p>", encoding="utf-8")
    (there / "f.md").write_text("Der Hund läuft im Wald herum und sucht seinen Herrn.", encoding="utf-8")
    (there / "d.txt").write_bytes(b"\x00\x01\x02")
    (there / "e.csv").write_text("id,body\n1,x\n")
    return there


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_corpus_of_a_folder(folder, tmp_path, suffix):
    out = tmp_path / f"corpus{suffix}"
    result = make_corpus([folder], out, MODEL, budget=120, progress=False)
    records, drops = read_records(out), read_drops(out.with_name(out.name + ".dropped.jsonl"))
    counts = result["counts"]
    assert (counts["kept"], counts["dropped"]) == (len(records), len(drops)) and counts["entered"] == len(records) + len(drops)
    assert counts["reasons"] == dict(sorted(Counter(d.reason for d in drops).items())) and result["overlap"] is None
    assert [p.split()[0] for p in result["problems"]] == [str(folder / "d.txt"), str(folder / "e.csv")]
    assert all(passage_again(r) == r.text for r in records) and {r.lang for r in records} == {"en", "zh"}
    kept = "".join("".join(r.text for r in records).split())
    assert all("".join(t.split()) in kept for t in (B, ZH)) and "Hund" not in kept
    assert all(d.record is not None for d in drops if d.stage == "cleaning") and {d.stage for d in drops} <= {"cleaning", "documents", "files"}
    assert not list(tmp_path.glob("*.tmp"))


def test_where_any_language_stays_each_is_found_out(folder, tmp_path):
    make_corpus([folder], tmp_path / "o.jsonl", MODEL, budget=120, rules=ANY, progress=False)
    assert {r.lang for r in read_records(tmp_path / "o.jsonl")} == {"en", "zh", "de"}


def test_what_is_no_text_is_in_the_ledger(tmp_path):
    (tmp_path / "a.txt").write_text(f"{A}\n\n/G21/G22/G23/G24 /G25/G26 /G27/G28\n\n{ZH}\n", encoding="utf-8")
    make_corpus([tmp_path / "a.txt"], tmp_path / "o.jsonl", MODEL, budget=120, progress=False)
    assert all("/G2" not in r.text for r in read_records(tmp_path / "o.jsonl"))


def test_a_corpus_in_the_folder_it_is_made_from_is_not_read(folder):
    first = make_corpus([folder], folder / "out.jsonl", MODEL, progress=False)
    content = (folder / "out.jsonl").read_bytes()
    assert make_corpus([folder], folder / "out.jsonl", MODEL, progress=False) == first and (folder / "out.jsonl").read_bytes() == content


def test_overlap_in_a_corpus_is_reported_and_removed_only_if_asked(folder, tmp_path):
    tests = {"pubmedqa": [B], "ceval": ["毫无关系的一道题目，任何地方都没有它。"]}
    told = make_corpus([folder], tmp_path / "a.jsonl", MODEL, budget=60, tests=tests, progress=False)
    gone = make_corpus([folder], tmp_path / "b.jsonl", MODEL, budget=60, tests=tests, remove=True, progress=False)
    assert told["overlap"].equals(gone["overlap"]) and told["overlap"].set_index("benchmark")["passages"].to_dict() == {"pubmedqa": 1, "ceval": 0}
    assert gone["counts"]["kept"] == told["counts"]["kept"] - 1 and gone["counts"]["reasons"]["overlaps with the test items of pubmedqa"] == 1


def test_where_nothing_is_left_nothing_is_written(folder, tmp_path):
    out = tmp_path / "out" / "corpus.jsonl"
    for paths, words in (([folder / "d.txt"], "d.txt is a binary file"), ([tmp_path / "none"], "none does not exist"), ([folder / "c.html"], "language en: .*Give other text")):
        with pytest.raises(UserError, match=words): make_corpus(paths, out, MODEL, rules=Rules(langs=("fr",)), progress=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no file in it"): make_corpus([tmp_path / "empty"], out, MODEL, progress=False)
    assert not list((tmp_path / "out").iterdir())


def test_a_corpus_is_refused_before_anything_is_read(folder, tmp_path):
    with pytest.raises(UserError, match="would be overwritten"): make_corpus([folder / "b.jsonl"], folder / "b.jsonl", MODEL)
    with pytest.raises(UserError, match="budget above 0"): make_corpus([folder], tmp_path / "o.jsonl", MODEL, budget=5, overlap=5)
    with pytest.raises(UserError, match="Unknown encoding"): make_corpus([folder / "a.txt"], tmp_path / "o.jsonl", MODEL, encoding="klingon")
    assert not (tmp_path / "o.jsonl").exists()


def test_an_overlap_of_passages_survives_the_search_for_near_repetitions(tmp_path):
    (tmp_path / "a.txt").write_text(" ".join(s + "." for t in sample(4, 40) for s in t.split(".")[:1]), encoding="utf-8")
    result = make_corpus([tmp_path / "a.txt"], tmp_path / "o.jsonl", MODEL, budget=400, overlap=100, progress=False)
    assert "nearly repeated" not in result["counts"]["reasons"]


def test_a_progress_bar_is_shown_on_a_terminal(tmp_path, monkeypatch, capsys):
    import tqdm
    monkeypatch.setattr(tqdm, "tqdm", lambda *a, **k: shown.append(k) or real(*a, **{**k, "disable": False, "mininterval": 0}))
    real, shown = tqdm.std.tqdm, []
    clean_file(write(tmp_path / "a.jsonl", [A, B]), tmp_path / "b.jsonl")
    assert shown[0]["total"] == (tmp_path / "a.jsonl").stat().st_size and shown[0]["disable"] is None and "100%" in capsys.readouterr().err
