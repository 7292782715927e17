"""A fine-tune in a process of its own: it gives all of its memory back, and accelerate can start several.

    python -m classify.finetuning FOLDER

trains what ``finetune.job.begin`` left in FOLDER, and goes on where a killed process stopped.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from catalog.errors import ShelfmarkError
from catalog.files import owned, read_json
from catalog.messages import LabelPath
from catalog.schema import Policy, Schema
from catalog.taxonomy import Taxonomy
from classify import console
from classify.progress import Progress, bar, silent
from finetune.job import TrainingJob
from postprocess import Snapper

MISTAKE = "mistake.txt"
PARENT = "SHELFMARK_PARENT"


READING = "reading.json"
"""What a fine-tune's folder says of how answers are read: the schema and the policy; beside ``taxonomy.csv``."""
POLL_SECONDS = 1.0


def path_reader(taxonomy: Taxonomy, policy: Policy) -> Callable[[Sequence[str]], list[LabelPath | None]]:
    """Return a function that reads answers as everything else does: parsed, and snapped onto valid paths."""
    snapper = Snapper(taxonomy, policy)
    return lambda texts: [found.path for found in snapper.snap_all(list(texts))]


def train_apart(folder: Path, *, accelerate_config: str = "", progress: Progress = silent) -> None:
    """Train the job in `folder` in a process of its own; or, with a configuration of accelerate's, in several.

    Parameters
    ----------
    folder : Path
        With ``job.json``, ``taxonomy.csv`` and ``reading.json``.
    accelerate_config : str
        A YAML file for ``accelerate launch`` or a JSON file for DeepSpeed; empty for one process.
    progress : Progress
        `silent` keeps the process from showing anything.

    Raises
    ------
    ShelfmarkError
        What the process said, where it was a mistake that people can mend; or that it ended.
    """
    command = [sys.executable]
    if accelerate_config:
        kind = "--deepspeed_config_file" if accelerate_config.endswith(".json") else "--config_file"
        command += ["-m", "accelerate.commands.launch", kind, accelerate_config]
        command += ["--use_deepspeed"] if kind.startswith("--deepspeed") else []
    command += ["-m", "classify.finetuning", str(folder), *(["--quiet"] if progress is silent else [])]
    mistake = folder / MISTAKE
    mistake.unlink(missing_ok=True)
    environment = {**os.environ, PARENT: str(os.getpid()), "TOKENIZERS_PARALLELISM": "false"}
    if not accelerate_config:
        # A checkpoint may be another's, and to unpickle one is to run what it says. DeepSpeed can do no other.
        environment.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
        environment["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    quiet = subprocess.DEVNULL if progress is silent else None
    # Our own module by this Python, or accelerate with a configuration that the user named; no shell.
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=quiet, stderr=quiet, env=environment
    ) as process:
        code = process.wait()
    if mistake.is_file():
        raise ShelfmarkError(mistake.read_text(encoding="utf-8"))
    if code:
        raise ShelfmarkError(
            f"{folder}: training stopped with exit code {code} (its own messages stand above; where memory is short, "
            "take a smaller --batch-size); the same command goes on from the last checkpoint"
        )


def main(folder: Path, *, quiet: bool) -> None:
    """Train the job in `folder`; what people can mend is left in ``mistake.txt``."""
    from finetune.training import train

    if PARENT in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[PARENT]),), daemon=True).start()
    first = os.environ.get("RANK", "0") == "0"
    shown = first and not quiet
    try:
        with open(folder / ".lock", "a", opener=owned) as lock:
            if first:
                _lock(lock.fileno(), folder)
            train(
                TrainingJob.open(folder),
                _judge(folder),
                tell=console.tell if shown else _ignore,
                progress=bar if shown else silent,
            )
    except ShelfmarkError as error:
        try:
            with open(folder / MISTAKE, "w", encoding="utf-8", opener=owned) as out:
                out.write(str(error))
        except OSError:  # where the disk is full, not even this can be written
            console.tell(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _judge(folder: Path) -> Callable[[Sequence[str]], list[bool]]:
    about = read_json(folder / READING)
    read = path_reader(Taxonomy.read(folder / "taxonomy.csv", Schema.from_dict(about["schema"])), about["policy"])
    labels = [label for _, label in TrainingJob.open(folder).validation()]
    return lambda texts: [path == label for path, label in zip(read(texts), labels, strict=True)]


def _lock(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ShelfmarkError(f"{folder}: another process is training there; wait for it") from None


def _end_with(parent: int) -> None:
    """End this process when the one that began it is gone, however that ended."""
    while True:
        try:
            os.kill(parent, 0)
        except OSError:
            os._exit(1)
        time.sleep(POLL_SECONDS)


def _ignore(line: str) -> None:
    del line


if __name__ == "__main__":
    main(Path(sys.argv[1]), quiet="--quiet" in sys.argv)
