"""Edge cases of the prompts: files, slots, messages, and replies as models write them."""
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquilt.foundations import prompt
from aquilt.foundations.core import record_files, LANGS, TASKS, UserError

EVERY = [(name, lang) for lang in LANGS for name in prompt.prompt_names(lang)]
BENCHMARKS = ("squadqa", "pubmedqa", "ceval", "translation", "essayqa")
letters = st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n\t")  # control characters are no text
written = st.text(letters, min_size=1).filter(str.strip)  # a value that is not blank


@pytest.mark.parametrize(("name", "lang"), EVERY)
def test_every_file_is_text_with_plain_quotes(name, lang):
    raw = (prompt.FOLDER / lang / f"{name}.txt").read_bytes()
    text = raw.decode("utf-8")
    assert text.strip() and text.endswith("\n") and b"\r" not in raw
    assert not set(text) & set("“”‘’«»„‟")
    assert text.count("```") % 2 == 0 and '"""' not in text
    assert text.count("[user]") <= 1 and text.count("[[") == len(prompt.SLOT.findall(text))


@pytest.mark.parametrize(("name", "lang"), EVERY)
def test_every_prompt_renders_with_exactly_its_slots(name, lang):
    slots = dict.fromkeys(prompt.SLOT.findall(prompt.template(name, lang)), "VALUE")
    assert "[[" not in prompt.render(name, lang, **slots)
    with pytest.raises(UserError, match="nonsense"):
        prompt.render(name, lang, **slots, nonsense="x")
    for slot in slots:
        with pytest.raises(UserError, match=slot):
            prompt.messages(name, lang, **{other: "x" for other in slots if other != slot})


def test_everything_the_paper_prints_is_there():
    english = set(prompt.prompt_names("en"))
    assert english >= {f"task/{task}" for task in TASKS} | {f"{kind}/{name}" for kind in ("general", "evaluation") for name in BENCHMARKS}
    assert english >= {"distillation", "logic", "inspection", "self_inspection", "independence"}
    assert len([name for name in english if name.startswith("self_instruct/")]) == 3
    assert {f"task/{task}" for task in TASKS} <= set(prompt.prompt_names("zh"))
    assert prompt.prompt_names("fr") == []


def test_the_readme_names_every_english_file_or_its_folder():
    readme = (prompt.FOLDER / "README.md").read_text(encoding="utf-8")
    for name, lang in EVERY:
        assert f"`{lang}/{name}.txt`" in readme or f"`{lang}/{name.split('/')[0]}/*.txt`" in readme


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("task", TASKS)
def test_task_prompts_show_json_with_the_keys_that_are_read_back(task, lang):
    example = re.search(r"```json\n(.*)\n```$", prompt.template(f"task/{task}", lang), re.S)
    assert tuple(json.loads(example[1])) == prompt.QA_KEYS


def test_unknown_names_languages_and_tasks_are_one_sentence():
    for bad in (
        lambda: prompt.template("no_such"),
        lambda: prompt.template("../en/logic"),
        lambda: prompt.template("distillation", "zh"),
        lambda: prompt.synthesis_prompt("x", "closed_book", "en"),
        lambda: prompt.synthesis_prompt("x", "closed_book_qa", "fr"),
        lambda: prompt.distillation_messages("x", "translation"),
        lambda: prompt.logic_messages("x", "q", "a", "extractive_qa", "fr"),
        lambda: prompt.logic_messages("x", "q", "a", "poetry"),
        lambda: prompt.inspection_messages("x", "q", "l", "a", "fr"),
        lambda: prompt.evaluation_prompt("mmlu", question="x"),
        lambda: prompt.evaluation_prompt("squadqa", "zh", question="x"),
        lambda: prompt.evaluation_prompt("squadqa", context="x", question="x"),
    ):
        with pytest.raises(UserError) as caught:
            bad()
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_values_are_never_filled_or_split_themselves():
    text = "See [[question]], {brace} and \\1.\n[user]\n[[text]]"
    for built in (prompt.distillation_messages(text, "single_choice"), prompt.logic_messages(text, "q", "a", "single_choice"), prompt.inspection_messages(text, "q", "l", "a")):
        assert [message["role"] for message in built] == ["system", "user"]
        assert text in built[1]["content"]
    assert text in prompt.synthesis_prompt(text, "single_choice", "zh")


def test_slots_may_be_called_name_and_lang():
    with pytest.raises(UserError, match="no slot 'lang'"):
        prompt.render("evaluation/squadqa", question="x", lang="zh")


def test_a_file_without_a_user_part_is_one_user_message():
    built = prompt.messages("self_instruct/input", instruction="i", n=2, input_examples="a\nb")
    assert [message["role"] for message in built] == ["user"] and "Below are 2 [input] examples:\na\nb" in built[0]["content"]
    assert [message["role"] for message in prompt.messages("self_instruct/output", domain="law", question="q")] == ["system", "user"]


@pytest.mark.parametrize("task", TASKS)
def test_the_meta_prompt_is_filled_for_every_task_and_says_the_language(task):
    pair = prompt.requirements()[task]
    system, user = prompt.distillation_messages("一段文字", task, "zh")
    assert all(pair[key] in system["content"] for key in ("task_type", "question", "thought"))
    assert "{{The question you create}}" in system["content"] and "{Task Type}" not in system["content"]
    assert user["content"].startswith("<text>\n一段文字\n</text>\n") and "中文" in user["content"]
    assert "English" in prompt.distillation_messages("x", task)[1]["content"]


def test_hashes_belong_to_the_text_and_do_not_move():
    # one of the release's prompts has the printed line breaks, too
    hashes = [prompt.prompt_hash(name, lang) for name, lang in EVERY if not name.startswith("official/")]
    assert len(set(hashes)) == len(hashes)
    # a change here means that records made before and after it are of different experiments
    assert prompt.prompt_hash("distillation") == "99693302ef25a9ef"
    assert prompt.prompt_hash("self_inspection") == "f02e3b0e4ce50082"


def test_strings_end_where_the_fence_begins():
    for lang in LANGS:
        assert prompt.synthesis_prompt("x", "open_book_qa", lang).endswith((":\n", "：\n"))
    asked = prompt.self_inspection_prompt("t", 'a "q"', "l", "a")
    assert asked.endswith(":\n") and '{"question": "a \\"q\\"", "thinking_steps": "l", "answer": "a"}' in asked


@given(written, written, written)
def test_what_is_written_is_read_back(question, logic, answer):
    completion = prompt.completion_json(question, logic, answer)
    assert prompt.parse_json_object(completion, prompt.QA_KEYS) == {"question": question, "thinking_steps": logic, "answer": answer}
    assert prompt.parse_json_object(f"Sure.\n{completion}\nDone {{x}}.", prompt.QA_KEYS)["answer"] == answer
    bare = prompt.completion_json(question, logic, answer, with_logic=False)
    assert prompt.parse_json_object(bare, ("question", "answer")) == {"question": question, "answer": answer}
    with pytest.raises(ValueError, match="thinking_steps"):
        prompt.parse_json_object(bare, prompt.QA_KEYS)


@given(written, st.integers(1, 5))
def test_an_inspection_is_read_back(analysis, score):
    read = prompt.parse_json_object(prompt.inspection_json(analysis, score), prompt.INSPECTION_KEYS)
    assert read["analysis_steps"] == analysis and prompt.parse_score(read["score"]) == score


@given(st.text(letters), st.text(letters), written, written)
def test_a_forced_prefix_is_the_beginning_of_the_completion(instruction, rest, logic, answer):
    prefix, whole = prompt.forced_prefix(instruction), prompt.completion_json(instruction + rest, logic, answer)
    assert whole.startswith(prefix)
    read = prompt.parse_json_object(prefix + '?", "thinking_steps": "t", "answer": "a"}\n```', prompt.QA_KEYS)
    assert read["question"] == instruction.rstrip(" ") + "?"


def test_a_forced_prefix_leaves_the_blank_to_the_model():
    assert prompt.forced_prefix("Translate: ") == prompt.forced_prefix("Translate:") and prompt.forced_prefix("Translate:").endswith('"Translate:')


@given(st.one_of(st.text(), st.text(alphabet='{}[]":,`json\\ \nab1')))
def test_any_reply_is_read_or_refused_with_a_reason(reply):
    try:
        assert set(prompt.parse_json_object(reply, ("a", "b"))) == {"a", "b"}
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ('{"a": "x\ny\tz", "b": "1"}', ("x\ny\tz", "1")),  # raw control characters
        ('{"a": "x", "b": "1",}', ("x", "1")),  # a trailing comma
        ('{"a": "x", "b": "1"} and so on', ("x", "1")),  # trailing text
        (r'{"a": "\alpha + \lambda", "b": "1"}', (r"\alpha + \lambda", "1")),  # LaTeX
        ('{"a": "he said "yes" twice", "b": "1"}', ('he said "yes" twice', "1")),  # quotes unescaped
        ("{“a”: “x”, “b”: “1”}", ("x", "1")),  # typographic quotes
        ('{"A": "x", " b ": 1}', ("x", "1")),  # keys and types
        ('{"a": ["x", "y"], "b": {"A": "p", "B": "q"}}', ("x\ny", "A: p\nB: q")),
        ('Fill {this} in:\n```json\n{"a": "x", "b": "1"}\n```', ("x", "1")),  # a brace before the fence
        ('{"a": "write ```json\\n{\\n```", "b": "1"}', ("write ```json\n{\n```", "1")),  # a fence inside a value
        ('```json\n{"a": "so "x"", "b": "1"}\n```\n```json\n{"a": "2", "b": "2"}\n```', ("2", "2")),  # the last of two
        ('```\n{"a": "x", "b": "1"', ("x", "1")),  # no end
    ],
)
def test_replies_as_models_write_them(reply, values):
    assert tuple(prompt.parse_json_object(reply, ("a", "b")).values()) == values


@pytest.mark.parametrize("reply", ["", "no object", "[1, 2]", "{", '{"a": "x"}', '{"a": "x", "b": null}', '{"a": "x", "b": " "}', '{"a":' * 20000, '{"a": ' + "9" * 5000 + "}"])
def test_unreadable_replies_have_a_reason(reply):
    with pytest.raises(ValueError):
        prompt.parse_json_object(reply, ("a", "b"))


def test_both_spellings_of_the_thought_process_are_read():
    for key in ("thought process", "thought_process", "Thought Process"):
        reply = json.dumps({"question": "q", key: "t", "answer": "a"})
        assert prompt.parse_json_object(reply, prompt.META_KEYS)["thought process"] == "t"
        assert prompt.parse_json_object(reply, prompt.LOGIC_KEYS) == {"thought_process": "t"}


@pytest.mark.parametrize(("value", "score"), [("1", 1), (" 3 ", 3), (5, 5), (4.0, 4), ("4.7", 4), ("4/5", 4), ("4分", 4)])
def test_scores_are_whole_numbers_from_one_to_five(value, score):
    assert prompt.parse_score(value) == score


@pytest.mark.parametrize("value", ["", "good", "xxx", "four", None, "nan", "²", "6", "100", "0", "-2"])
def test_an_unreadable_score_is_an_error(value):
    with pytest.raises(ValueError, match="score"):
        prompt.parse_score(value)


# ---- prompts without logic

@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_prompt_without_logic_differs_by_deletions_only(task, lang):
    whole, less = prompt.template(f"task/{task}", lang), iter(prompt.template(f"task/{task}", lang))
    bare = prompt.template(f"task_without_logic/{task}", lang)
    assert all(character in less for character in bare) and len(bare) < len(whole), "a subsequence of its sister"
    assert "thinking" not in bare and "步骤" not in bare and '{"question": "xxx", "answer": "xxx"}' in bare


@pytest.mark.parametrize("lang", LANGS)
def test_without_logic_nobody_sees_or_writes_any(lang):
    asked = [prompt.synthesis_prompt("THE TEXT", "closed_book_qa", lang, with_logic=False), prompt.self_inspection_prompt("THE TEXT", "q", "THE LOGIC", "a", with_logic=False),
             prompt.inspection_messages("THE TEXT", "q", "THE LOGIC", "a", lang, with_logic=False)[1]["content"], prompt.completion_json("q", "THE LOGIC", "a", with_logic=False)]
    assert not any("LOGIC" in text or "thinking" in text for text in asked)


# ---- which files are read

def test_a_template_is_noted_each_time_although_it_is_read_once():
    prompt.template("logic")
    for _ in range(2):
        with record_files() as read: prompt.template("logic")
        assert read == {"prompts/en/logic.txt"}


def test_the_files_of_a_request_are_those_noted():
    with record_files() as read: prompt.distillation_messages("u", "closed_book_qa", "zh")
    assert read == {"prompts/en/distillation.txt", "prompts/en/requirements.toml", "prompts/zh/reply_language.txt"}


def test_recorders_may_be_nested_and_equal():
    with record_files() as outer:
        with record_files() as inner: prompt.template("logic")
        prompt.template("correction")
    assert inner == {"prompts/en/logic.txt"} and outer == {"prompts/en/logic.txt", "prompts/en/correction.txt"}


def test_an_edited_template_counts_at_once(monkeypatch, tmp_path):
    (tmp_path / "prompts/en").mkdir(parents=True)
    (tmp_path / "prompts/en/logic.txt").write_text("one")
    monkeypatch.setattr("aquilt.foundations.core.PACKAGE", tmp_path)
    assert prompt.template("logic") == "one"
    (tmp_path / "prompts/en/logic.txt").write_text("two, which is longer")
    assert prompt.template("logic") == "two, which is longer"
