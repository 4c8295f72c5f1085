"""Questions of the world: each can be read back, none can be taken for another, and answers follow from sentences of the passage."""
import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.miniature.questions import Asked, answer_check, ask, ask_check, choices, derived, evidence, other_values, quote, read_question, value, word
from aquilt.miniature.teacher import options_of
from aquilt.miniature.world import LANG, Fact, compile_template, derive, draw_entity, draw_name, draw_passage, draw_value, grammar, lookup, read_facts, show, split_of, state, write_passage

KINDS = list(grammar()["kinds"])
SPECS = [spec for kind in grammar()["kinds"].values() for spec in kind.values()]
ASKED = [spec for spec in SPECS if spec.ask[0]]
CHECKED = [spec for spec in SPECS if spec.check[0]]
SEEDS = st.integers(0, 10**9)
some = settings(max_examples=150, deadline=None)
each_lang = pytest.mark.parametrize("lang", list(LANG))


def named(specs):
    return pytest.mark.parametrize("spec", specs, ids=[f"{s.kind}.{s.name}" for s in specs])


def proposal(spec, rng):
    return "" if spec.rule else draw_value(rng, spec.type, "distillation")


def entities(kind, n=2, seed=0):
    "Facts of `n` entities of a kind."
    rng = random.Random(f"{kind}/{seed}")
    return [f for _ in range(n) for f in draw_entity(rng, kind, "distillation")]


# ---- read back

@named(ASKED)
@each_lang
def test_a_question_is_read_back(spec, lang):
    rng = random.Random(spec.name)
    for form, syllables in product((0, 1, 2), (2, 3)):
        entity = draw_name(rng, "distillation", syllables)
        assert read_question(ask(spec, entity, lang, form), lang) == Asked(spec, entity)


@named(CHECKED)
@each_lang
def test_a_yes_or_no_question_is_read_back(spec, lang):
    rng = random.Random(spec.name)
    for _ in range(8):
        entity, proposed = draw_name(rng, "distillation", rng.choice([2, 3])), proposal(spec, rng)
        assert read_question(ask_check(spec, entity, proposed, lang), lang) == Asked(spec, entity, proposed)


@each_lang
def test_no_question_matches_the_template_of_another(lang):
    i, rng = LANG[lang], random.Random(0)
    patterns = [((s.kind, s.name, t in s.ask[i]), compile_template(t, s.type, lang)) for s in SPECS for t in (*s.ask[i], s.check[i]) if t]
    for spec in SPECS:
        written = [((spec.kind, spec.name, True), ask(spec, draw_name(rng, "held_out"), lang, form)) for form in range(len(spec.ask[i]))]
        if spec.check[i]: written.append(((spec.kind, spec.name, False), ask_check(spec, draw_name(rng, "held_out"), proposal(spec, rng), lang)))
        for key, question in written: assert {k for k, pattern in patterns if pattern.search(question)} == {key}, question


@named(ASKED)
@each_lang
def test_a_question_in_another_text_is_found(spec, lang):
    question = ask(spec, "KaLoMe", lang)
    for text in (word("lean", lang) + question[0].lower() + question[1:], word("open", lang, t="x", q=question), question + " A. x B. y", "\n" + question): assert read_question(text, lang) == Asked(spec, "KaLoMe")


@pytest.mark.parametrize("lang, text", [("en", ""), ("zh", ""), ("en", "Who are you?"), ("zh", "你是谁？"), ("en", "When was the city Paris founded?"), ("zh", "城市北京建于哪一年？"), ("en", "城市巴贝建于哪一年？"), ("zh", "When was the city BaBe founded?")])
def test_other_questions_are_none_of_this_world(lang, text):
    assert read_question(text, lang) is None


# ---- the right answer

@named([spec for spec in CHECKED if not spec.rule])
def test_a_proposal_is_right_wrong_or_open(spec):
    facts = entities(spec.kind)
    entity = facts[0].entity
    fact = lookup(facts, spec, entity)
    wrong = other_values(fact, facts, random.Random(0), 1)[0]
    assert [answer_check(Asked(spec, entity, v), facts) for v in (fact.value, wrong)] == ["yes", "no"]
    assert answer_check(Asked(spec, entity, fact.value), [f for f in facts if f != fact]) == answer_check(Asked(spec, "BaBaBa", fact.value), facts) == "maybe"


@pytest.mark.parametrize("p, answer", [("0.01", "yes"), ("0.06", "no"), (None, "maybe")])
def test_a_rule_answers_for_itself(p, answer):
    facts = [Fact("trial", "BaBe", "p", p)] if p else [Fact("trial", "BaBe", "dose", "12")]
    assert answer_check(Asked(grammar()["kinds"]["trial"]["effective"], "BaBe"), facts) == answer


@each_lang
@pytest.mark.parametrize("kind", KINDS)
def test_derived_facts_are_those_that_the_rules_give(kind, lang):
    facts = entities(kind)
    rules = [s for s in grammar()["kinds"][kind].values() if s.rule]
    assert set(derived(facts)) == {derive(s, facts, e) for s in rules for e in {f.entity for f in facts}} and derived(facts) == derived(facts[::-1])
    for f in derived(facts): assert value(f, lang) == {"yes": ("yes", "是"), "no": ("no", "否")}.get(f.value, (f.value,) * 2)[LANG[lang]]


# ---- where it stands

@each_lang
@pytest.mark.parametrize("kind", KINDS)
def test_evidence_is_of_the_text_and_holds_the_fact(kind, lang):
    facts = entities(kind, 1)
    text = write_passage(facts, "legal", lang, random.Random(1))
    for fact in facts:
        ground = evidence(fact, facts, text, lang)
        assert quote(fact, text, lang) in text and ground.endswith(quote(fact, text, lang)) and fact in read_facts(ground, lang) and set(read_facts(ground, lang)) <= set(facts)
        assert len(read_facts(ground, lang)) == (2 if fact.via else 1)


@each_lang
def test_a_quotation_is_in_the_words_of_the_text(lang):
    fact = entities("person", 1)[0]
    for form in (0, 1): assert quote(fact, f"... {state(fact, lang, form)} ...", lang) == state(fact, lang, form)


@each_lang
@pytest.mark.parametrize("kind, shown", [("product", "{a} + {b} = {v}"), ("event", "{a} + {b} = {v}"), ("trial", "{a}")])
def test_the_evidence_of_a_derived_fact_is_the_rule_at_work(kind, shown, lang):
    facts = entities(kind, 1)
    known = {f.attribute: f.value for f in facts}
    for fact in derived(facts):
        ground, values = evidence(fact, facts, "", lang), [known[s] for s in fact.spec.sources]
        assert shown.replace("{a}", values[0]).replace("{b}", values[-1]).replace("{v}", fact.value) in ground and "{" not in ground and show(fact.entity, "name", lang) in ground
        if kind == "trial": assert word("below" if float(values[0]) < 0.05 else "above", lang) in ground


# ---- wrong values and options

@given(SEEDS, st.sampled_from(KINDS), st.integers(1, 3))
@some
def test_wrong_values_are_wrong_distinct_and_of_the_type(seed, kind, n):
    rng = random.Random(seed)
    facts = [f for _ in range(2) for f in draw_entity(rng, kind, "squadqa")]
    for fact in facts + derived(facts):
        if fact.value in ("yes", "no"): continue
        wrong = other_values(fact, facts, rng, n)
        assert len(set(wrong)) == n and fact.value not in wrong
        if fact.spec.type in grammar()["lists"]: assert set(wrong) <= {en for en, _ in grammar()["lists"][fact.spec.type]}
        elif fact.spec.type == "name": assert {split_of(w) for w in wrong} == {"squadqa"}
        else: assert all(w.replace(".", "").isdigit() for w in wrong)


def test_values_of_the_passage_tempt_first():
    facts = entities("clause", 1)
    names = {f.value for f in facts if f.spec.type == "name"}
    for fact in facts:
        if fact.spec.type == "name": assert names - {fact.value} <= set(other_values(fact, facts, random.Random(0), 3))


@given(SEEDS, st.sampled_from(KINDS), st.sampled_from(list(LANG)))
@some
def test_one_of_four_options_is_right(seed, kind, lang):
    rng = random.Random(seed)
    text = draw_passage(rng, kind, "exam", lang, "ceval")
    facts = [f for f in read_facts(text, lang) if f.entity]
    fact = rng.choice([f for f in facts + derived(facts) if f.value not in ("yes", "no")])
    written, letter = choices(fact, facts, lang, rng)
    options = options_of("?" + written)
    assert list(options) == list("ABCD") and len(set(options.values())) == 4 and options[letter] == value(fact, lang)


def test_the_right_option_stands_in_every_place():
    facts = entities("topic", 1)
    letters = [choices(facts[0], facts, "zh", random.Random(seed))[1] for seed in range(80)]
    assert min(letters.count(l) for l in "ABCD") > 8
