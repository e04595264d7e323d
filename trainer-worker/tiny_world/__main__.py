"""Command line of the small world; `python -m tiny_world --help`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from tiny_world.paths import CACHE, DETECTOR, IMAGE_TEXT, MODEL
from tiny_world.settings import AUTOENCODER_STEPS, DETECTOR_STEPS, IMAGE_TEXT_STEPS, PRETRAIN_STEPS

EPILOG = """\
examples:
  python -m tiny_world all                     everything from nothing; about an hour and a half on two cores
  python -m tiny_world pretrain --steps 20000  go on longer (before the learning rate begins to fall)
  python -m tiny_world export                  write models/tiny-world from the last checkpoint
  python -m tiny_world evaluate --card         measure 600 held-out pictures and write the model card

An interrupt (Ctrl-C) during `pretrain` saves a checkpoint; the same command goes on from it. Checkpoints lie in
.cache/tiny-world; delete that folder to begin from nothing."""


def _prompts(_arguments: argparse.Namespace) -> None:
    from tiny_world.prompts import write_prompts

    for name, count in write_prompts(MODEL / "prompts").items():
        print(f"{count:5d} lines in {MODEL / 'prompts' / name}.jsonl")


def _autoencoder(arguments: argparse.Namespace) -> None:
    from tiny_world.autoencoder import train_autoencoder
    from tiny_world.timings import timed

    with timed(arguments.cache, "autoencoder", restart=True):
        train_autoencoder(arguments.cache / "autoencoder", steps=arguments.steps, seed=arguments.seed)


def _pretrain(arguments: argparse.Namespace) -> None:
    from tiny_world.pretrain import pretrain

    pretrain(
        arguments.cache,
        steps=arguments.steps,
        seed=arguments.seed,
        save_every=arguments.save_every,
        evaluate_every=arguments.evaluate_every,
    )


def _export(arguments: argparse.Namespace) -> None:
    from tiny_world.export import export

    step = export(arguments.cache, arguments.model)
    print(f"wrote {arguments.model} from step {step}")


def _detector(arguments: argparse.Namespace) -> None:
    from tiny_world.detector import train_detector
    from tiny_world.timings import timed

    with timed(arguments.cache, "detector", restart=True):
        train_detector(arguments.model, DETECTOR, steps=arguments.steps, seed=arguments.seed)


def _image_text(arguments: argparse.Namespace) -> None:
    import torch

    from tiny_world.image_text import make_image_text_scorer
    from tiny_world.timings import timed

    # One thread: on shared cores two are slower, and the result is the same on every machine of one kind.
    torch.set_num_threads(1)
    checkpoint = arguments.cache / "image-text"
    with timed(arguments.cache, "image-text", restart=True):
        make_image_text_scorer(arguments.model, checkpoint, IMAGE_TEXT, steps=arguments.steps, seed=arguments.seed)


def _evaluate(arguments: argparse.Namespace) -> None:
    from tiny_world.card import write_card
    from tiny_world.evaluate import describe, measure
    from tiny_world.pipeline import load_pipeline

    results = measure(
        load_pipeline(arguments.model),
        per_tag=arguments.per_tag,
        seed=arguments.seed,
        sheet=arguments.cache / "evaluation.png",
    )
    print(describe(results))
    if arguments.card:
        write_card(arguments.cache, arguments.model, results, per_tag=arguments.per_tag, seed=arguments.seed)


def _all(arguments: argparse.Namespace) -> None:
    """Run every stage with its defaults; stages whose result lies in the cache are not repeated."""
    cache, model = ["--cache", str(arguments.cache)], ["--model", str(arguments.model)]
    commands = [["prompts"], ["autoencoder", *cache], ["pretrain", *cache], ["export", *cache, *model]]
    if (arguments.cache / "autoencoder" / "config.json").exists():
        commands.remove(["autoencoder", *cache])
    commands += [["detector", *cache, *model], ["image-text", *cache, *model], ["evaluate", "--card", *cache, *model]]
    for command in commands:
        print(f"== {command[0]}", flush=True)
        main(command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tiny_world",
        description="Train, export and measure the small world: a miniature Stable Diffusion 3 of shapes and words.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.set_defaults(run=run)
        command.add_argument("--cache", type=Path, default=CACHE, help="folder of checkpoints")
        command.add_argument("--model", type=Path, default=MODEL, help="folder of the exported pipeline")
        command.add_argument("--seed", type=int, default=0, help="seed of every random draw")
        return command

    add("prompts", _prompts, "write the training and evaluation prompts (seconds; always the same bytes)")
    command = add("autoencoder", _autoencoder, "train the autoencoder (minutes)")
    command.add_argument("--steps", type=int, default=AUTOENCODER_STEPS, help="training steps")
    command = add("pretrain", _pretrain, "train the transformer; resumes from its checkpoint (about an hour)")
    command.add_argument("--steps", type=int, default=PRETRAIN_STEPS, help="steps in all")
    command.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")
    command.add_argument("--evaluate-every", type=int, default=1000, help="steps between quick measurements")
    add("export", _export, "write the pipeline folder from the newest checkpoint (seconds)")
    command = add("detector", _detector, "train the detector and export it to ONNX (minutes)")
    command.add_argument("--steps", type=int, default=DETECTOR_STEPS, help="training steps")
    command = add("image-text", _image_text, "train the image-text model and export it to ONNX (a quarter of an hour)")
    command.add_argument("--steps", type=int, default=IMAGE_TEXT_STEPS, help="training steps")
    command = add("evaluate", _evaluate, "measure strict accuracy on held-out prompts (a minute)")
    command.add_argument("--per-tag", type=int, default=100, help="pictures of each kind of prompt")
    command.add_argument("--card", action="store_true", help="write the model card with the result")
    add("all", _all, "prompts, autoencoder, pretrain, export, detector, image-text, evaluate: all from nothing")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments and run one command."""
    parsed = _parser().parse_args(arguments)
    parsed.run(parsed)


if __name__ == "__main__":
    main()
