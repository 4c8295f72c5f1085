"""Speed and memory of both filters and the caps, against merely parsing and rewriting the same file: `bench_filtering.py [RECORDS] [WORKERS]` (703,000, as in section 4.1, and every core, if not given).

The bounds: 90 s on two cores, under 1 GB resident, at most 3 times the time of parsing and rewriting. Every row is a process of its own; its memory is the peak of that process and of its largest worker."""
import json
import os
import random
import sys
import tempfile
from pathlib import Path

from bench_cleaning import child

TASKS = ["extractive_qa", "natural_language_inference", "single_choice", "multi_choice", "text_generation", "text_summarization", "text_classification", "natural_language_understanding", "open_book_qa", "closed_book_qa"]


def write_sample(path: Path, records: int, seed: int = 0) -> None:
    "Invented records as long as real ones (1.9 kB a line in the mean), half of them Chinese; one question in twelve leans, one in six holds a favourite word."
    rng = random.Random(seed)
    words = ["".join(rng.choices("etaoinshrdlucmfwypvbgk", k=rng.randint(3, 10))) for _ in range(20_000)]
    han = [chr(c) for c in rng.sample(range(0x4E00, 0x9000), 3000)]
    weights = {"en": [1 / (i + 30) for i in range(len(words))], "zh": [1 / (i + 30) for i in range(len(han))]}
    pool = {"en": [" ".join(rng.choices(words, weights["en"], k=rng.randint(8, 16))).capitalize() + "." for _ in range(20_000)],
            "zh": ["".join(rng.choices(han, weights["zh"], k=rng.randint(14, 30))) + "。" for _ in range(20_000)]}
    leads = {"en": ["According to the text, ", "Crucially, ", "Crucially, "], "zh": ["根据上文，", "关键在于，", "关键在于，"]}
    with path.open("w", encoding="utf-8") as file:
        for i in range(records):
            lang, sentences = ("en", pool["en"]) if i % 2 else ("zh", pool["zh"])
            question = (rng.choice(leads[lang]) if rng.random() < 0.25 else "") + rng.choice(sentences)
            logic, answer = "".join(rng.choices(sentences, k=4)), rng.choice(sentences)
            row = {"text": "".join(rng.choices(sentences, k=6)), "task": rng.choice(TASKS), "lang": lang, "question": question, "logic": logic, "answer": answer, "source": "sample", "document": str(i), "prompt_hash": "0" * 16,
                   "model": "teacher", "seed": 0, "raw": json.dumps({"question": question, "thought process": logic, "answer": answer}, ensure_ascii=False)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def rewrite(path: Path, out: Path, imports: str, call: str) -> str:
    return f"{imports}\n#BEGIN\nwith open({str(out)!r}, 'wb') as out:\n    for line in open({str(path)!r}, 'rb'): out.write({call} + b'\\n')"


def measure(records: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "raw.jsonl"), Path(folder, "kept.jsonl")
        write_sample(path, records)
        print(f"{records} records, {path.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        rows = {"parse and rewrite: records (aquilt.foundations.core.Record)": rewrite(path, out, "from aquilt.foundations.core import Record", "Record.model_validate_json(line).model_dump_json(exclude_defaults=True).encode()"),
                "parse and rewrite: json": rewrite(path, out, "import json", "json.dumps(json.loads(line), ensure_ascii=False).encode()"),
                "parse and rewrite: pydantic_core": rewrite(path, out, "from pydantic_core import from_json, to_json", "to_json(from_json(line))")}
        for crew in sorted({0, workers} - {1}):
            rows[f"filter{f', {crew} workers' if crew else ''}"] = f"from aquilt.filtering import filter_file\nfrom aquilt.foundations.profiles import PAPER\nimport numpy, rjieba, stopwordsiso\n#BEGIN\nfilter_file({str(path)!r}, {str(out)!r}, PAPER, workers={crew})"
        speed = 0.0
        print(f"{'what':50} {'s':>8} {'times records':>14} {'peak MB':>8}")
        for name, program in rows.items():
            found = child(program)
            speed = speed or found["seconds"]
            print(f"{name:50} {found['seconds']:8.1f} {found['seconds'] / speed:14.2f} {found['MB']:8.0f}", flush=True)


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 703_000, int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count() or 1)
