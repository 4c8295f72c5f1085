"""The stand-in for DeepSeek-V3: its pairs are right, its planted faults are seen by the judge, and it serves as an OpenAI-compatible server does."""
import json
import random
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.foundations.core import TASKS
from aquilt.foundations.prompt import INSPECTION_KEYS, LOGIC_KEYS, META_KEYS, distillation_messages, inspection_messages, logic_messages, messages, parse_json_object, parse_score
from aquilt.miniature.questions import ask, concluded, conclusion, other_values, value, word
from aquilt.reading.sources import list_sources
from aquilt.miniature.scoring import composed, judge, leans, logic_quality, offers_twice, right_answer, wording
from aquilt.miniature.teacher import explain, guess_task, language_of, name_list, options_of, tagged, task_of, with_faults, write_pair
from aquilt.miniature.server import reply, teacher_server
from aquilt.miniature.world import LANG, draw_entity, draw_passage, grammar, read_facts, show, state, write_passage

KINDS, DOMAINS = list(grammar()["kinds"]), list(grammar()["domains"])
GENERAL = {"squadqa": "extractive_qa", "pubmedqa": "natural_language_inference", "ceval": "single_choice", "translation": "translation", "essayqa": "closed_book_qa"}
each_task = pytest.mark.parametrize("task", TASKS)
each_lang = pytest.mark.parametrize("lang", list(LANG))


def passages(lang, n=3, kinds=KINDS):
    "`n` passages of each kind, and a generator of random numbers for each."
    for i, kind in enumerate(kinds):
        for seed in range(n):
            rng = random.Random(f"{kind}/{lang}/{seed}")
            yield draw_passage(rng, kind, DOMAINS[(i + seed) % len(DOMAINS)], lang, "distillation"), rng


# ---- pairs without fault

@each_task
@each_lang
def test_a_pair_is_judged_good_and_without_fault(task, lang):
    for text, rng in passages(lang, 7):
        question, logic, answer = write_pair(task, text, lang, rng)
        score, analysis = judge(task, text, question, logic, answer, lang)
        assert score >= 4 and all(word(w, lang).strip() in analysis for w in ("stands", "sound", "right")), (text, question, logic, answer, analysis)
        assert right_answer(task, text, question, answer, lang) and logic_quality(task, text, question, logic, answer, lang) == "sound" and not leans(question)


@each_task
@each_lang
def test_a_pair_is_whole_and_in_one_language(task, lang):
    for text, rng in passages(lang):
        pair = write_pair(task, text, lang, rng)
        assert all(part.strip() == part.strip() != "" and not re.search(r"[{}\0]", part) for part in pair)
        assert {language_of(part) for part in pair if re.search("[a-z\u4e00-\u9fff]", part)} == {lang}


@each_task
@each_lang
def test_a_seed_decides_a_pair(task, lang):
    text = next(passages(lang))[0]
    pairs = [write_pair(task, text, lang, random.Random(seed)) for seed in (*range(12), *range(12))]
    assert pairs[:12] == pairs[12:] and len(set(pairs[:12])) > 1


@each_lang
@pytest.mark.parametrize("task", [t for t in TASKS if t not in ("extractive_qa", "closed_book_qa")])
def test_a_questions_shape_betrays_its_task(task, lang):
    for text, rng in passages(lang): assert guess_task(write_pair(task, text, lang, rng)[0]) == task


@each_task
@pytest.mark.parametrize("text, lang", [("", "en"), ("Paris is the capital of France.", "en"), ("城市巴贝建于1200年。", "en"), ("The city BaBe was founded in 1200.", "zh"), ("The river BaBe flows into the DaDe Sea.", "en")])
def test_a_passage_that_says_nothing_of_this_world_is_refused(task, text, lang):
    with pytest.raises(ValueError, match="states no fact"): write_pair(task, text, lang, random.Random(0))


# ---- planted faults are seen

def wrong_answer(task, text, question, answer, lang, rng):
    "An answer of the task's form that is wrong."
    facts = [f for f in read_facts(text, lang) if f.entity]
    if task == "single_choice": return rng.choice([o for o in options_of(question).values() if o != answer])
    if task == "multi_choice": return rng.choice([a for a in ("A", "B", "C", "A, B", "A, C", "B, C", "A, B, C") if a != answer and set(a) <= set("".join(options_of(question)) + ", ")])
    if task == "natural_language_inference": return word(rng.choice([w for w in ("yes", "no", "maybe") if word(w, lang) != answer]), lang)
    if task == "text_classification": return next(n[LANG[lang]] for n in grammar()["nouns"].values() if n[LANG[lang]] in question and n[LANG[lang]] != answer)
    if task == "natural_language_understanding": return answer + {"en": ", ", "zh": "、"}[lang] + {"en": "BaBe", "zh": "巴贝"}[lang]
    stated = read_facts(answer, lang)
    if task == "text_generation": return state(stated[0], lang) if len(stated) > 1 else state(next(f for f in facts if f != stated[0]), lang)
    if task == "text_summarization": return answer.replace(value(read_facts(question, lang)[-1], lang), "?")
    return {"en": "nobody knows", "zh": "无人知晓"}[lang]


@each_task
@each_lang
def test_a_wrong_answer_is_scored_1_or_half_right_2(task, lang):
    for text, rng in passages(lang):
        question, logic, answer = write_pair(task, text, lang, rng)
        wrong = wrong_answer(task, text, question, answer, lang, rng)
        for reasons in (logic, "", concluded(wrong, lang)):
            score, analysis = judge(task, text, question, reasons, wrong, lang)
            finding = {1: "wrong", 2: "half"}.get(score, "right")
            assert score <= 2 and word(finding, lang) in analysis, (text, question, answer, wrong)


@each_lang
@pytest.mark.parametrize("task", ["extractive_qa", "open_book_qa", "closed_book_qa"])
def test_another_value_of_the_type_is_a_wrong_answer(task, lang):
    for kind in KINDS:
        rng = random.Random(kind)
        facts = draw_entity(rng, kind, "distillation")
        text = write_passage(facts, "web", lang, rng)
        for fact in facts:
            question, v = ask(fact.spec, fact.entity, lang), other_values(fact, facts, rng, 1)[0]
            other = fact.__class__(fact.kind, fact.entity, fact.attribute, v, fact.via)
            assert right_answer(task, text, question, state(fact, lang), lang) == (task != "extractive_qa") and not right_answer(task, text, question, state(other, lang), lang)


@each_lang
@pytest.mark.parametrize("task", ["text_generation", "text_summarization"])
def test_facts_told_of_another_are_a_wrong_answer(task, lang):
    for text, rng in passages(lang, 1, ["person", "trial"]):
        question, _, answer = write_pair(task, text, lang, rng)
        named = next(f.entity for f in read_facts(question + answer, lang))
        assert not right_answer(task, text, question, answer.replace(show(named, "name", lang), show("BaBe", "name", lang)), lang)


@each_task
@each_lang
def test_a_question_that_leans_is_scored_2(task, lang):
    for text, rng in passages(lang):
        question, logic, answer = write_pair(task, text, lang, rng)
        leaning = word("lean", lang) + question[0].lower() + question[1:]
        score, analysis = judge(task, text, leaning, logic, answer, lang)
        assert leans(leaning) and score == 2 and all(word(w, lang).strip() in analysis for w in ("leans", "right"))


@each_task
@each_lang
def test_thin_logic_is_scored_3(task, lang):
    for text, rng in passages(lang):
        question, _, answer = write_pair(task, text, lang, rng)
        for thin in (concluded(answer, lang), "", "  \n"):
            score, analysis = judge(task, text, question, thin, answer, lang)
            assert score == 3 and word("thin", lang).strip() in analysis


@each_task
@each_lang
def test_logic_that_states_what_the_passage_does_not_is_scored_2(task, lang):
    for text, rng in passages(lang):
        question, logic, answer = write_pair(task, text, lang, rng)
        invented = next(state(f, lang) for f in draw_entity(rng, "person", "held_out") if f not in read_facts(text, lang))
        score, analysis = judge(task, text, question, invented + logic, answer, lang)
        assert score == 2 and word("flawed", lang).strip() in analysis


@each_lang
@pytest.mark.parametrize("task", ["extractive_qa", "natural_language_inference", "single_choice", "text_classification", "closed_book_qa"])
def test_logic_that_ends_in_another_answer_is_scored_2(task, lang):
    for text, rng in passages(lang):
        so = conclusion(lang)
        question, logic, answer = write_pair(task, text, lang, rng)
        while so not in logic: question, logic, answer = write_pair(task, text, lang, rng)  # a sentence said in other words needs no conclusion
        ends = logic.rsplit(so, 1)[0] + concluded({"en": "quite different", "zh": "完全不同"}[lang], lang)
        assert judge(task, text, question, ends, answer, lang)[0] == 2


@each_lang
def test_a_favourite_word_is_no_fault(lang):
    for text, rng in passages(lang):
        question, logic, answer = write_pair("closed_book_qa", text, lang, rng)
        assert judge("closed_book_qa", text, word("favourite", lang) + question[0].lower() + question[1:], logic, answer, lang)[0] >= 4


@each_task
@each_lang
def test_without_faults_a_pair_stays_as_it_is(task, lang):
    for text, rng in passages(lang, 1):
        pair = write_pair(task, text, lang, rng)
        assert with_faults(task, pair, text, lang, 0.0, rng) == pair


@each_task
@each_lang
def test_faults_only_lower_the_score(task, lang):
    scores = []
    for text, rng in passages(lang, 5):
        question, logic, answer = with_faults(task, write_pair(task, text, lang, rng), text, lang, 1.0, rng)
        scores.append(judge(task, text, question, logic, answer, lang)[0])
        assert leans(question) and logic == concluded(answer, lang)
    assert set(scores) <= {1, 2}


@each_task
def test_every_task_has_wrong_answers_among_its_faults(task):
    scores = [judge(task, text, *with_faults(task, write_pair(task, text, "en", rng), text, "en", 0.5, rng), "en")[0] for text, rng in passages("en", 8)]
    assert {1, 2} <= set(scores) and max(scores) >= 3


@given(st.sampled_from(TASKS), st.sampled_from(KINDS), st.sampled_from(list(LANG)), st.integers(0, 10**6), st.data())
@settings(max_examples=120, deadline=None)
def test_a_garbled_pair_has_a_score_too(task, kind, lang, seed, data):
    rng = random.Random(seed)
    text = draw_passage(rng, kind, "news", lang, "distillation")
    pair = list(write_pair(task, text, lang, rng))
    place = data.draw(st.integers(0, 2))
    words = pair[place].split(" ") if lang == "en" else list(pair[place])
    words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.sampled_from(words) | st.text(st.characters(codec="utf-8"), max_size=6))
    pair[place] = (" " if lang == "en" else "").join(words)
    score, analysis = judge(guess_task(pair[0]), text, *pair, lang)
    assert 1 <= score <= 5 and (word("wrong", lang) in analysis) == (score == 1)


def test_a_value_with_a_character_of_no_name_asks_for_nothing():
    rng = random.Random(0)
    text = draw_passage(rng, "city", "news", "zh", "distillation")
    question, logic, answer = write_pair("text_generation", text, "zh", rng)
    garbled = question[:15] + "写" + question[16:]
    assert judge("text_generation", text, garbled, logic, answer, "zh")[0] == 1


# ---- the missing logic (Eq. 2)

@each_lang
@pytest.mark.parametrize("task", sorted({s.task for s in list_sources("labeled")}))
def test_the_missing_logic_of_a_labeled_pair_is_sound(task, lang):
    for text, rng in passages(lang):
        question, _, answer = write_pair(task, text, lang, rng)
        logic = explain(text, question, answer, lang)
        assert judge(task, text, question, logic, answer, lang)[0] >= 4, (text, question, answer, logic)


@pytest.mark.parametrize("question", ["Who are you?", "", "你是谁？"])
def test_a_pair_of_another_world_is_refused(question):
    with pytest.raises(ValueError, match="none of this world"): explain("The city BaBe was founded in 1200.", question, "me", "en")


# ---- the prompts it understands

@each_task
@each_lang
def test_a_distillation_prompt_gives_a_readable_pair(task, lang):
    for text, _ in passages(lang, 1):
        sent = distillation_messages(text, task, lang)
        pair = parse_json_object(reply(sent), META_KEYS)
        assert task_of(sent[0]["content"]) == task and judge(task, text, *(pair[k] for k in META_KEYS), lang)[0] >= 4


@each_lang
@pytest.mark.parametrize("kind, attribute", [("product", "total"), ("event", "end")])
def test_a_question_on_a_sum_is_no_inference(kind, attribute, lang):
    assert guess_task(ask(grammar()["kinds"][kind][attribute], "BaBe", lang)) == "closed_book_qa"


@each_task
@each_lang
def test_an_inspection_prompt_gives_the_judges_score(task, lang):
    for text, rng in passages(lang, 3):
        question, logic, answer = write_pair(task, text, lang, rng)
        for wanted, pair in ((4, (question, logic, answer)), (3, (question, concluded(answer, lang), answer)), (1, (question, logic, "?"))):
            sent = inspection_messages(text, *pair, lang)
            fields = parse_json_object(reply(sent), INSPECTION_KEYS)
            assert (min(4, parse_score(fields["score"])), task_of(sent[0]["content"])) == (wanted, "")
            assert fields["analysis_steps"] == judge(task, text, *pair, lang)[1]


@each_lang
def test_a_logic_prompt_gives_the_missing_logic(lang):
    for text, rng in passages(lang, 1):
        question, _, answer = write_pair("extractive_qa", text, lang, rng)
        sent = logic_messages(text, question, answer, "extractive_qa", lang)
        assert task_of(sent[0]["content"]) == "" and parse_json_object(reply(sent), LOGIC_KEYS)["thought_process"] == explain(text, question, answer, lang).strip()


@each_lang
@pytest.mark.parametrize("benchmark, task", list(GENERAL.items()))
def test_a_general_prompt_gives_a_readable_pair(benchmark, task, lang):
    for text, _ in passages(lang, 2):
        sent = messages(f"general/{benchmark}", text=text)
        pair = json.loads(reply(sent))
        assert task_of(sent[0]["content"]) == task and pair.keys() == {"question", "answer"}, "the prompt asks for no logic"
        if benchmark == "translation": assert_translated(text, pair, lang)
        else: assert judge(task, text, pair["question"], None, pair["answer"], lang)[0] >= 4


def assert_translated(text, pair, lang):
    "The question carries a sentence of the passage, and the answer says the same in the other language."
    instruction, sentence = pair["question"].split(": ", 1)
    other = {"en": "zh", "zh": "en"}[lang]
    assert instruction == f"Please translate the following sentence into {'English' if lang == 'zh' else 'Chinese'}" and sentence in text
    said = [(f.kind, f.attribute, f.value, f.via) for f in read_facts(sentence, lang)]
    assert said and said == [(f.kind, f.attribute, f.value, f.via) for f in read_facts(pair["answer"], other)]


@pytest.mark.parametrize("sent", [
    distillation_messages("Paris is the capital of France.", "closed_book_qa"), distillation_messages("", "single_choice"), messages("general/translation", text="Bonjour."),
    logic_messages("The city BaBe was founded in 1200.", "Who are you?", "me", "extractive_qa"), [{"role": "user", "content": "Hello!"}], [{"role": "system", "content": ""}, {"role": "user", "content": ""}]])
def test_what_it_cannot_read_it_refuses_in_words(sent):
    said = reply(sent)
    assert said.startswith("I cannot do this: ") and "{" not in said
    with pytest.raises(ValueError): parse_json_object(said, META_KEYS)


def test_equal_messages_and_seeds_give_equal_replies():
    sent = distillation_messages(next(passages("en"))[0], "closed_book_qa")
    replies = [reply(sent, 0.06, seed) for seed in (*range(20), *range(20))]
    assert replies[:20] == replies[20:] and len(set(replies[:20])) > 5


@pytest.mark.parametrize("faults, least, most", [(0.0, 0, 0), (0.1, 2, 30), (1.0, 70, 130)])
def test_a_share_of_replies_is_malformed(faults, least, most):
    text = next(passages("en"))[0]
    broken = 0
    for seed in range(200):
        try: json.loads(reply(distillation_messages(text, "closed_book_qa"), faults, seed))
        except json.JSONDecodeError: broken += 1
    assert least <= broken <= most


# ---- small readers

@pytest.mark.parametrize("question, options", [
    ("Who? A. x B. y y C. z. D. w", {"A": "x", "B": "y y", "C": "z.", "D": "w"}), ("谁？ A. 甲 B. 乙", {"A": "甲", "B": "乙"}), ("", {}), ("Who was BaBa?", {}), ("Who?", {})])
def test_options_are_read_by_letter(question, options):
    assert options_of(question) == options


def test_names_are_listed_once_in_order():
    assert name_list("DaDe met BaBe and DaDe, not Paris.", "en") == "DaDe, BaBe" and name_list("达德见巴贝和达德。", "zh") == "达德、巴贝" and name_list("No one.", "en") == ""


@pytest.mark.parametrize("message, inside", [("<text>\na\nb\n</text>", "a\nb"), ("<text>a</text><text>b</text>", "a"), ("<text>a", ""), ("", ""), ("<texts>a</texts>", "")])
def test_a_tagged_part_is_found(message, inside):
    assert tagged(message, "text") == inside


# ---- the server

@pytest.fixture(scope="module")
def server():
    with teacher_server() as url: yield url


@pytest.fixture(scope="module")
def client(server):
    with openai.DefaultHttpxClient(trust_env=False) as http: yield openai.OpenAI(base_url=server, api_key="no-key", http_client=http, max_retries=0)


def ask_server(client, sent, **options):
    return client.chat.completions.create(model="miniature-teacher", messages=sent, **options)


def test_the_openai_client_is_answered(client):
    sent = distillation_messages(next(passages("zh"))[0], "single_choice", "zh")
    completion = ask_server(client, sent, seed=4, temperature=1.0, top_p=1.0, max_tokens=100)
    choice = completion.choices[0]
    assert (choice.message.role, choice.finish_reason, completion.model, completion.object) == ("assistant", "stop", "miniature-teacher", "chat.completion")
    assert choice.message.content == reply(sent, 0.0, 4) and parse_json_object(choice.message.content, META_KEYS)["answer"] in options_of(parse_json_object(choice.message.content, META_KEYS)["question"]).values()
    usage = completion.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.prompt_tokens > usage.completion_tokens > 0


def test_models_are_listed(client):
    assert [m.id for m in client.models.list()] == ["miniature-teacher"]


def test_without_a_seed_the_seed_is_zero(client):
    sent = distillation_messages(next(passages("en"))[0], "closed_book_qa")
    assert ask_server(client, sent).choices[0].message.content == reply(sent, 0.0, 0)


def test_requests_at_once_are_answered_each_by_its_own(client):
    sent = [distillation_messages(text, TASKS[i % 10], "en") for i, (text, _) in enumerate(passages("en", 4))]
    with ThreadPoolExecutor(8) as pool: found = list(pool.map(lambda m: ask_server(client, m, seed=1).choices[0].message.content, sent))
    assert found == [reply(m, 0.0, 1) for m in sent] and len(set(found)) > 30


def test_same_messages_and_seed_same_reply_another_seed_another(client):
    sent = distillation_messages(next(passages("en"))[0], "closed_book_qa")
    found = [ask_server(client, sent, seed=seed).choices[0].message.content for seed in (1, 1, 2, 3, 4, 5, 1)]
    assert found[0] == found[1] == found[-1] and len(set(found)) > 2


def test_a_server_with_faults_breaks_some_replies():
    sent = distillation_messages(next(passages("en"))[0], "closed_book_qa")
    with teacher_server(1.0) as url, openai.DefaultHttpxClient(trust_env=False) as http:
        faulty = openai.OpenAI(base_url=url, api_key="no-key", http_client=http)
        found = [ask_server(faulty, sent, seed=seed).choices[0].message.content for seed in range(20)]
    assert found == [reply(sent, 1.0, seed) for seed in range(20)] and 0 < sum(not f.endswith("}") for f in found) < 20


def test_the_server_is_gone_after_its_block():
    with teacher_server() as url: assert url.startswith("http://127.0.0.1:") and url.endswith("/v1")
    with pytest.raises(OSError): urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + "/models", timeout=2)


def test_two_servers_run_side_by_side():
    with teacher_server() as one, teacher_server() as two: assert one != two


@each_lang
def test_a_sentence_said_in_other_words_is_judged_by_its_facts(lang):
    for text, rng in passages(lang):
        fact = next(f for f in read_facts(text, lang) if f.entity)
        form = 0 if state(fact, lang, 0) in text else 1
        question, logic = word("reword", lang, t=state(fact, lang, form)), word("speaks", lang, e=show(fact.entity, "name", lang), k=fact.spec.label[LANG[lang]]).strip()
        assert guess_task(question) == "closed_book_qa"
        assert judge("closed_book_qa", text, question, logic, state(fact, lang, 1 - form), lang)[0] == 4
        for wrong, score in ((state(fact, lang, form), 2), (value(fact, lang), 1), (show(fact.entity, "name", lang), 1)):
            assert judge("closed_book_qa", text, question, logic, wrong, lang)[0] == score


# ---- the five levels

CITY = "The city BaBeDa stands on the river MoKo. The city BaBeDa was founded in 1200. The river MoKo flows into the TiRe Sea."
RIVER, SEA = "On which river does the city BaBeDa stand?", "Into which sea does the river of the city BaBeDa flow?"
GROUND, HOPS = "The city BaBeDa stands on the river MoKo. So the answer is MoKo.", "The city BaBeDa stands on the river MoKo. The river MoKo flows into the TiRe Sea. So the answer is TiRe."
LEVELS = [
    (5, SEA, HOPS, "TiRe"), (5, "Write two sentences on the city BaBeDa with river MoKo and founding year 1200.", "The key points are the river and the founding year of BaBeDa.", "The river MoKo runs through the city BaBeDa. The city BaBeDa was founded in 1200."),
    (4, RIVER, GROUND, "MoKo"), (4, RIVER, GROUND, "The city BaBeDa stands on the river MoKo."), (4, RIVER + " A. MoKo B. TiRe C. LaLa D. RoRo", GROUND, "MoKo"),
    (3, RIVER, "So the answer is MoKo.", "MoKo"), (3, SEA, "The river MoKo flows into the TiRe Sea. So the answer is TiRe.", "TiRe"), (3, RIVER + " A. MoKo B. TiRe C. TiRe D. RoRo", GROUND, "MoKo"),
    (3, RIVER, GROUND, "The city BaBeDa stands on the river MoKo. The city BaBeDa stands on the river MoKo."),
    (3, "List the names in this sentence: The city BaBeDa stands on the river LaLa.", "In the order of the sentence. So the answer is BaBeDa, LaLa.", "BaBeDa, LaLa"),
    (2, "According to the text, on which river does the city BaBeDa stand?", GROUND, "MoKo"), (2, RIVER, "The city BaBeDa stands on the river LaLa. So the answer is MoKo.", "MoKo"),
    (2, RIVER, GROUND, "The river MoKo flows into the TiRe Sea."), (2, RIVER + " A. LaLa B. TiRe C. LiLi D. RoRo", GROUND, "MoKo"), (2, RIVER + " A. MoKo B. TiRe C. MoKo D. RoRo", GROUND, "MoKo"),
    (2, "Which statements are true? A. The city BaBeDa was founded in 1200. B. The city BaBeDa was founded in 1300. C. The river MoKo flows into the TiRe Sea.", "A is true. B is false. C is false. So the answer is A.", "A"),
    (2, "Does the river LaLa run through the city BaBeDa?", "Nothing is said of the river of BaBeDa. So the answer is maybe.", "maybe"),
    (1, "Does the river LaLa run through the city BaBeDa?", GROUND, "yes"), (1, RIVER, GROUND, "LaLa"), (1, "What is the city BaBeDa known for?", "The city BaBeDa is known for silk. So the answer is silk.", "silk"), (1, "Who are you?", "", "me")]


@pytest.mark.parametrize("score, question, logic, answer", LEVELS)
def test_each_level_has_its_records(score, question, logic, answer):
    given, analysis = judge(guess_task(question), CITY, question, logic, answer, "en")
    assert given == score, analysis


FINDINGS = {"right": 5, "half": 2, "wrong": 1, "stands": 5, "leans": 2, "ambiguous": 2, "sound": 5, "thin": 3, "flawed": 2, "clear": 5, "poor": 3}

def words_allow(analysis, lang):
    "The score that the analysis in words amounts to."
    return min([5 if word("steps", lang).strip() in analysis else 4, *(most for name, most in FINDINGS.items() if word(name, lang).strip() in analysis)])


@given(st.sampled_from(TASKS), st.sampled_from(KINDS), st.sampled_from(list(LANG)), st.integers(0, 10**6), st.sampled_from((0.0, 0.3, 1.0)), st.data())
@settings(max_examples=150, deadline=None)
def test_words_and_score_agree_with_each_other_and_with_the_truth(task, kind, lang, seed, faults, data):
    rng = random.Random(seed)
    text = draw_passage(rng, kind, "news", lang, "distillation")
    question, logic, answer = with_faults(task, write_pair(task, text, lang, rng), text, lang, faults, rng)
    if data.draw(st.booleans()): answer = write_pair(task, text, lang, rng)[2]
    seen = guess_task(question)
    score, analysis = judge(seen, text, question, logic, answer, lang)
    right = right_answer(seen, text, question, answer, lang)
    assert score == words_allow(analysis, lang)
    assert right or score <= 2
    whole = not leans(question) and logic_quality(seen, text, question, logic, answer, lang) == "sound" and wording(seen, text, question, answer, lang) == "clear"
    assert not (right and whole) or offers_twice(question, answer) or score >= 4


@given(st.sampled_from(TASKS), st.sampled_from(KINDS), st.sampled_from(list(LANG)), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_what_is_worse_in_one_more_respect_scores_no_higher(task, kind, lang, seed):
    rng = random.Random(seed)
    text = draw_passage(rng, kind, "news", lang, "distillation")
    pair = write_pair(task, text, lang, rng)
    invented = next(state(f, lang) for f in draw_entity(rng, "person", "held_out"))
    worse = [lambda q, l, a: (word("lean", lang) + q[0].lower() + q[1:], l, a), lambda q, l, a: (q, "", a) if not l.startswith(invented) else (q, l, a),
             lambda q, l, a: (q, invented + l, a), lambda q, l, a: (q, l, {"en": "nobody knows", "zh": "无人知晓"}[lang])]
    scores = {}
    for chosen in range(2 ** len(worse)):
        record = pair
        for i in (2, 0, 1, 3):
            if chosen >> i & 1: record = worse[i](*record)
        scores[chosen] = judge(guess_task(record[0]), text, *record, lang)[0]
    assert all(scores[c | 1 << i] <= scores[c] for c in scores for i in range(len(worse)))
    assert scores[0] >= 4 and scores[8] == 1


@each_lang
def test_a_translation_is_judged_by_its_facts(lang):
    other = {"en": "zh", "zh": "en"}[lang]
    for text, rng in passages(lang):
        fact = next(f for f in read_facts(text, lang) if f.entity)
        question = {"en": "Translate into Chinese: ", "zh": "译成英文："}[lang] + state(fact, lang)
        logic = word("speaks", lang, e=show(fact.entity, "name", lang), k=fact.spec.label[LANG[lang]]).strip()
        assert {judge(guess_task(question), text, question, logic, state(fact, other, form), lang)[0] for form in (0, 1)} == {4}
        wrong = state(fact.__class__(fact.kind, "BaBe", fact.attribute, fact.value, fact.via), other)
        assert state(fact, other) == wrong or judge(guess_task(question), text, question, logic, wrong, lang)[0] == 1


@each_lang
def test_what_a_request_to_compose_asks_for_is_read_back(lang):
    for text, rng in passages(lang):
        question, _, answer = write_pair("text_generation", text, lang, rng)
        asked = composed(question, lang)
        assert {(a.spec.name, a.proposed) for a in asked} == {(f.attribute, f.value) for f in read_facts(answer, lang)} and composed(answer, lang) == []


def test_the_score_is_decided_by_the_message_alone():
    "Task and language are no part of an inspection prompt: the teacher finds them in it."
    for score, question, logic, answer in LEVELS:
        fields = parse_json_object(reply(inspection_messages(CITY, question, logic, answer, "en")), INSPECTION_KEYS)
        assert parse_score(fields["score"]) == score and fields["analysis_steps"].strip()
