"""How the miniature's models are made, and what a launched training does."""
from pathlib import Path
from typing import Annotated, Optional

import typer

from aquilt.commands.options import app, finite


@app.command("train-job", hidden=True)
def train_job(job: Path) -> None:
    "Do a training that a stage wrote down: what `accelerate launch` starts in each process."
    from aquilt.training import do_training_job
    do_training_job(job)


Steps = Annotated[Optional[int], typer.Option(min=1, help="Training steps; those of the shipped models if not given.")]
Folder = Annotated[Path, typer.Argument(help="Where the model, its tokenizer and its log go.")]


@app.command()
def pretrain(architecture: Annotated[str, typer.Argument(help="qwen2 or llama.")], folder: Folder, steps: Steps = None, seed: int = 0,
             peak: Annotated[float, typer.Option(min=0, callback=finite, help="The highest learning rate.")] = 4e-3,
             start: Annotated[Optional[Path], typer.Option(help="A finished base model to begin with, where names and shapes agree.")] = None,
             tokenizer: Annotated[Optional[Path], typer.Option(help="A base model whose tokenizer alone is kept; the weights begin at random.")] = None,
             exercise: Annotated[bool, typer.Option("--exercise", help="Exercises alone, in short rows: a step of the shipped models' training.")] = False) -> None:
    "Train a base model of the miniature. The same command resumes a training that was stopped. Example: aquilt pretrain qwen2 mine --steps 1000"
    from aquilt.miniature.pretraining import pretrain
    typer.echo(pretrain(architecture, folder, peak=peak, seed=seed, start=start, tokenizer=tokenizer, exercise=exercise, **({"steps": steps} if steps else {})))


@app.command()
def instruct(base: Annotated[Path, typer.Argument(help="The folder of a base model of the miniature.")], folder: Folder, steps: Steps = None, seed: int = 0) -> None:
    "Train the instruct version of a base model. The same command resumes a training that was stopped. Example: aquilt instruct mine mine-instruct"
    from aquilt.miniature.pretraining import instruct
    typer.echo(instruct(base, folder, seed=seed, **({"steps": steps} if steps else {})))
