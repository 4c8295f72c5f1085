"The real test sets: from native files to prompts and references, and what is said where they cannot be."
import csv
import json
from dataclasses import replace

import pytest

from stages import done

from aquilt.benchmarks import available, domain, draw_instructions, specialist_examples, suite, test_items as asked_items
from aquilt.data_sources import NONE
from aquilt.foundations.core import Record, UserError
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.runs import Run
from aquilt.reading import origins, testsets
from aquilt.reading.sources import as_test, find_source
from aquilt.specialists import Cell, specialist

REAL = replace(SMOKE, name="real", scene="real", passage_tokens=200, domain_passages=0, test_items=0)
SUITE, INVENTED = suite(REAL), suite(SMOKE)
TESTS = {"squadqa": "Squad", "pubmedqa": "PubMedQA", "ceval": "CEVAL", "translation": "Translation", "essayqa": "EssayQA"}
TEXTS = {"pubmedqa": "PubMedQA", "ceval": "Textbooks", "translation": "TranslationContexts", "essayqa": "EssayContexts"}
TEST_FILES = {"Squad": "dev-v1.1.json", "PubMedQA": "ori_pqal.json", "Translation": "5_3.json", "EssayQA": "5_4.json"}


@pytest.fixture
def sources(tmp_path, monkeypatch):
    "A folder for sources, the only place they come from."
    monkeypatch.setenv("AQUILT_SOURCES", str(tmp_path / "sources"))
    monkeypatch.delenv("AQUILT_PARTIAL", raising=False)
    (tmp_path / "sources").mkdir()
    return tmp_path / "sources"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def write_squad(sources):
    asked = [{"id": str(i), "question": f" Who is smith {i}? ", "answers": [{"text": "Jones", "answer_start": 3}, {"text": "Mr Jones", "answer_start": 0}, {"text": "Jones", "answer_start": 3}]} for i in range(3)]
    return write(sources / "Squad/dev-v1.1.json", {"version": "1.1", "data": [{"title": "Smiths", "paragraphs": [{"context": "Mr Jones is a smith.", "qas": asked}]}]})


def write_pubmedqa(sources, n=4):
    return write(sources / "PubMedQA/ori_pqal.json", {str(i): {"QUESTION": f"Does drug {i} help?", "CONTEXTS": ["Some had it.", "Others had not."], "final_decision": ["yes", "no", "maybe"][i % 3]} for i in range(n)})


def write_ceval(sources, answers=True, subjects=testsets.SUBJECTS):
    for subject in subjects:
        rows = [["id", "question", "A", "B", "C", "D", *(["answer"] if answers else [])], ["0", f"{subject}：金属是____", "铁", "木\n头", "3", "火", *(["A"] if answers else [])]]
        with write(sources / f"CEVAL/test/{subject}_test.csv", "").open("w", encoding="utf-8", newline="") as file: csv.writer(file).writerows(rows)


def items(name): return testsets.real_items(name, as_test(find_source(TESTS[name])))


def asked_of(run, benchmark): return done(run, specialist(run, Cell(benchmark, "qwen2-instruct", NONE, 0)))


def test_squad_has_every_answer_and_no_passage(sources):
    write_squad(sources)
    assert items("squadqa")[1] == {"prompt": " Who is smith 1? ", "references": ["Jones", "Mr Jones"]} and len(items("squadqa")) == 3


def test_pubmedqa_has_its_abstract_joined_without_a_blank(sources):
    write_pubmedqa(sources)
    found = items("pubmedqa")
    assert [i["references"] for i in found] == [["yes"], ["no"], ["maybe"], ["yes"]]
    assert found[0]["prompt"] == "Context:Some had it.Others had not. Based on the context above, please answer the following question:Does drug 0 help?"


def test_pubmedqas_own_list_of_test_questions_is_obeyed(sources):
    write_pubmedqa(sources)
    listed = write(sources / "PubMedQA/test_ground_truth.json", {"1": "no", "3": "yes"})
    assert [i["prompt"][-16:] for i in items("pubmedqa")] == ["oes drug 1 help?", "oes drug 3 help?"]
    listed.write_text('{"1": "no", "17": "yes"}')
    with pytest.raises(UserError, match="Only 1 of the 2 questions"): items("pubmedqa")
    for wrong, said in (("{", "is not JSON"), ("[1]", "is no list of answers by question"), ("{}", "is no list of answers by question")):
        listed.write_text(wrong)
        with pytest.raises(UserError, match=f"test_ground_truth.json {said}"): items("pubmedqa")


# ---- PubMedQA from the hub: the same 500

def hub_of(monkeypatch, numbers):
    "The hub in place of pqa_labeled: a row for each number, in its own shape."
    rows = [{"pubid": n, "question": f"Does {n} help?", "context": {"contexts": ["Some had it.", "Others had not."], "labels": ["AIM", "RESULTS"], "meshes": []}, "long_answer": "So.", "final_decision": ["yes", "no", "maybe"][n % 3]} for n in numbers]
    def read(source, *_):
        assert (source.hub, source.configs) == ("qiaojin/PubMedQA", ["pqa_labeled"])
        return rows
    monkeypatch.setattr(origins, "hub_rows", read)
    monkeypatch.delenv("AQUILT_SOURCES", raising=False)


def test_from_the_hub_the_same_500_are_asked(monkeypatch):
    ids = sorted(map(int, testsets.pubmedqa_test(None)[0]))
    hub_of(monkeypatch, [*range(1, 251), *ids[::-1], *range(300, 550)])
    found = items("pubmedqa")
    assert len(found) == 500 and [i["prompt"].rpartition("Does ")[2] for i in found] == [f"{n} help?" for n in reversed(ids)] and found[0]["references"] == [["yes", "no", "maybe"][ids[-1] % 3]]


def test_a_hub_without_one_of_the_500_is_one_sentence(monkeypatch):
    ids = sorted(map(int, testsets.pubmedqa_test(None)[0]))
    hub_of(monkeypatch, ids[1:])
    with pytest.raises(UserError, match="Only 499 of the 500 questions that .*pubmedqa_test.json names were found: get all of PubMedQA"): items("pubmedqa")
    hub_of(monkeypatch, range(1, 50))
    with pytest.raises(UserError, match="Only 0 of the 500"): items("pubmedqa")


def test_native_files_without_their_list_are_asked_for_the_500_too(sources):
    ids = sorted(testsets.pubmedqa_test(None)[0])
    rows = {i: {"QUESTION": f"Does {i} help?", "CONTEXTS": ["x"], "final_decision": "yes"} for i in [*ids, "1", "2"]}
    write(sources / "PubMedQA/ori_pqal.json", rows)
    assert len(items("pubmedqa")) == 500 and not any(i["prompt"].endswith("Does 1 help?") for i in items("pubmedqa"))
    write(sources / "PubMedQA/ori_pqal.json", {i: rows[i] for i in ids[:7]})
    with pytest.raises(UserError, match="Only 7 of the 500"): items("pubmedqa")


def test_the_carried_list_is_that_of_the_authors(shared):
    known, file = testsets.pubmedqa_test(None)
    data = json.loads(file.read_text(encoding="utf-8"))
    assert len(known) == len(data["ids"]) == 500 and data["licence"] == "MIT" and data["ids"] == sorted(data["ids"], key=int) and all(i.isdigit() for i in known)
    folder = shared / "data/pubmedqa"
    if not folder.is_dir(): pytest.skip(f"no samples at {folder}")
    listed, labeled = (set(json.loads((folder / f"{name}.subset.json").read_text(encoding="utf-8"))) for name in ("test_ground_truth", "ori_pqal"))
    assert len(listed) == 150 and labeled & known == listed, "of 300 real questions, the 150 of the test and none of the others"


def test_ceval_names_its_subject_and_keeps_its_options(sources):
    write_ceval(sources)
    found = items("ceval")
    assert len(found) == 8 and found[0]["options"] == {"A": "铁", "B": "木\n头", "C": "3", "D": "火"} and {tuple(i["references"]) for i in found} == {("A",)}
    assert [next(s for s in testsets.SUBJECTS.values() if f"下面是一道{s}考试" in i["prompt"]) for i in found] == list(testsets.SUBJECTS.values())
    assert "middle_school_geography：金属是____\nA. 铁 B. 木\n头 C. 3 D. 火" in found[0]["prompt"]


def test_ceval_without_answers_is_one_sentence(sources):
    write_ceval(sources, answers=False)
    with pytest.raises(UserError, match="8 of the 8 test items of CEVAL have no answer, or none that can be given: get its edition with answers"): items("ceval")


@pytest.mark.parametrize("answer, read", [("a", "A"), (" D ", "D"), ("AB", None), ("答案：C", None), ("E", None), ("0", None)])
def test_an_answer_of_ceval_is_a_letter(sources, answer, read):
    write_ceval(sources)
    write(sources / "CEVAL/test/marxism_test.csv", f"id,question,A,B,C,D,answer\n0,问,甲,乙,丙,丁,{answer}\n")
    if read: assert items("ceval")[6]["references"] == [read]
    else:
        with pytest.raises(UserError, match="1 of the 8 test items of CEVAL have no answer, or none that can be given"): items("ceval")


def test_an_empty_subject_is_not_passed_over(sources):
    write_ceval(sources)
    write(sources / "CEVAL/test/marxism_test.csv", "id,question,A,B,C,D,answer\n")
    with pytest.raises(UserError, match="CEVAL, 马克思主义基本原理: no test item was found"): items("ceval")


def test_the_files_of_a_clone_are_those_of_the_test(sources):
    import pandas
    for subject in testsets.SUBJECTS:
        for split in ("dev", "val", "test"):
            file = sources / f"CEVAL/{subject}/{split}-00000-of-00001.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pandas.DataFrame([{"id": 0, "question": f"{split} {subject}", "A": "甲", "B": "乙", "C": "丙", "D": "丁", "answer": "B"}]).to_parquet(file)
    assert len(items("ceval")) == 8 and all("\ntest " in i["prompt"] for i in items("ceval"))

def test_a_subject_that_is_not_there(sources):
    write_ceval(sources, subjects=list(testsets.SUBJECTS)[:7])
    with pytest.raises(UserError, match="mao_zedong_thought_test.csv"): items("ceval")


def test_a_question_without_its_options(sources):
    write_ceval(sources)
    write(sources / "CEVAL/test/marxism_test.csv", "id,question,A,B,answer\n0,问,甲,乙,A\n")
    with pytest.raises(UserError, match="the question '问' has 2 options instead of four"): items("ceval")


@pytest.mark.parametrize("name, file", [("translation", "Translation/5_3.json"), ("essayqa", "EssayQA/5_4.json")])
def test_lexeval_is_asked_as_it_asks(sources, name, file):
    write(sources / file, '{"instruction": "请翻译。\\n", "input": "法条：“一”", "answer": "One."}\n\n')
    assert items(name) == [{"prompt": "请翻译。\n法条：“一”", "references": ["One."]}]


@pytest.mark.parametrize("name", SUITE)
def test_a_test_set_that_is_not_there_is_one_sentence(sources, name):
    with pytest.raises(UserError, match=f"{TESTS[name]}") as e: items(name)
    assert "\n" not in str(e.value)


def test_all_test_items_are_asked_or_as_many_as_the_profile_wants(sources):
    write_pubmedqa(sources, 9)
    every, some = (asked_items(SUITE["pubmedqa"], replace(REAL, test_items=n)) for n in (0, 4))
    assert len(every) == 9 and some == every[:4] == asked_items(SUITE["pubmedqa"], replace(REAL, test_items=4))


# ---- the text of a domain

ENGLISH = ["The tenant shall pay the rent to the landlord on the first day of each month.", "Either party may end this contract by a notice in writing to the other party."]
CHINESE = ["承租人应当于每月第一日向出租人支付租金，逾期支付的应当承担违约责任。", "当事人一方可以书面通知对方解除本合同，对方有异议的可以向人民法院起诉。"]


def texts(run, name): return [r.text for r in run.records(f"domain/{name}")]


def test_each_legal_task_has_its_own_text_in_its_languages(sources, tmp_path):
    write(sources / "TranslationContexts/law.json", [{"context": t} for t in (*ENGLISH, ENGLISH[0], *CHINESE, " ")])
    write(sources / "EssayContexts/law.json", [*ENGLISH, *CHINESE])
    run = Run(REAL, tmp_path / "run")
    assert done(run, domain(run, SUITE["translation"]))["counts"]["kept"] == 4 and texts(run, "translation") == ENGLISH + CHINESE, "each text once, in its order"
    assert done(run, domain(run, SUITE["essayqa"]))["counts"]["kept"] == 2 and texts(run, "essayqa") == CHINESE
    assert [d.reason for d in run.drops("domain/essayqa")] == ["language en"] * 2
    assert {(r.task, r.source) for r in run.records("domain/essayqa")} == {("open_book_qa", "EssayContexts")} and run.result("domain/essayqa")["origin"] == str(sources / "EssayContexts")


def test_a_domain_without_text_in_its_language_is_one_sentence(sources, tmp_path):
    write(sources / "EssayContexts/law.json", ENGLISH)
    with pytest.raises(UserError, match="No passage of EssayContexts in .* is left for essayqa in zh"): done(Run(REAL, tmp_path / "run"), domain(Run(REAL, tmp_path / "run"), SUITE["essayqa"]))


def test_the_first_passages_are_counted_in_the_domains_language(sources, tmp_path):
    write(sources / "EssayContexts/law.json", [*ENGLISH, *CHINESE])
    run = Run(replace(REAL, domain_passages=1), tmp_path / "run")
    assert done(run, domain(run, SUITE["essayqa"]))["counts"] | {"reasons": 0} == {"entered": 4, "kept": 1, "dropped": 3, "reasons": 0} and texts(run, "essayqa") == CHINESE[:1]
    assert sorted(d.reason for d in run.drops("domain/essayqa")) == ["beyond the first 1", "language en", "language en"]


def test_squadqas_text_is_that_of_its_test(sources, tmp_path):
    write_squad(sources)
    run = Run(REAL, tmp_path / "run")
    done(run, domain(run, SUITE["squadqa"]))
    assert texts(run, "squadqa") == ["Mr Jones is a smith."]


def test_long_texts_are_cut_and_a_profile_may_want_fewer(sources, tmp_path):
    write(sources / "Textbooks/book.json", [{"article": "".join(f"第{i}条，{t}" for i in range(40) for t in CHINESE)}, *({"article": t + str(i)} for i, t in enumerate(CHINESE))])
    run, few = Run(REAL, tmp_path / "run"), Run(replace(REAL, domain_passages=1), tmp_path / "few")
    done(run, domain(run, SUITE["ceval"]))
    done(few, domain(few, SUITE["ceval"]))
    assert len(texts(run, "ceval")) > 10 and {r.document for r in few.records("domain/ceval")} == {run.records("domain/ceval")[0].document}


def test_other_files_make_the_stage_anew(sources, tmp_path, monkeypatch):
    write(sources / "TranslationContexts/law.json", [{"context": t} for t in ENGLISH])
    write(tmp_path / "other/TranslationContexts/law.json", [{"context": t} for t in CHINESE])
    run = Run(REAL, tmp_path / "run")
    done(run, domain(run, SUITE["translation"]))
    monkeypatch.setenv("AQUILT_SOURCES", str(tmp_path / "other"))
    done(run, domain(run, SUITE["translation"]))
    assert texts(run, "translation") == CHINESE
    write(tmp_path / "other/TranslationContexts/more.json", [{"context": t} for t in ENGLISH])
    done(run, domain(run, SUITE["translation"]))
    assert texts(run, "translation") == CHINESE + ENGLISH, "a file that came later"


def test_what_is_missing_is_said_at_once_or_left_out(sources, monkeypatch):
    with pytest.raises(UserError, match="ceval, translation, essayqa: the text of these benchmarks is not on the hub. Give --sources a folder with Textbooks .*EssayContexts .*--partial"): available(REAL)
    (sources / "EssayContexts").mkdir()
    monkeypatch.setenv("AQUILT_PARTIAL", "1")
    assert [b.name for b in available(REAL)] == ["squadqa", "pubmedqa", "essayqa"] and [b.name for b in available(SMOKE)] == list(INVENTED)


def test_a_run_does_not_begin_without_what_its_end_needs(sources, tmp_path, monkeypatch):
    from aquilt.runner.reproduce import reproduce
    for name, value in (("AQUILT_SET", '["scene=real"]'), ("AQUILT_FIGURES_DIR", str(tmp_path / "figures"))): monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="Textbooks"): reproduce("smoke", run_dir=tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.ipynb"))


@pytest.mark.parametrize("name", SUITE)
def test_text_that_is_not_there_is_one_sentence(sources, tmp_path, name):
    with pytest.raises(UserError, match=TEXTS.get(name, TESTS[name])) as e: done(Run(REAL, tmp_path / "run"), domain(Run(REAL, tmp_path / "run"), SUITE[name]))
    assert "\n" not in str(e.value) and not (tmp_path / f"run/domain/{name}/result.json").exists()


def test_a_file_without_text(sources):
    write(sources / "Textbooks/book.json", [])
    with pytest.raises(UserError, match="Textbooks holds no text: get all of its files"): testsets.real_documents(find_source("Textbooks"))


def test_instructions_of_real_translations_go_into_the_other_language():
    passages = [Record(text="x", lang=lang) for lang in ("en", "zh") * 30]
    said = draw_instructions(SUITE["translation"], passages)
    assert all(("翻译成中文：" if r.lang == "en" else "翻译成英文：") in s for r, s in zip(passages, said)) and len(set(said)) == 8, "four kinds in two directions"
    assert said == draw_instructions(SUITE["translation"], passages) and draw_instructions(SUITE["squadqa"], passages) == []
    assert set(draw_instructions(INVENTED["translation"], passages)) <= {i for pair in INVENTED["translation"].instructions() for i in pair}


def test_an_essay_is_trained_on_as_it_is_tested(sources):
    write(sources / "EssayQA/5_4.json", '{"instruction": "请论述。\\n", "input": "案情\\n问题：为什么？", "answer": "因为。"}\n')
    record = Record(text="案情", lang="zh", question="请论述。为什么？", answer="因为。")
    assert draw_instructions(SUITE["essayqa"], [record]) == ["请论述。"]
    (prompt, _), = specialist_examples(SUITE["essayqa"], [record])
    assert prompt[0]["content"] == items("essayqa")[0]["prompt"] == "请论述。\n案情\n问题：为什么？"
    closed = suite(replace(REAL, essay_reading="closed"))["essayqa"]
    (prompt, _), = specialist_examples(closed, [record])
    assert prompt[0]["content"] == "请论述。为什么？" and closed.items(REAL)[0]["prompt"] == "请论述。\n案情\n问题：为什么？", "4.2: closed-book, and the test comes with its case"
    write(sources / "EssayQA/5_4.json", '{"input": "案情", "answer": "因为。"}\n')
    with pytest.raises(UserError, match="has no instruction"): draw_instructions(SUITE["essayqa"], [record])


def test_a_real_test_is_asked_and_scored(sources, tmp_path):
    write_pubmedqa(sources, 6)
    result = asked_of(Run(replace(REAL, test_items=5, answer_tokens=4), tmp_path / "run"), SUITE["pubmedqa"])
    assert result["settings"]["test"][0].startswith(str(sources / "PubMedQA")) and result["n"] == 5 and {len(s) for s in result["scores"].values()} == {5} and result["examples"] == 0


# ---- the samples of the real files

def test_the_real_test_sets(sources, shared, tmp_path):
    data, links = shared / "data", [("Squad", "squad_v1.1/dev*", "dev-v1.1.json"), ("PubMedQA", "pubmedqa/ori_pqal*", "ori_pqal.json"), ("PubMedQA", "pubmedqa/test_ground_truth*", "test_ground_truth.json"),
                                    ("Translation", "lexeval/5_3*", "5_3.json"), ("EssayQA", "lexeval/5_4*", "5_4.json"), ("CEVAL", "ceval/test/*", "test/{}")]
    for name, pattern, link in links:
        for file in data.glob(pattern):
            (at := sources / name / link.format(file.name)).parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(file)
    found = {name: items(name) for name in SUITE if name != "ceval"}
    print({name: len(of) for name, of in found.items()})
    assert {name: len(of) for name, of in found.items() if name != "pubmedqa"} == {"squadqa": 299, "translation": 125, "essayqa": 250} and 0 < len(found["pubmedqa"]) <= 150
    assert max(len(i["references"]) for i in found["squadqa"]) > 1 and {r for i in found["pubmedqa"] for r in i["references"]} == {"yes", "no", "maybe"}
    assert all(i["prompt"].startswith("请完成以下法律场景的翻译任务") for i in found["translation"]) and all("问题" in i["prompt"] or len(i["prompt"]) > 80 for i in found["essayqa"])
    with pytest.raises(UserError, match="480 of the 480 test items of CEVAL have no answer"): items("ceval")
    for file in (sources / "CEVAL/test").iterdir(): file.unlink()
    for file in (data / "ceval/val").iterdir(): (sources / "CEVAL/test" / file.name.replace("_val", "_test")).symlink_to(file)
    for name in SUITE:
        result = asked_of(Run(replace(REAL, test_items=2, answer_tokens=3), tmp_path / "run"), SUITE[name])
        assert result["n"] == 2 and all(len(values) == 2 for values in result["scores"].values()), "asked and scored"
    choices = items("ceval")
    assert len(choices) > 90 and all(i["references"][0] in "ABCD" and list(i["options"]) == list("ABCD") for i in choices)


def test_subjects_have_the_names_of_c_eval(shared):
    file = shared / "data/ceval/subject_mapping.json"
    if not file.is_file(): pytest.skip(f"no list of subjects at {file}")
    names = json.loads(file.read_text(encoding="utf-8"))
    assert {subject: names[subject][1] for subject in testsets.SUBJECTS} == testsets.SUBJECTS and list(testsets.SUBJECTS) == find_source("CEVAL").configs
