"""From text of one's own to inspected records."""
import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from aquilt.commands.options import Concurrency, EngineArgs, Fields, Prices, ProfileName, RECORDS, Requests, RunDir, Settings, Sources, Timeout, Tokens, app, argue, ask_within, change, finite, pay_by, read_from, something_left, use
from aquilt.foundations.core import LANGS, TASKS, UserError, beside, check_output


@app.command()
def corpus(paths: Annotated[list[str], typer.Argument(help="Files (txt, md, jsonl, csv, tsv, parquet, html, pdf, docx; text ones also .gz), folders, or hub:OWNER/NAME@REVISION.")],
           out: Annotated[Path, typer.Option(help="The passages, .jsonl or .parquet; the ledger of what was dropped goes beside it.")],
           model: Annotated[Optional[str], typer.Option(help="The model that will read the passages, whose tokenizer counts: a folder, a hub id, or a name that `aquilt model` knows; the profile's student if not given, or else the shipped one.")] = None,
           tokens: Annotated[int, typer.Option(min=1, help="The most tokens of a passage.")] = 256,
           overlap: Annotated[int, typer.Option(min=0, help="Tokens that a passage may share with the one before.")] = 0,
           column: Annotated[str, typer.Option(help="The column or field of text in tables, JSON Lines and hub datasets.")] = "text",
           encoding: Annotated[str, typer.Option(help="Encoding of text files that are not UTF-8, like gb18030.")] = "",
           subset: Annotated[str, typer.Option(help="Configuration of a hub dataset.")] = "",
           split: Annotated[str, typer.Option(help="Split of a hub dataset.")] = "train",
           least: Annotated[int, typer.Option(min=0, help="The fewest characters of a passage; a Chinese one counts twice.")] = 20,
           lang: Annotated[Optional[list[str]], typer.Option(help="Languages that stay; may be repeated; `any` for all of them. en and zh if not given.")] = None,
           near: Annotated[float, typer.Option(min=0, max=1, callback=finite, help="Similarity from which passages are near duplicates; 0 to keep them.")] = 0.8,
           tests: Annotated[Optional[list[Path]], typer.Option(help="Test items to look for: JSON Lines with the fields benchmark and text; may be repeated.")] = None,
           profile: Annotated[Optional[str], typer.Option(help="Look for the test items of this profile's five benchmarks, too.")] = None, sources: Sources = None,
           remove_overlap: Annotated[bool, typer.Option("--remove-overlap", help="Drop the passages that overlap with test items; otherwise they are only counted.")] = False,
           workers: Annotated[int, typer.Option(min=0, help="Processes that examine passages.")] = 0) -> None:
    "Make passages of your own text: read, cut at sentences, cleaned, compared with the test items; what is dropped is listed with its reason. Example: aquilt corpus notes/ paper.pdf --out passages.jsonl"
    from aquilt.reading.cleaning import Rules, make_corpus, read_tests
    from aquilt.models.engines import model_path
    check_output(out, [*paths, *(tests or ())])
    items, counter = {}, model or "qwen2"
    if profile:
        from aquilt.benchmarks import test_texts
        from aquilt.foundations.profiles import get_profile
        counter = model or get_profile(profile).student
        read_from(sources, False)
        items = test_texts(get_profile(profile))
    for path in tests or ():
        for name, texts in read_tests(path).items(): items[name] = [*items.get(name, ()), *texts]
    asked = tuple(map(str.lower, lang or LANGS))
    langs = () if "any" in asked else asked
    counter_at = counter if Path(counter).is_dir() else model_path(counter)
    result = make_corpus(paths, out, counter_at, tokens, overlap, Rules(least, langs, near), items or None, remove_overlap, column, encoding, subset, split, workers)
    for sentence in result["problems"]: typer.echo(f"aquilt: {sentence}", err=True)
    if result["overlap"] is not None: typer.echo(result["overlap"].to_string(index=False))
    counts = result["counts"]
    for reason, n in sorted(counts["reasons"].items(), key=lambda row: -row[1])[:10]: typer.echo(f"{n:>7}  {reason}")
    unsaid = "" if model or profile else ", the miniature's model, whose tokens are shorter than a large one's: name the model that will read them with --model"
    typer.echo(f"A passage has at most {tokens} tokens, as {counter} counts them{unsaid}.")
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} passages kept; the {counts['dropped']} others, each with its reason, are in {beside(out)}")


@app.command("filter")
def filter_(source: Annotated[Path, typer.Argument(metavar="IN", help=f"{RECORDS}; what stays, stays as it is.")],
            out: Annotated[Path, typer.Argument(metavar="OUT", help="The lines that stay; the ledger of what was dropped goes beside it.")],
            profile: ProfileName = "paper", seed: int = 0,
            task: Annotated[str, typer.Option(help="The task type of records that name none; closed_book_qa says that their questions must make sense alone.")] = "",
            lang: Annotated[str, typer.Option(help="The language of records that name none; found out from the text if not given.")] = "",
            remove_overused: Annotated[bool, typer.Option("--remove-overused", help="Remove questions with over-used words, too, which are only reported otherwise. Words that the questions have from their own texts are none.")] = False,
            fields: Fields = None,
            workers: Annotated[int, typer.Option(min=0, help="Processes that examine records.")] = 0, settings: Settings = None) -> None:
    "Filter anyone's records: questions that lean on a passage, over-used words, caps; what is dropped is listed with its reason. Example: aquilt filter mine.jsonl kept.jsonl"
    from aquilt.filtering import frequent_words, waterfall
    from aquilt.foundations.profiles import get_profile
    from aquilt.own.foreign import filter_any
    from aquilt.foundations.tasks import task_names
    change(settings)
    result = filter_any(source, out, get_profile(profile), fields or (), seed=seed, task=task, lang=lang, workers=workers,
                        remove_overused=remove_overused, warn=lambda sentence: typer.echo(f"aquilt: {sentence}", err=True))
    something_left(result["counts"], out)
    typer.echo(waterfall(result).to_string())
    for code in LANGS:
        if len(words := frequent_words(result, code)): typer.echo(f"\nThe most frequent words ({code}), as shares of the task's questions:\n{words.round(3).to_string(index=False)}")
    if result.get("over_used"):
        found = [f"{row['word']} ({row['task'] or 'no task'}, {row['lang']}): {row['questions']}" for row in result["over_used"][:10]]
        typer.echo(f"\nOver-used words, only reported; with --remove-overused so many questions would go for each: {', '.join(found)}")
    other = sum(row["generated"] for row in result["tasks"] if row["task"] not in task_names())
    if other: typer.echo(f"\naquilt: {other} records name none of the task types ({', '.join(task_names())}): whether their questions make sense alone was not asked. Say --task where they have none.", err=True)
    counts = result["counts"]
    typer.echo(f"\n{out}: {counts['kept']} of {counts['entered']} records kept; the {counts['dropped']} others, each with its reason, are in {beside(out)}")


ProjectDir = Annotated[Optional[Path], typer.Option("--project", metavar="DIR", help="The folder of your aquilt.toml; the current one if not given.")]
OwnText = Annotated[Optional[list[str]], typer.Option("--text", help="Your text: a file, a folder, or hub:OWNER/NAME@REVISION; may be repeated.")]
OwnTasks = Annotated[Optional[list[str]], typer.Option("--task", help=f"What the records are to train: one of {', '.join(TASKS)}, or a task of your own; may be repeated.")]
TaskFile = Annotated[Optional[str], typer.Option("--task-file", help="A TOML file with tasks of your own; `aquilt init` writes an example.")]
OwnLangs = Annotated[Optional[list[str]], typer.Option("--lang", help=f"A language that stays, {' or '.join(LANGS)}; may be repeated; both if not given.")]
Teacher = Annotated[Optional[str], typer.Option("--teacher", metavar="MODEL@ADDRESS|VARIABLE", help="Who writes the first records; VARIABLE of the environment holds the key.")]
Student = Annotated[Optional[str], typer.Option("--student", help="The model that learns to write and to inspect: a hub id or a folder.")]
Machine = Annotated[Optional[str], typer.Option("--profile", help="Whose engine and sizes hold where you name none: single_gpu, or mini for a trial on a CPU.")]


def own_run(project: Path | None, settings: list[str] | None, **flags):
    "The run of your own project: of the file, or of flags alone."
    from aquilt.own.domain import open_project, read_project
    change(settings)
    return open_project(read_project(project or Path(), **flags))


def print_ledger(run, stages: list[str]) -> None:
    "The ledger of stages, and what could not be read."
    from aquilt.foundations.runs import ledger_table
    typer.echo(ledger_table(run, stages).to_string(index=False))
    typer.echo(f"Each dropped record with its reason is in dropped.jsonl of these folders in {run.root}.")


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder; it is made where it is not there.")] = Path()) -> None:
    "Begin a project of your own: a commented aquilt.toml, an example of a task, a folder for text. Example: aquilt init mine"
    from aquilt.own.domain import init
    file = init(folder)
    typer.echo(f"{file}: edit it, put files into {file.parent / 'text'}, and run `aquilt distill --estimate` there.")


@app.command()
def distill(project: ProjectDir = None, text: OwnText = None, task: OwnTasks = None, task_file: TaskFile = None, lang: OwnLangs = None, teacher: Teacher = None, student: Student = None, profile: Machine = None,
            preview: Annotated[int, typer.Option(min=0, metavar="N", help="Show N finished records beside their passages, and stop; they are kept, and not paid for again.")] = 0,
            estimate: Annotated[bool, typer.Option("--estimate", help="Say what all will cost, from a sample of requests, and stop; the sample is kept.")] = False,
            requests: Annotated[int, typer.Option(min=2, help="How many requests that sample has.")] = 20,
            budget: Annotated[Optional[str], typer.Option(help="What the teacher's replies may cost in all; it stops there, with all work kept.")] = None,
            batch: Annotated[bool, typer.Option("--batch", help="Ask by the provider's batch API: cheaper, and slower by hours.")] = False,
            concurrency: Concurrency = None, requests_per_minute: Requests = None, tokens_per_minute: Tokens = None, timeout: Timeout = None,
            prices: Prices = None, settings: Settings = None) -> None:
    "Have a strong teacher write records about your own text. Example: aquilt distill --text notes/ --task closed_book_qa --preview 5"
    from aquilt.distillation import cost_table
    from aquilt.distillation import estimate as estimated
    from aquilt.own import domain
    pay_by(prices, budget, batch)
    ask_within(concurrency=concurrency, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, timeout=timeout)
    run = own_run(project, settings, text=text, tasks=task, task_file=task_file, languages=lang, teacher=teacher, student=student, profile=profile)
    domain.check(run)
    typer.echo(domain.asked_for(run))
    for sentence in run.result("corpus")["problems"]: typer.echo(f"aquilt: {sentence}", err=True)
    if estimate: return typer.echo(estimated(run, requests).to_string(index=False))
    if preview: return typer.echo("\n\n".join(map(domain.beside_its_passage, domain.preview(run, preview))))
    domain.distil(run)
    typer.echo(cost_table(run).to_string(index=False))
    print_ledger(run, ["corpus", "distillation"])
    typer.echo(f"{run.folder('distillation') / 'records.jsonl'}: next comes `aquilt fit`.")


@app.command()
def fit(project: ProjectDir = None, text: OwnText = None, task: OwnTasks = None, task_file: TaskFile = None, lang: OwnLangs = None, teacher: Teacher = None, student: Student = None, profile: Machine = None,
        budget: Annotated[Optional[str], typer.Option(help="What the teacher's replies, those of `distill` among them, may cost in all.")] = None,
        batch: Annotated[bool, typer.Option("--batch", help="Ask by the provider's batch API: cheaper, and slower by hours.")] = False,
        concurrency: Concurrency = None, requests_per_minute: Requests = None, tokens_per_minute: Tokens = None, timeout: Timeout = None,
        engine_args: EngineArgs = None, prices: Prices = None, settings: Settings = None) -> None:
    "Train a writer and an inspector on what the teacher wrote; it is asked once more, for scores. Flags are those of `distill`. Example: aquilt fit --budget 5"
    from aquilt.own import domain
    pay_by(prices, budget, batch)
    ask_within(concurrency=concurrency, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, timeout=timeout)
    argue(engine_args)
    run = own_run(project, settings, text=text, tasks=task, task_file=task_file, languages=lang, teacher=teacher, student=student, profile=profile)
    domain.check(run)
    domain.fit(run)
    print_ledger(run, ["filtering", "synthesiser", "inspection_data", "inspector"])
    if words := domain.frequent(run): typer.echo(f"Words in many questions, kept as your domain's own: {words}. Where they are a habit of the teacher, --set frequent_word=0.1 thins them.")
    typer.echo("Next comes `aquilt synthesize --samples 1000 --out records.jsonl`.")


@app.command()
def synthesize(out: Annotated[Path, typer.Option(help="The records, .jsonl or .parquet.")],
               file: Annotated[Optional[Path], typer.Argument(help="Passages that `aquilt corpus` made, or any file or folder that it reads; your project's passages if not given.")] = None,
               task: OwnTasks = None,
               lang: Annotated[str, typer.Option(help=f"Language of the text, {' or '.join(LANGS)}; found out for each passage if not given.")] = "",
               samples: Annotated[int, typer.Option(min=0, help="How many to ask for, the passages in turn; 0: one for each passage and task.")] = 0,
               keep: Annotated[int, typer.Option(min=0, help="Go on in rounds until so many are kept; 0: one round.")] = 0,
               seed: int = 0,
               prefix: Annotated[str, typer.Option(help="How each question begins: the instruction of a task that the writer has not learnt.")] = "",
               project: ProjectDir = None, task_file: TaskFile = None,
               base: Annotated[str, typer.Option("--model", help="Another writer than a run's: a hub id or a folder.")] = "",
               adapter: Annotated[str, typer.Option(help="The folder of a LoRA that is merged into --model first.")] = "",
               inspector: Annotated[str, typer.Option(help="The folder of the inspector's LoRA on that model.")] = "",
               prompts: Annotated[str, typer.Option(help="The prompts that these models were trained on: ours, or official for the authors' released weights.")] = "ours",
               dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and what it takes: engine, memory, prompts, cost.")] = False,
               profile: Annotated[Optional[str], typer.Option("--profile", help="Write with the models of this profile's run, mini if there is no project; with --model the profile, paper if not given, says engine and sizes.")] = None,
               engine_args: EngineArgs = None, settings: Settings = None, run_dir: RunDir = None) -> None:
    "Write inspected records about text of your own, by the two models of your project, of a run, or of released weights. Example: aquilt synthesize --samples 1000 --out records.jsonl"
    from aquilt.own.released import choose_writers, dry_run
    from aquilt.runner.needs import engine_memory
    from aquilt.synthesis import Order, synthesize_file
    use(run_dir)
    argue(engine_args)
    if not dry: check_output(out, filter(None, [file]))
    if project or Path("aquilt.toml").is_file() and not (base or profile or run_dir):
        run = own_run(project, settings, tasks=task, task_file=task_file)
    else:
        run = None
        change(settings)
        if task_file: os.environ["AQUILT_TASKS"] = str(Path(task_file).absolute())
    tasks = tuple(task or run and run.profile.tasks or ())
    text = file or run and run.folder("corpus") / "records.jsonl"
    if not tasks or not text:
        raise UserError(f"{'--task says what the records are to train' if text else 'FILE says what to write about'}: give it, or a --project that names its own.")
    p, writers = choose_writers(run, (base, adapter, inspector, prompts), profile, dry)
    order = Order(tasks, lang, samples, keep, seed, prefix)
    if dry: return typer.echo(dry_run(text, order, writers, p, engine_memory(base or writers.model, p.context, p.dtype)))
    counts = synthesize_file(text, out, order, writers, p)
    something_left(counts, out)
    what = "passages became records" if (len(tasks), samples, keep) == (1, 0, 0) else "requests became records"
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} {what} that passed inspection")
