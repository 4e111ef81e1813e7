"""The training loop: its loss, bit-identical resume after a kill, interruption, NaN."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny import squares_dataset, tiny_config, tiny_unet

from gaussmix._files import read_tensors, write_tensors
from gaussmix.diffusion.config import PRESETS, DiffusionConfig
from gaussmix.diffusion.loss import DiffusionLosses, ForwardProcess, detail_weights
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.train import DiffusionTrainer, TrainingBatches, TrainingError, train
from gaussmix.training.checkpoints import CheckpointStore
from gaussmix.training.lock import only_run

TESTS = Path(__file__).parents[1]


def weights_hash(out: Path) -> str:
    """Of the network, the averaged weights and the optimiser in the newest checkpoint."""
    checkpoint = CheckpointStore(out / "checkpoints").latest()
    assert checkpoint is not None
    digest = hashlib.sha256(str(checkpoint.step).encode())
    for group in sorted(checkpoint.tensors):
        for name, tensor in sorted(checkpoint.tensors[group].items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def run_in_a_process(out: Path, preparation: str, **settings) -> int:
    """Train in another process after some lines of preparation; returns its exit status."""
    code = f"""
    import os, signal
    from pathlib import Path
    from tiny import squares_dataset, tiny_config
    from gaussmix.diffusion import train
    from gaussmix.diffusion import train as run
    from gaussmix.training import checkpoints
    {textwrap.indent(textwrap.dedent(preparation), "    ").strip()}
    run.train(tiny_config(Path({str(out)!r}), **{settings!r}), squares_dataset())
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=False).returncode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    train(tiny_config(out), squares_dataset(), progress=False)
    return out


def test_25_steps_a_kill_and_35_steps_equal_60_steps(tmp_path, uninterrupted):
    kill_after_27_steps = """
    steps = train.DiffusionTrainer.steps
    def until_killed(self):
        for result in steps(self):
            yield result
            if self.step == 27:
                os.kill(os.getpid(), signal.SIGKILL)
    train.DiffusionTrainer.steps = until_killed
    """
    assert run_in_a_process(tmp_path, kill_after_27_steps) == -signal.SIGKILL
    assert CheckpointStore(tmp_path / "checkpoints").paths()[-1].name == "step-00000025"
    train(tiny_config(tmp_path, resume=True), squares_dataset(), progress=False)
    assert weights_hash(tmp_path) == weights_hash(uninterrupted)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    assert all(row["denoising"] == row["loss"] and "classification" not in row for row in rows)


def test_a_kill_in_the_middle_of_a_checkpoint_costs_that_checkpoint_only(tmp_path, uninterrupted):
    kill_while_writing_step_20 = """
    save_file = checkpoints.save_file
    def killing(tensors, path):
        save_file(tensors, path)
        if "step-00000020" in str(path) and path.name == "ema.safetensors":
            os.truncate(path, 100)
            os.kill(os.getpid(), signal.SIGKILL)
    checkpoints.save_file = killing
    """
    assert run_in_a_process(tmp_path, kill_while_writing_step_20) == -signal.SIGKILL
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.paths()[-1].name == "step-00000015"
    train(tiny_config(tmp_path, resume=True), squares_dataset(), progress=False)
    assert weights_hash(tmp_path) == weights_hash(uninterrupted)
    assert not [p for p in (tmp_path / "checkpoints").iterdir() if p.name.startswith(".")]


def test_ctrl_c_saves_and_resumes(tmp_path, uninterrupted, monkeypatch):
    steps = DiffusionTrainer.steps

    def interrupted(self):
        for result in steps(self):
            yield result
            if self.step == 12:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(DiffusionTrainer, "steps", interrupted)
    result = train(tiny_config(tmp_path), squares_dataset(), progress=False)
    assert result.interrupted
    assert result.model is None
    assert result.step in (12, 13)  # the signal is seen before or after the next step's check
    monkeypatch.undo()
    assert not train(tiny_config(tmp_path, resume=True), squares_dataset(), progress=False).interrupted
    assert weights_hash(tmp_path) == weights_hash(uninterrupted)


def test_a_finished_run_left_everything(uninterrupted):
    names = {p.name for p in uninterrupted.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "model", "samples.png", "latents.safetensors"} <= names
    assert len(CheckpointStore(uninterrupted / "checkpoints").paths()) == 2
    pipe = AttributeDiffusionPipeline.load(uninterrupted)
    assert pipe.attribute_names == ("Bald", "Long_Hair", "Sunglasses")
    assert pipe.training["steps"] == 60
    checkpoint = CheckpointStore(uninterrupted / "checkpoints").latest()
    assert checkpoint is not None
    for name, value in pipe.network.named_parameters():
        assert torch.equal(value, checkpoint.tensors["ema"][name])


@pytest.mark.parametrize(
    "settings",
    [
        {"pairing": "fixed", "conditioning": "concat", "objective": "epsilon", "timestep_sampling": "uniform"},
        {"pairing": "fresh", "conditioning": "cross_attention", "injection": "mid_up", "accumulate": 2},
        {"conditioning": "multi_hot", "injection": "up", "detail_weight": 1.0},
        {"mixed_precision": "bf16", "minutes": 5.0, "sample_every": 3, "detail_weight": 2.0},
    ],
)
def test_every_setting_trains(tmp_path, settings):
    result = train(tiny_config(tmp_path, steps=4, **settings), squares_dataset(), progress=False)
    assert result.model is not None
    assert result.step == 4


def test_accumulated_batches_equal_one_large_batch(tmp_path):
    """Two halves have the loss and the gradient of the whole, if noise is left out of it."""

    def losses_and_norms(out, **settings):
        trainer = DiffusionTrainer(tiny_config(out, steps=2, condition_dropout=0.0, **settings), squares_dataset())

        def noiseless(model, images, attributes, latents, _generator, _network):
            steps = torch.full((len(images),), 7)
            loss = model(images, steps, latents, attributes, return_dict=False)[0].square().mean()
            return DiffusionLosses(loss, loss)

        trainer.diffusion.loss = noiseless  # pyright: ignore[reportAttributeAccessIssue]
        return [(float(losses.total), float(norm)) for losses, norm in trainer.steps()]

    whole = losses_and_norms(tmp_path / "a", batch_size=10)
    halves = losses_and_norms(tmp_path / "b", batch_size=5, accumulate=2)
    assert whole[0] == pytest.approx(halves[0], rel=1e-5)
    assert whole[1] == pytest.approx(halves[1], rel=1e-2)
    assert losses_and_norms(tmp_path / "c", batch_size=5)[0] != pytest.approx(whole[0], rel=1e-3)


def test_stopping_by_minutes_ends_the_schedule_too(tmp_path):
    trainer = DiffusionTrainer(tiny_config(tmp_path, steps=10_000_000, minutes=1e-4), squares_dataset())
    n_steps = sum(1 for _ in trainer.steps())
    assert 1 <= n_steps < 10_000
    assert trainer.progress() >= 1


def test_minutes_count_from_the_command_on(tmp_path):
    """An hour of reading leaves one step of a run of a minute, and what is spent is kept."""
    config = tiny_config(tmp_path, steps=10_000_000, minutes=1.0)
    result = train(config, squares_dataset(), progress=False, sheet=False, started=perf_counter() - 3600)
    assert result.step == 1
    checkpoint = CheckpointStore(tmp_path / "checkpoints").latest()
    assert checkpoint is not None
    assert checkpoint.state["seconds"] >= 3600
    further = replace(config, resume=True)
    assert train(further, squares_dataset(), progress=False, sheet=False).step == 1


def test_what_finishing_takes_is_kept_back(tmp_path):
    config = tiny_config(tmp_path, minutes=10.0, reader_steps=400, pairing="matched")
    trainer = DiffusionTrainer(config, squares_dataset())
    assert trainer.finishing() > trainer._reader_seconds > 0
    trainer._reader_seconds = 9 * 60.0
    trainer._started = perf_counter() - 30
    assert 0.45 < trainer.progress() < 0.6
    plain = DiffusionTrainer(replace(config, output=tmp_path / "b", reader_steps=0), squares_dataset())
    assert plain._reader_seconds == 0


def test_what_was_learnt_is_not_learnt_again(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, steps=3, reader_steps=3, pairing="matched")
    train(config, squares_dataset(), progress=False, sheet=False)
    first = AttributeDiffusionPipeline.load(tmp_path).encoder

    def again(*_args, **_options):
        raise AssertionError("learnt again")

    for place in ("gaussmix.diffusion.train.train_encoder", "gaussmix.diffusion.batches.match_latents"):
        monkeypatch.setattr(place, again)
    train(replace(config, steps=6, resume=True), squares_dataset(), progress=False, sheet=False)
    second = AttributeDiffusionPipeline.load(tmp_path).encoder
    assert first is not None
    assert second is not None
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    with pytest.raises(AssertionError, match="learnt again"):  # in other steps it is
        train(replace(config, steps=6, reader_steps=4, resume=True), squares_dataset(), progress=False, sheet=False)


@pytest.mark.parametrize("objective", ["epsilon", "v_prediction"])
def test_the_guess_is_the_best_linear_one(objective):
    """For noise of one variance the network that is the guess has the loss that is told."""
    config = DiffusionConfig(objective=objective)
    diffusion = ForwardProcess(config, torch.device("cpu"))
    spread, middle = 0.3, 0.2
    g = torch.Generator().manual_seed(0)
    images = middle + spread * torch.randn(2000, 1, 4, 4, generator=g)

    def guess(x, t, *_args, **_kwargs):
        a, b = diffusion.signal[t].view(-1, 1, 1, 1), diffusion.noise[t].view(-1, 1, 1, 1)
        clean = middle + a * spread**2 / (a**2 * spread**2 + b**2) * (x - a * middle)
        eps = (x - a * clean) / b
        return (eps if objective == "epsilon" else a * eps - b * clean,)

    loss = diffusion.loss(guess, images, torch.zeros(2000, 3), torch.zeros(2000, 3, 8), g).total  # pyright: ignore
    assert diffusion.guess_loss(torch.full((1, 4, 4), spread**2)) == pytest.approx(float(loss), rel=0.05)


@pytest.mark.parametrize(("network", "rate"), [("unet", 1e-9), ("transformer", 2.0)])
def test_a_run_that_learns_nothing_is_stopped(tmp_path, network, rate):
    own = {"network": "transformer", "width": 16, "depth": 1, "heads": 2} if network == "transformer" else {}
    settings = {"steps": 400, "learning_rate": rate, "warmup_steps": 0, "weight_decay": 0.0, **own}
    with pytest.raises(TrainingError, match=r"nothing is learnt: after 3\d\d steps the denoising loss is .* that of "):
        train(tiny_config(tmp_path, **settings), squares_dataset(), progress=False)


def test_training_learns(tmp_path):
    trainer = DiffusionTrainer(tiny_config(tmp_path, steps=250, batch_size=16), squares_dataset())
    losses = [float(step_losses.total) for step_losses, _ in trainer.steps()]
    assert np.mean(losses[-30:]) < 0.6 * np.mean(losses[:30])


def test_loss_is_the_squared_error_of_the_target():
    """A network that answers zero has the target's mean square as its loss: 1 for noise."""
    config = DiffusionConfig(objective="epsilon", timestep_sampling="uniform")
    images = torch.rand(64, 3, 8, 8) * 2 - 1

    def zero(x, *_args, **_kwargs):
        return (torch.zeros_like(x),)

    g = torch.Generator().manual_seed(0)
    diffusion = ForwardProcess(config, torch.device("cpu"))
    loss = diffusion.loss(zero, images, torch.zeros(64, 3), torch.zeros(64, 3, 8), g).total  # pyright: ignore
    assert float(loss) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("objective", ["epsilon", "v_prediction"])
def test_target_is_the_one_that_the_schedulers_expect(objective):
    """A network that knows the picture: its loss is 0, and a scheduler recovers the picture from its answer."""
    config = DiffusionConfig(objective=objective)
    diffusion = ForwardProcess(config, torch.device("cpu"))
    images = torch.rand(8, 3, 4, 4) * 2 - 1
    signal_, noise_ = diffusion.signal, diffusion.noise

    def oracle(x, t, *_args, **_kwargs):
        a, b = signal_[t].view(-1, 1, 1, 1), noise_[t].view(-1, 1, 1, 1)
        eps = (x - a * images) / b
        return (eps if objective == "epsilon" else a * eps - b * images,)

    g = torch.Generator().manual_seed(0)
    loss = diffusion.loss(oracle, images, torch.zeros(8, 3), torch.zeros(8, 3, 8), g).total  # pyright: ignore
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_a_run_can_start_from_a_model(tmp_path, uninterrupted):
    first = AttributeDiffusionPipeline.load(uninterrupted)
    config = tiny_config(tmp_path / "further", init=str(uninterrupted), steps=1, learning_rate=1e-30, weight_decay=0.0)
    result = train(config, squares_dataset(), progress=False, sheet=False)
    assert result.model is not None
    further = AttributeDiffusionPipeline.load(result.model)
    assert all(map(torch.equal, further.network.state_dict().values(), first.network.state_dict().values()))
    assert further.training["init"] == str(uninterrupted)
    assert "init" not in first.training
    elsewhere = replace(config, output=tmp_path / "elsewhere", seed=config.seed + 1)
    with pytest.warns(UserWarning, match="Z is matched anew to other data or with another seed"):
        train(elsewhere, squares_dataset(), progress=False, sheet=False)
    again = replace(config, resume=True, steps=2, init="gone")
    with pytest.raises(ValueError, match=r"cannot resume .*: --init was .* and is gone"):
        train(again, squares_dataset(), progress=False)
    for changes, says in [
        ({"layers_per_block": 2}, "is another network: layers_per_block 1 there and 2 here; use its settings"),
        ({"init": "built-in"}, r"--init built-in knows \('Black_Hair', .*; the data have \("),
        ({"init": "nowhere"}, "no model in nowhere"),
        ({"objective": "epsilon"}, "was trained with v_prediction on .*; give the same --objective, --timesteps"),
        ({"timesteps": 25}, "on .* noise levels; give the same --objective, --timesteps and betas"),
    ]:
        with pytest.raises(ValueError, match=says):
            train(replace(config, output=tmp_path / "other", **changes), squares_dataset(), progress=False)


def test_redrawn_details_keep_z_1_and_most_of_the_tokens(tmp_path):
    squares = squares_dataset()

    def z(share: float) -> tuple[torch.Tensor, torch.Tensor]:
        config = tiny_config(tmp_path, pairing="matched", redraw_details=share)
        batches = TrainingBatches(squares, config, tmp_path / "latents.safetensors", batch_size=64)
        _, attributes, latents = batches.load(0, slice(0, 64), torch.Generator().manual_seed(1))
        assert batches.table is not None
        assert latents.shape == (64, *batches.table.shape[1:])
        return latents, attributes

    (plain, attributes), (some, _), (all_of_them, _) = z(0), z(0.3), z(1)
    n = attributes.shape[1]
    changed = (some != plain).any(2).double()
    assert 0.2 < changed.mean() < 0.4
    assert torch.equal(some[:, :n, 0], plain[:, :n, 0])
    assert (some[:, n, 0] != plain[:, n, 0]).any()  # in the base token z_1 is a detail too
    assert torch.equal(all_of_them[:, :n, 0], plain[:, :n, 0])
    assert (all_of_them[:, :, 1:] != plain[:, :, 1:]).all()
    assert abs(float(all_of_them.mean())) < 0.1
    assert abs(float(all_of_them.std()) - 1) < 0.1


def test_detail_weights_give_small_attributes_their_share():
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, :4] = 1  # half of the picture
    maps[1, 7, 7] = 1  # one pixel
    weights = detail_weights(maps, strength=2.0, size=8)[0, 0]
    assert float(weights.mean()) == pytest.approx(1)
    plain = weights[5, 0]
    assert float((weights[7, 7] - plain) / (weights[0, 0] - plain)) == pytest.approx(32)  # 32 times fewer pixels
    assert torch.equal(detail_weights(maps, strength=0.0, size=8), torch.ones(1, 1, 8, 8))


def test_detail_weights_enter_the_loss():
    weights = torch.zeros(1, 1, 8, 8)
    weights[..., 0, 0] = 64
    diffusion = ForwardProcess(DiffusionConfig(objective="epsilon"), torch.device("cpu"), weights)
    seen = {}

    def spy(x, t, *_args, **_kwargs):
        seen["noise"] = (x / diffusion.noise[t].view(-1, 1, 1, 1))[..., 0, 0]
        return (torch.zeros_like(x),)

    g = torch.Generator().manual_seed(0)
    loss = diffusion.loss(spy, torch.zeros(4, 3, 8, 8), torch.zeros(4, 3), torch.zeros(4, 3, 8), g).total  # pyright: ignore
    assert float(loss) == pytest.approx(float((seen["noise"] ** 2).mean()), rel=1e-5)


def test_condition_dropout_drops_its_share():
    diffusion = ForwardProcess(DiffusionConfig(condition_dropout=0.25), torch.device("cpu"))
    seen = []

    def spy(x, _t, _z, _a, dropped, **_kwargs):
        seen.append(dropped)
        return (x,)

    images = torch.zeros(4000, 1, 1, 1)
    diffusion.loss(spy, images, torch.zeros(4000, 3), torch.zeros(4000, 3, 8), torch.Generator().manual_seed(0))  # pyright: ignore
    assert seen[0].float().mean() == pytest.approx(0.25, abs=0.03)


def test_two_processes_share_one_run(tmp_path):
    """Both see different images of a batch, agree on every gradient, and leave one model."""
    code = f"""
    from pathlib import Path
    import torch
    from accelerate.utils import gather
    from tiny import squares_dataset, tiny_config
    from gaussmix.diffusion import train
    from gaussmix.diffusion import train as run

    steps = train.DiffusionTrainer.steps
    def checked(self):
        for result in steps(self):
            yield result
        weights = torch.cat([p.detach().flatten() for p in self.network.parameters()])
        both = gather(weights[None])
        assert len(both) == 2 and torch.equal(both[0], both[1])
        losses = gather(result[0].total[None])
        assert losses[0] != losses[1]
    train.DiffusionTrainer.steps = checked
    result = run.train(tiny_config(Path({str(tmp_path)!r}), steps=3), squares_dataset())
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(TESTS), *sys.path])
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": path}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, **together, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    assert AttributeDiffusionPipeline.load(tmp_path).training["processes"] == 2
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_nan_stops_the_run_and_names_the_step_and_the_last_good_checkpoint(tmp_path, monkeypatch, poison):
    steps = DiffusionTrainer.steps

    def poisoned(self):
        for loss, norm in steps(self):
            bad = torch.tensor(float("nan"))
            now = self.step == 13
            yield (loss._replace(total=bad), norm) if poison == "loss" and now else (loss, bad if now else norm)

    monkeypatch.setattr(DiffusionTrainer, "steps", poisoned)
    with pytest.raises(
        TrainingError, match=r"at step 13; the last good checkpoint is .*step-00000010.*--learning-rate"
    ):
        train(tiny_config(tmp_path), squares_dataset(), progress=False)
    assert CheckpointStore(tmp_path / "checkpoints").paths()[-1].name == "step-00000010"


def test_training_with_matched_latents_leaves_a_reader_of_pictures(tmp_path):
    """After the training, and after more of it from a checkpoint, pictures are read as they were matched."""
    squares = squares_dataset()
    settings = {"pairing": "matched", "reader_steps": 30, "steps": 4}
    train(tiny_config(tmp_path, **settings), squares, progress=False)
    first = AttributeDiffusionPipeline.load(tmp_path).encoder
    train(tiny_config(tmp_path, **settings | {"steps": 6, "resume": True}), squares, progress=False)
    again = AttributeDiffusionPipeline.load(tmp_path).encoder
    assert first is not None
    assert again is not None
    rows = squares.indices("train")
    images, attributes = squares.images[rows], squares.attributes[rows]
    table = load_file(tmp_path / "latents.safetensors")["table"]
    for encoder in (first, again):
        assert (encoder.read_attributes(images) == attributes).mean() > 0.9
        assert encoder.encode(images, attributes).shape == table.shape
    assert torch.equal(first.encode(images, attributes), again.encode(images, attributes))


def test_a_run_from_before_the_encoder_is_matched_anew(tmp_path):
    squares, settings = squares_dataset(), {"pairing": "matched", "steps": 3}
    train(tiny_config(tmp_path, **settings), squares, progress=False)
    file = tmp_path / "latents.safetensors"
    kept = load_file(file)
    save_file({name: kept[name] for name in ("table", "maps")}, file)
    train(tiny_config(tmp_path, **settings | {"steps": 5, "resume": True}), squares, progress=False)
    now = load_file(file)
    assert now.keys() == kept.keys()
    assert np.array_equal(now["table"], kept["table"])


def test_a_folder_with_a_run_is_not_overwritten(uninterrupted):
    with pytest.raises(ValueError, match="already holds a run; continue it with --resume or choose another --output"):
        train(tiny_config(uninterrupted), squares_dataset(), progress=False)


def test_resuming_with_other_settings_is_refused(uninterrupted):
    with pytest.raises(ValueError, match=r"cannot resume .*: --learning-rate was 0.0015 and is 0.5"):
        train(tiny_config(uninterrupted, resume=True, learning_rate=0.5), squares_dataset(), progress=False)


def test_more_steps_continue_a_finished_run(tmp_path):
    train(tiny_config(tmp_path, steps=5), squares_dataset(), progress=False)
    assert train(tiny_config(tmp_path, steps=8, resume=True), squares_dataset(), progress=False).step == 8


def test_resume_without_a_checkpoint_starts(tmp_path):
    assert train(tiny_config(tmp_path, steps=3, resume=True), squares_dataset(), progress=False).step == 3


def test_no_step_is_saved_twice_and_a_finished_run_not_again(tmp_path, monkeypatch):
    saved, save = [], CheckpointStore.save
    monkeypatch.setattr(
        CheckpointStore, "save", lambda self, step, *rest: saved.append(step) or save(self, step, *rest)
    )
    config = tiny_config(tmp_path, steps=10, keep_checkpoints=3)
    train(config, squares_dataset(), progress=False, sheet=False)
    assert saved == [5, 10]
    first = weights_hash(tmp_path)
    train(replace(config, resume=True), squares_dataset(), progress=False, sheet=False)
    assert saved == [5, 10]
    assert weights_hash(tmp_path) == first
    train(replace(config, resume=True, steps=12), squares_dataset(), progress=False, sheet=False)
    assert saved == [5, 10, 12]


def test_damage_costs_steps_and_not_the_run(tmp_path, caplog):
    """The newest checkpoint and the matched latents are damaged: the run goes on and ends as the unbroken one."""
    config = tiny_config(tmp_path, steps=10)
    train(config, squares_dataset(), progress=False, sheet=False)
    unbroken = weights_hash(tmp_path)
    newest = CheckpointStore(tmp_path / "checkpoints").paths()[-1]
    (newest / "state.json").write_text('{"step": [[]]}')
    (tmp_path / "latents.safetensors").write_bytes(b"")
    train(replace(config, resume=True), squares_dataset(), progress=False, sheet=False)
    assert weights_hash(tmp_path) == unbroken
    lines = [record.getMessage() for record in caplog.records if record.name == "gaussmix"]
    lines = [line for line in lines if not line.startswith("too few steps")]
    assert len(lines) == 2
    assert "step-00000010/state.json is damaged; going on from" in lines[0].replace("\\", "/")
    assert "latents.safetensors is not a whole safetensors file" in lines[1]
    assert lines[1].endswith("; latents are matched anew")


@pytest.mark.parametrize("keep", [["table"], ["maps"], []])
def test_latents_that_lack_something_are_matched_anew(tmp_path, caplog, keep):
    file, squares = tmp_path / "latents.safetensors", squares_dataset()
    first = TrainingBatches(squares, tiny_config(tmp_path), file, batch_size=4)
    tensors, about = read_tensors(file, "matched_latents")
    write_tensors(file, {name: tensors[name] for name in keep}, "matched_latents", about)
    again = TrainingBatches(squares, tiny_config(tmp_path), file, batch_size=4)
    assert "latents are matched anew" in caplog.text
    assert first.table is not None
    assert again.table is not None
    assert np.array_equal(first.table, again.table)


@pytest.mark.parametrize(
    ("state", "says"),
    [({"seconds": None}, "seconds is None"), ({"config": []}, "config is "), ({"dataset": 1}, "dataset is 1")],
)
def test_a_damaged_state_is_named(tmp_path, state, says):
    """Of a checkpoint without a manifest, as the first ones were."""
    config = tiny_config(tmp_path, steps=1)
    train(config, squares_dataset(), progress=False, sheet=False)
    (path,) = CheckpointStore(tmp_path / "checkpoints").paths()
    (path / "manifest.json").unlink()
    file = path / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **state}))
    with pytest.raises(ValueError, match=rf"state\.json is damaged: {says}.*; delete .*step-00000001"):
        train(replace(config, resume=True), squares_dataset(), progress=False)


def test_two_trainings_in_one_folder(tmp_path):
    with only_run(tmp_path), pytest.raises(ValueError, match=rf"process {os.getpid()} on .* is training in"):
        train(tiny_config(tmp_path), squares_dataset(), progress=False)
    late = DiffusionTrainer(tiny_config(tmp_path, steps=1), squares_dataset())
    train(tiny_config(tmp_path, steps=1), squares_dataset(), progress=False, sheet=False)
    with pytest.raises(ValueError, match=r"another process has trained in .* meanwhile; start again"):
        late.run(progress=False)


def test_a_checkpoint_of_another_network_is_named(tmp_path):
    config = tiny_config(tmp_path, steps=1)
    train(config, squares_dataset(), progress=False, sheet=False)
    checkpoint = CheckpointStore(tmp_path / "checkpoints").latest()
    assert checkpoint is not None
    CheckpointStore(tmp_path / "checkpoints").save(1, {"unet": {}}, checkpoint.state)
    with pytest.raises(ValueError, match=r"step-00000001 does not fit this run \(.*\); delete it"):
        train(replace(config, resume=True), squares_dataset(), progress=False)


def test_an_error_while_saving_the_model_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(self, folder, **_kwargs):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "half").write_text("x")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AttributeDiffusionPipeline, "save_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        train(tiny_config(tmp_path, steps=2), squares_dataset(), progress=False)
    assert not (tmp_path / "model").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".writing")]


@pytest.mark.parametrize(
    ("name", "settings", "millions"),
    [("celeba64", {"n_attributes": 40}, (58, 66)), ("cifar10", {"n_attributes": 10}, (64, 74)), ("unet", {}, (1, 2))],
)
def test_presets_have_the_size_they_promise(name, settings, millions):
    preset = PRESETS[name]
    with torch.device("meta"):
        unet = tiny_unet(
            sample_size=preset.size,
            block_out_channels=preset.channels,
            layers_per_block=preset.layers_per_block,
            conditioning=preset.conditioning,
            scale_shift=preset.scale_shift,
            attention_head_dim=32,
            token_dim=64,
            base_token=preset.pairing == "matched",
            **settings,
        )
    count = sum(p.numel() for p in unet.parameters()) / 1e6
    assert millions[0] < count < millions[1]


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="--batch-size is 0; it must be at least 1"):
        DiffusionConfig(batch_size=0)
    with pytest.raises(ValueError, match="--minutes is 0"):
        DiffusionConfig(minutes=0)
    with pytest.raises(ValueError, match="--condition-dropout is 1"):
        DiffusionConfig(condition_dropout=1)
    with pytest.raises(ValueError, match=r"--classifier-weight is -1; it must be 0 or more"):
        DiffusionConfig(classifier_weight=-1)
    nan, inf = float("nan"), float("inf")
    for name, value in (
        ("classifier_weight", nan), ("classifier_weight", inf), ("layers_per_block", -1), ("max_grad_norm", 0),
        ("detail_weight", nan), ("learning_rate", nan), ("guidance", inf), ("beta", 1.5), ("beta_end", nan),
        ("channels", (32, 0)), ("weight_decay", -1), ("latent_dim", 0), ("n_components", 0), ("count", 0),
        ("minutes", inf), ("separation", -1.0), ("redraw_details", nan), ("ema_decay", 1.0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} is "):
            DiffusionConfig(**cast(Any, {name: value}))
    with pytest.raises(ValueError, match=r"--classifier-loss and --classifier-pass need a --classifier-weight above 0"):
        DiffusionConfig(classifier_pass="unconditioned")
    with pytest.raises(ValueError, match=r"--detail-weight is 1\.0"):
        DiffusionConfig(detail_weight=1.0, pairing="fixed")
    with pytest.raises(ValueError, match=r"--redraw-details is 0\.3; it must be 0 unless --pairing is matched"):
        DiffusionConfig(redraw_details=0.3, pairing="fresh")


def test_sheet_requests_use_each_attribute_once(pipeline):
    from gaussmix.diffusion.sampling import sheet_requests

    requests = sheet_requests(pipeline)
    flat = [name for request in requests for name in request]
    assert sorted(flat) == sorted(set(flat))
    assert 1 <= len(requests) <= 2
