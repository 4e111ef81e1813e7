"""Each file of a folder of damaged ones, through the commands that a user would use: what they say, and what they take.

python -m campaign.files [FOLDER [KIND ...]] [--write]     in tests/; prints a table, ends with status 1 for faults

The word that begins a file's name says what it stands for (`KINDS`). A command may end in an answer, with status 0, or
with one line that names the file and another status; in less than two seconds of the processor and 500 MB beyond what
the same command takes of both for a whole file, imports first of all.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from campaign import page
from campaign.tries import peak, reset_peak
from data.layouts import write_image_folder

from gaussmix._guard import shown

CASES = Path(__file__).parent / "cases"
MOST_SECONDS, MOST_BYTES = 2.0, 500_000_000
_BAR = re.compile(r"^[A-Z][\w -]+ [━╸╺ ]* *\d+/\d+ |^training +\d+%")  # a progress bar
TINY = (
    "--preset unet --size 8 --channels 8 16 --timesteps 20 --beta-schedule constant --beta 0.3 --batch-size 2 "
    "--warmup-steps 1 --mixed-precision no --reader-steps 0 --checkpoint-every 2"
).split()


@dataclass(frozen=True)
class Call:
    """A command, the word that an error must name, and the same command for a whole file."""

    words: list[str]
    named: str
    whole: list[str]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    said: list[str]
    seconds: float
    memory: int

    def fault(self, named: str) -> str:
        """What is wrong with that, if anything."""
        if self.seconds > MOST_SECONDS or self.memory > MOST_BYTES:
            return "takes too much"
        if any("Traceback" in line or "fault of gaussmix" in line or "panicked" in line for line in self.said):
            return "traceback"
        if self.status == 0:
            return ""
        if self.status not in (1, 2) or len(self.said) != 1:
            return f"status {self.status}, {len(self.said)} lines"
        return "" if named in self.said[0] else "does not name the file"


class Kinds:
    """The commands for each kind of file; what they need beside it lies in ``root``."""

    def __init__(self, root: Path):
        self.root = root
        np.save(root / "whole.npy", np.random.default_rng(0).normal(size=300))
        self.fit = ["density", "fit", str(root / "whole.npy"), "-o", str(root / "whole.safetensors")]
        self.pictures = write_image_folder(root / "pictures", [f"{i}.png" for i in range(10)])
        from PIL import Image

        Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(root / "style.png")

    def column(self, file: Path) -> list[Call]:
        words = ["density", "fit", str(file), "-o", str(self.root / "out.safetensors")]
        return [Call([*words, *more], file.name, self.fit) for more in ([], ["--column", "0"])]

    def model(self, file: Path) -> list[Call]:
        whole = str(self.root / "whole.safetensors")
        self._make(self.fit)
        return [Call(["density", name, str(file)], file.name, ["density", name, whole]) for name in ("info", "sample")]

    def picture(self, file: Path) -> list[Call]:
        folder = self._copy("pictures")
        shutil.copy(file, folder / "0.png")
        return [Call(self._train(folder), "0.png", self._train(self.pictures))]

    def cifar(self, file: Path) -> list[Call]:
        folder = self.root / "cifar-10-batches-py"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}, protocol=2))
        batch = {b"data": np.zeros((10_000, 3072), np.uint8), b"labels": [i % 10 for i in range(10_000)]}
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        name = "batches.meta" if file.name.endswith("batches.meta") else "data_batch_1"
        shutil.copy(file, folder / name)
        return [Call(self._train(folder), name, self._train(self.pictures))]

    def checkpoint(self, file: Path) -> list[Call]:
        """The newest of two, and the only one, of a run from before there were manifests."""
        calls, whole = [], [*self._train(self.pictures, self._trained()), "--resume"]
        for alone in (False, True):
            run = self._copy("run")
            *older, newest = sorted((run / "checkpoints").iterdir())
            shutil.copy(file, newest / "state.json")
            if alone:
                (newest / "manifest.json").unlink()
                for each in older:
                    shutil.rmtree(each)
            words = self._train(self.pictures, run)
            words[words.index("--steps") + 1] = "6"
            calls.append(Call([*words, "--resume"], "step-00000004", whole))
        return calls

    def scheduler(self, file: Path) -> list[Call]:
        model = self._copy("run") / "model" if self._trained() else Path()
        shutil.copy(file, model / "scheduler" / "scheduler_config.json")
        whole = str(self._trained() / "model")
        draw = [["faces", "attributes", str(each)] for each in (model, whole)]
        out = ["--output", str(self.root / "faces.png"), "--count", "1", "--steps", "2"]
        sample = [["faces", "sample", str(each), *out] for each in (model, whole)]
        return [Call(words, str(model), well) for words, well in (draw, sample)]

    def code(self, file: Path) -> list[Call]:
        calls, whole = [], ["faces", "attributes", str(self._trained() / "model")]
        for entry in ("_class_name", "scheduler", "unet"):
            model = self._copy("run") / "model"
            shutil.copy(file, model / "evil.py")
            index = json.loads((model / "model_index.json").read_text())
            index[entry] = ["evil", "Evil"]
            (model / "model_index.json").write_text(json.dumps(index))
            calls.append(Call(["faces", "attributes", str(model)], str(model), whole))
        return calls

    def weights(self, file: Path) -> list[Call]:
        out = ["-o", str(self.root / "s.safetensors")]
        whole = self.root / "whole.pth"
        if not whole.exists():
            import torch

            from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features

            torch.save(VGG19Features.random(width=1, layers=STYLE_LAYERS).state_dict(), whole)
        words = [["style", "fit", str(self.root / "style.png"), "--weights", str(each), *out] for each in (file, whole)]
        return [Call(words[0], file.name, words[1])]

    def _train(self, data: Path, run: Path | None = None) -> list[str]:
        run = run or self._empty("new")
        return ["faces", "train", "--data", str(data), "--output", str(run), "--steps", "4", *TINY]

    def _trained(self) -> Path:
        run = self.root / "run"
        if not run.exists():
            self._make(self._train(self.pictures, run))
        return run

    def _make(self, words: list[str]) -> None:
        done = watched(words, [])
        assert done.status == 0, done.said

    def _empty(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=name, dir=self.root)) / name

    def _copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.root / name, self._empty("copy") / name))


HEAD = ("| file | command | status | CPU, s | memory, MB | said |", "| --- | --- | --- | --- | --- | --- |")
KINDS: dict[str, Callable[[Kinds, Path], list[Call]]] = {
    **dict.fromkeys(("npy", "text", "parquet", "values"), Kinds.column),
    "model": Kinds.model,
    "image": Kinds.picture,
    "cifar": Kinds.cifar,
    "checkpoint": Kinds.checkpoint,
    "folder": Kinds.scheduler,
    "diffusers037": Kinds.code,
    "vgg": Kinds.weights,
}


def watched(words: list[str], whole: list[str]) -> Ended:
    """Run a command in a fork, after the same one for a whole file."""
    with tempfile.TemporaryDirectory() as beside:
        said, facts = Path(beside, "said"), Path(beside, "facts")
        child = os.fork()
        if child == 0:
            _in_child(words, whole, said, facts)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        lines = without_bars(said.read_text(errors="replace") if said.exists() else "")
        if status:
            return Ended(status, [*lines, "Traceback: the process died"], 0.0, 0)
        return Ended(said=lines, **json.loads(facts.read_text()))


def without_bars(said: str) -> list[str]:
    """Lines of standard error that say something."""
    return [line for line in said.splitlines() if line.strip() and not _BAR.search(line)]


def _in_child(words: list[str], whole: list[str], said: Path, facts: Path) -> None:
    status = 1
    try:
        from gaussmix.cli import main

        null = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        if whole and main(whole):
            raise RuntimeError(f"a whole file fails: {whole}")
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
        before, started = reset_peak(), time.process_time()
        ended = main(words)
        taken = {"seconds": time.process_time() - started, "memory": peak() - before}
        facts.write_text(json.dumps({"status": ended, **taken}))
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def run(folder: Path, names: list[str]) -> tuple[list[str], int]:
    """The rows of the table, of kinds with these names, and how many are faults."""
    rows, faults = [], 0
    with tempfile.TemporaryDirectory() as root:
        os.environ |= {"TMPDIR": root, "GAUSSMIX_CACHE": f"{root}/cache", "HF_HUB_OFFLINE": "1"}
        tempfile.tempdir = root
        kinds = Kinds(Path(root))
        for file in sorted(folder.iterdir()):
            name = file.name.split("-")[0]
            for call in KINDS[name](kinds, file) if name in names else ():
                ended = watched(call.words, call.whole)
                fault = ended.fault(call.named) or ("code ran" if Path(root, "gaussmix-marker").exists() else "")
                faults += bool(fault)
                answer = (
                    ended.said[-1].replace(f"{root}/", "").replace(f"{folder}/", "") if ended.status else "an answer"
                )
                answer = shown(re.sub(r"copy\w+/copy/", "", answer).removeprefix("gaussmix: ").replace("|", "\\|"), 120)
                command = " ".join(call.words[:2]) + (" --column" if "--column" in call.words else "")
                numbers = f"{ended.status} | {ended.seconds:.2f} | {ended.memory / 1e6:.0f}"
                rows.append(f"| {file.name} | {command} | {numbers} | {fault or answer} |")
                print(rows[-1], flush=True)
    return rows, faults


def main() -> int:
    """Print the table; the exit status is 1 for a fault."""
    import gaussmix.cli.density
    import gaussmix.cli.faces
    import gaussmix.cli.style
    import gaussmix.diffusion.train
    import gaussmix.style.vgg  # noqa: F401

    words = [word for word in sys.argv[1:] if word != "--write"]
    folder = Path(words[0]) if words else CASES
    print(*HEAD, sep="\n")
    rows, faults = run(folder, words[1:] or list(KINDS))
    print(last := f"\n{len(rows)} commands, {faults} faults")
    if "--write" in sys.argv:
        page.write("files", [*HEAD, *rows, f"{last}. {page.versions()}"])
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
