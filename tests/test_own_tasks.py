"""A task outside the paper's ten, from its file to a specialist's score: word problems with arithmetic about the miniature's products. And what a file of tasks must be."""
import json
import random
import re
from collections import Counter

import pytest

from aquilt.benchmarks import chat_example, specialist_target
from aquilt.corpus import associate
from aquilt.filtering import card, filter_records, stands_alone
from aquilt.foundations.core import TASKS, Record, UserError, record_files
from aquilt.foundations.profiles import SMOKE
from aquilt.foundations.prompt import distillation_messages, synthesis_prompt
from aquilt.foundations.runs import why_again
from aquilt.foundations.tasks import check_task, own_tasks, read_tasks, task_names
from aquilt.miniature import server
from aquilt.miniature.teacher import language_of
from aquilt.miniature.world import draw_passage
from aquilt.models.engines import Completion
from aquilt.own import domain
from aquilt.synthesis import Order, synthesize_file, writers_of
from stages import done

FILE = '''
[word_problem]
name = "arithmetic word problem"
chinese = "算术应用"
needs_passage = false
question = "The problem states every number that is needed, and asks for one that is not stated;"
thought = "1. Name the numbers that are given. 2. Choose the operation. 3. Calculate;"
answer = "One number, without a unit."
[word_problem.instruction]
en = "Write an arithmetic word problem about the things in the reference materials."
zh = "根据参考资料出一道算术应用题。"
'''
ASKED = {"en": "{e} costs {a} coins, and its delivery {b} coins. How many coins are both together?", "zh": "{e}的价格是{a}元，运费是{b}元。一共多少元？"}


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    "The file, in force."
    file = tmp_path / "tasks.toml"
    file.write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("AQUILT_TASKS", str(file))
    return file


# ---- the file

@pytest.mark.parametrize("old, new, said", [
    ("word_problem", "Word Problem", "TOML"), ("word_problem", "Word", "cannot be called 'Word'"), ("word_problem", "closed_book_qa", "cannot be called"), ('name = "arithmetic word problem"', "", "field name"), ("needs_passage = false", 'needs_passage = "no"', "field needs_passage"),
    ("needs_passage = false", "", "field needs_passage"), ('answer = "One number, without a unit."', 'answer = " "', "field answer"), ('thought = "', 'thoughts = "', "field thought"), ("\nzh = ", "\nde = ", "de is no language here"),
    ('en = "Write an arithmetic word problem about the things in the reference materials."\nzh = "根据参考资料出一道算术应用题。"', "", "field instruction: empty"), (FILE, "", "holds no task"), (FILE, "task = 5", "field the table"), (FILE, "[" * 100_000, "TOML")])
def test_a_file_of_tasks_that_is_wrong_is_one_sentence(tasks, old, new, said):
    assert old in FILE
    tasks.write_text(FILE.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(said)) as e: read_tasks(tasks)
    assert str(tasks) in str(e.value) and "\n" not in str(e.value)
    with pytest.raises(UserError): check_task("closed_book_qa")  # what is in force is read before it is believed


def test_no_file_leaves_the_ten(monkeypatch, tmp_path):
    monkeypatch.delenv("AQUILT_TASKS", raising=False)
    assert task_names() == TASKS and own_tasks() == {}
    monkeypatch.setenv("AQUILT_TASKS", str(tmp_path / "gone.toml"))
    with pytest.raises(UserError, match="does not exist as a file of tasks"): task_names()


def test_prompts_have_the_facts_of_the_file(tasks):
    system, user = distillation_messages("A text [[slot]].", "word_problem", "zh")
    assert "useful arithmetic word problem Q&A pairs" in system["content"] and "The form of the answer: One number" in system["content"] and "Calculate;" in system["content"] and "[[slot]]" in user["content"]
    for lang, name in (("en", "Write the arithmetic word problem question"), ("zh", "用 JSON 写出算术应用题：")):
        asked = synthesis_prompt("A text.", "word_problem", lang)
        assert name in asked and own_tasks()["word_problem"].instruction[lang] in asked and '{"question": "xxx", "thinking_steps": "xxx", "answer": "xxx"}' in asked and "One number" in asked
    assert "thinking_steps" not in synthesis_prompt("A text.", "word_problem", "en", with_logic=False)
    tasks.write_text(FILE.replace("\nzh = ", "\n# zh = "), encoding="utf-8")
    with pytest.raises(UserError, match="has no instruction in 'zh'"): synthesis_prompt("A text.", "word_problem", "zh")


def test_an_edited_file_counts_at_once_and_makes_stale_what_it_decided(tasks, tmp_path, monkeypatch):
    from aquilt.foundations.runs import Run, Stage
    run = Run(SMOKE, tmp_path / "run")
    stage = Stage("s", lambda folder: {"asked": distillation_messages("t", "word_problem")[0]["content"]})
    first = done(run, stage)
    assert why_again(run, stage) == [] and str(tasks) in first["files"]
    tasks.write_text(FILE.replace("Calculate", "Compute"), encoding="utf-8")
    assert why_again(run, stage) == [f"{tasks} has changed"] and "Compute" in done(run, stage)["asked"]
    with record_files() as read: card(Record(question="q", task="word_problem"))
    assert str(tasks) in read


def test_a_question_may_lean_where_the_file_says_so(tasks):
    leans = Record(question="What does the text say about the price?", task="word_problem")
    assert stands_alone("word_problem") and not filter_records([leans], SMOKE)[0]
    tasks.write_text(FILE.replace("needs_passage = false", "needs_passage = true"), encoding="utf-8")
    assert not stands_alone("word_problem") and filter_records([leans], SMOKE)[0] == [leans]
    assert stands_alone("closed_book_qa") and not stands_alone("open_book_qa")


def test_a_teacher_meets_each_passage_once(tasks):
    few = [Record(text=str(i)) for i in range(3)]
    assert Counter(r.task for r in associate(few, 9, 0, ("word_problem", "single_choice"), again=False)) == {"word_problem": 3, "single_choice": 3}


# ---- from file to score

def problem(text):
    "A word problem about the first two numbers of a passage, its solution and its answer."
    a, b = map(int, re.findall(r"\d+", text)[:2])
    lang = language_of(text)
    entity = re.search(r"product (\w+)|产品([\u4e00-\u9fff]{3})", text)
    return ASKED[lang].format(e=next(filter(None, entity.groups())), a=a, b=b), f"{a} + {b} = {a + b}", str(a + b)


def taught(real):
    "The miniature's teacher, who can also write and score word problems."
    def reply(messages, *more):
        system, user = messages[0]["content"], messages[-1]["content"]
        if "arithmetic word problem" in system:
            question, logic, answer = problem(server.tagged(user, "text"))
            return json.dumps({"question": question, "thought process": logic, "answer": answer}, ensure_ascii=False)
        if pair := server.tagged(user, "qa_pair"):
            pair = json.loads(pair)
            right = len(numbers := re.findall(r"\d+", pair["question"])) == 2 and pair["answer"] == str(sum(map(int, numbers)))
            return json.dumps({"analysis_steps": "The sum is right." if right else "The sum is wrong.", "score": 5 if right else 1})
        return real(messages, *more)
    return reply


def failures(problems, completions):
    "What became of each: right, a wrong number, no number, or no end."
    def of(asked, completion: Completion):
        said = completion.text.split("Answer:")[-1].strip()
        if completion.finish_reason != "stop": return "no end"
        if not re.fullmatch(r"\d+", said): return "no number"
        return "right" if said == asked[2] else "a wrong number"
    return Counter(of(p, c) for p, c in zip(problems, completions))


def products(n, seed, split="distillation", largest=None):
    "Passages about products in both languages that state two prices; with `largest` no number is larger."
    rng, found = random.Random(seed), []
    while len(found) < n:
        lang = ("en", "zh")[len(found) % 2]
        text = draw_passage(rng, "product", "reviews", lang, split)
        numbers = [int(m) for m in re.findall(r"\d+", text)]
        if len(numbers) >= 2 and (not largest or max(numbers) <= largest): found.append(text)
    return found


def from_file_to_score(folder, monkeypatch, sizes, n, items, recipe):
    "A project of word problems alone, end to end; the counts of a specialist's failures, and of the stages."
    from aquilt.models.engines import Prompt, Sampling, model_path
    from aquilt.models.vllm_engine import engine_for
    from aquilt.training import train_lora
    monkeypatch.setattr(domain, "do_all", lambda run, stages: [done(run, stage) for stage in stages])
    monkeypatch.setattr(server, "reply", taught(server.reply))
    (folder / "text").mkdir(parents=True)
    for i, text in enumerate(products(n, 1)): (folder / "text" / f"{i}.txt").write_text(text, encoding="utf-8")
    (folder / "tasks.toml").write_text(FILE, encoding="utf-8")
    with server.teacher_server() as url:
        (folder / "aquilt.toml").write_text(f'text = ["text"]\ntasks = ["word_problem"]\ntask_file = "tasks.toml"\nteacher = "miniature-teacher@{url}"\nprofile = "smoke"\n[settings]\n{sizes}')
        run = domain.open_project(domain.read_project(folder))
        domain.distil(run)
        domain.fit(run)
    out = folder / "records.jsonl"
    made = synthesize_file(run.folder("corpus") / "records.jsonl", out, Order(run.profile.tasks, samples=n), writers_of(run), run.profile)
    records = run.records("distillation")
    examples = [chat_example(r.question, specialist_target(r)) for r in records]
    train_lora(model_path("qwen2-instruct"), examples, folder / "specialist", recipe)
    asked = [problem(text) for text in products(items, 2, "held_out")]
    engine = engine_for(run.profile, model_path("qwen2-instruct"))
    said = engine.generate([Prompt([{"role": "user", "content": q}]) for q, *_ in asked], Sampling(0.0, 1.0, 60), str(folder / "specialist" / "adapter"))
    return failures(asked, said), {stage: run.result(stage)["counts"] for stage in ("distillation", "filtering", "inspection_data")} | {"synthesize": made}, records


def test_a_task_outside_the_ten_from_file_to_score(tmp_path, monkeypatch):
    from aquilt.training import Recipe
    monkeypatch.delenv("AQUILT_TASKS", raising=False)
    monkeypatch.setenv("AQUILT_TASKS", "")
    found, counts, records = from_file_to_score(tmp_path / "mine", monkeypatch, "epochs = 10\nbatch_size = 4\ninspected = 8\ninspection_epochs = 1\nlow_score = 0\n", 12, 4, Recipe(1e-2, 4, 2, 16, 640, "float32", 0))
    assert counts["distillation"]["kept"] == counts["filtering"]["kept"] == 12 and counts["inspection_data"]["entered"] >= 16
    assert {r.task for r in records} == {"word_problem"} and all(r.answer == problem(r.text)[2] for r in records)
    assert counts["synthesize"]["entered"] >= 12 and sum(found.values()) == 4
