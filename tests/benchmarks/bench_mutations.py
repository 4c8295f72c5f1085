"""Replies as no model meant them: `bench_mutations.py [N] [SEED]` sends N mutated replies (100,000 if not given) through both parsers.

The bound: none crashes, none takes over a second, and every one is a record, a score or a reason. What is printed beside it is how many are read, and how many of those hold a field that swallowed the next."""
import json
import random
import sys
import time
from collections import Counter

from aquilt.foundations.prompt import INSPECTION_KEYS, LOGIC_KEYS, META_KEYS, QA_KEYS, completion_json, inspection_json, parse_json_objects, parse_score

PIECES = ['"', "'", "“", "”", "\\", "{", "}", "[", "]", ":", "：", ",", "，", "\n", "\\n", "\t", "\x00", "```", "```json\n", "<think>", "</think>", "null", "NaN", "Infinity", "1e999", "\\u0000", "\\ud83d", "\\frac", "...",
          "xxx", '"answer": ', '"question": "', '", "', '"}', "{{", "}}", " " * 50, "99", "-5", "8/10"]


def originals(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    "A reply as it should be, or nearly so, and the keys that it is read with."
    n = rng.randrange(1000)
    fields = rng.choice([
        (f"What is {n} times two?", f"1. Read {n}.\n2. Double it.", str(2 * n)), (f"{n}克的质量单位是什么？", "第一步：看题。第二步：作答。", f"{n}克"),
        (f'Who said "{n}"?\nA. Ann\nB. Bea', 'Ann said "so".', "A"), (f"What is $\\frac{{{n}}}{{2}}$?", "Halve $x_{1}$.", f"${n / 2}$")])
    kind = rng.randrange(5)
    if kind == 0: return inspection_json(fields[1], rng.randint(1, 5)), INSPECTION_KEYS
    if kind == 1: return json.dumps({"thought_process": fields[1]}, ensure_ascii=False), LOGIC_KEYS
    if kind == 2: return completion_json(*fields), QA_KEYS
    pair = json.dumps(dict(zip(META_KEYS, fields)), ensure_ascii=False, indent=rng.choice([None, 2]))
    return rng.choice([pair, f"Here it is:\n```json\n{pair}\n```\nBye {{x}}.", f"[{pair}, {pair.replace(str(n), '7')}]", f"<think>{pair}</think>{pair}", f'{{"qa": {pair}}}']), META_KEYS


def mutated(text: str, rng: random.Random) -> str:
    "The text with one to four places taken out, put in, doubled, exchanged or cut."
    for _ in range(rng.randint(1, 4)):
        a = rng.randrange(len(text) + 1)
        b = min(len(text), a + rng.choice([1, 1, 1, 2, 5, 30]))
        kind = rng.randrange(7)
        if kind == 0: text = text[:a] + text[b:]
        elif kind == 1: text = text[:a] + rng.choice(PIECES) + text[a:]
        elif kind == 2: text = text[:a] + rng.choice(PIECES) + text[b:]
        elif kind == 3: text = text[:b] + text[a:b] * rng.choice([1, 1, 1, 300]) + text[b:]
        elif kind == 4: text = text[:a] + text[a:b][::-1] + text[b:]
        elif kind == 5: text = text.replace('"', rng.choice(["'", "“", "”", '\\"', ""]), rng.randint(1, 9))
        elif rng.random() < 0.2: text = text[:a]
    return text


def outcome(text: str, keys: tuple[str, ...]) -> tuple[str, list[dict[str, str]]]:
    "What a reply became, in a word, and the objects read from it. Any other exception than ValueError is a crash."
    try: found = parse_json_objects(text, keys)
    except ValueError as e: return f"refused: {str(e).split(chr(39))[-1].strip()}", []
    if keys != INSPECTION_KEYS: return "record", found
    try: parse_score(found[-1]["score"])
    except ValueError: return "refused: no score", []
    return "score", found


def swallowed(fields: dict[str, str]) -> bool:
    "Whether a value holds the name of a field of its own object, as a field's name is written."
    return any(f'"{key}":' in value.replace('" :', '":') for key in fields for value in fields.values())


def measure(n: int, seed: int) -> tuple[Counter, float, list[str]]:
    "The outcomes by their words, the CPU seconds of the slowest, and replies read with a value that swallowed the next."
    rng, told, slowest, bad = random.Random(seed), Counter(), 0.0, []
    for _ in range(n):
        text, keys = originals(rng)
        text = mutated(text, rng)
        began = time.process_time()  # other work on the machine is not the reader's
        word, found = outcome(text, keys)
        slowest = max(slowest, time.process_time() - began)
        told[word] += 1
        if any(map(swallowed, found)): bad.append(text)
    return told, slowest, bad


if __name__ == "__main__":
    n, seed = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 100_000), (2, 0)))
    began = time.perf_counter()
    told, slowest, bad = measure(n, seed)
    for word, count in told.most_common(): print(f"{count:9} {count / n:7.2%}  {word}")
    print(f"{n} replies in {time.perf_counter() - began:.1f} s, the slowest {slowest * 1000:.1f} ms of CPU; {len(bad)} with a field that swallowed another")
    for text in bad[:5]: print(repr(text))
