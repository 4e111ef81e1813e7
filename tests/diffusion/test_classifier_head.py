"""The classifier on the bottleneck: what it sees, that it learns, that it changes nothing else, and its guidance."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from tiny import NAMES, squares_dataset, tiny_config, tiny_unet

from gaussmix.diffusion.codec import to_pixels
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.loss import ForwardProcess
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import PredictionType, make_betas, make_scheduler
from gaussmix.diffusion.train import DiffusionTrainer, train
from gaussmix.diffusion.transformer import AttributeTransformer
from gaussmix.diffusion.unet import AttributeUNet, ConditionConfig
from gaussmix.metrics.classifier import balanced_accuracy
from gaussmix.nn import NGMGEntropyLoss
from gaussmix.training.checkpoints import CheckpointStore

CONDITIONINGS = ("gated", "cross_attention", "concat", "multi_hot")
BETAS = make_betas("constant", 20, beta=0.3)


def inputs(batch: int = 4):
    g = torch.Generator().manual_seed(0)
    sample = torch.randn((batch, 3, 8, 8), generator=g)
    timestep = torch.randint(0, 20, (batch,), generator=g)
    latents = torch.randn((batch, 4, 8), generator=g)
    attributes = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).float()
    return sample, timestep, latents, attributes


def pipeline_with(unet: AttributeUNet, objective: PredictionType = "v_prediction") -> AttributeDiffusionPipeline:
    pipe = AttributeDiffusionPipeline(unet, make_scheduler("ddim", BETAS, objective), attribute_names=NAMES)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stripes(count: int):
    """Images ``(count, 8, 8, 3)`` and attributes as in `squares_dataset`, but other ones."""
    rng = np.random.default_rng(1)
    attributes = rng.integers(0, 2, (count, 3)).astype(np.uint8)
    images = rng.integers(0, 60, (count, 8, 8, 3)).astype(np.uint8)
    for k in range(3):
        images[:, :, 2 * k : 2 * k + 2] += (attributes[:, k] * 150)[:, None, None, None]
    return images, attributes


# --- the network


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("injection", ["all", "mid_up", "up"])
@torch.no_grad()
def test_logits_see_the_condition_unless_it_enters_after_the_bottleneck(conditioning, injection):
    unet = tiny_unet(conditioning=conditioning, injection=injection, classifier=True)
    sample, timestep, latents, attributes = inputs()
    shown = unet.classify(sample, timestep, latents, attributes)
    other = unet.classify(sample, timestep, latents, 1 - attributes)
    assert torch.equal(shown, other) == (injection == "up")
    assert unet.classifier_leaks == (injection != "up")
    assert not torch.allclose(shown, unet.classify(sample.flip(0), timestep, latents, attributes), atol=1e-6)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("injection", ["all", "up"])
@torch.no_grad()
def test_the_three_ways_to_the_logits_agree(conditioning, injection):
    unet = tiny_unet(conditioning=conditioning, injection=injection, classifier=True)
    arguments = inputs()
    out = unet(*arguments)
    assert torch.equal(out.logits, unet.classify(*arguments))
    alone = unet.classify(*arguments[:2])
    assert torch.allclose(unet(*arguments, torch.ones(4, dtype=torch.bool)).logits, alone, atol=1e-5)
    second = unet(*arguments, unconditioned_logits=True)
    assert torch.allclose(second.logits, alone, atol=1e-6)
    assert torch.equal(second.sample, out.sample)
    assert [len(x) for x in unet(*arguments, return_dict=False)] == [4, 4]


@torch.no_grad()
def test_the_head_by_hand():
    unet = tiny_unet(classifier=True)
    seen = []
    assert unet.unet.mid_block is not None
    unet.unet.mid_block.register_forward_hook(lambda _m, _i, out: seen.append(out))
    logits = unet(*inputs()).logits
    h = seen[0].double().reshape(4, 8, -1)  # 16 channels in 8 groups
    h = (h - h.mean(2, keepdim=True)) / (h.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    h = h.reshape(4, 16, -1)
    pooled = (h / (1 + (-h).exp())).mean(2)
    assert unet.head is not None
    w1, b1, w2, b2 = (p.double() for p in list(unet.head.parameters())[-4:])
    middle = pooled @ w1.T + b1
    assert torch.allclose(logits.double(), middle / (1 + (-middle).exp()) @ w2.T + b2, atol=1e-6)


@torch.no_grad()
def test_a_classifier_changes_nothing_else_and_is_saved(tmp_path):
    with_head, without = tiny_unet(classifier=True, injection="up"), tiny_unet(injection="up")
    assert torch.equal(with_head(*inputs()).sample, without(*inputs()).sample)
    assert without(*inputs()).logits is None
    with_head.save_pretrained(tmp_path)
    again = AttributeUNet.from_pretrained(tmp_path).eval()
    assert torch.equal(with_head.classify(*inputs()), again.classify(*inputs()))


def test_wrong_requests_are_refused():
    sample, timestep, latents, _ = inputs()
    with pytest.raises(ValueError, match="no classifier; train one with --classifier-weight"):
        tiny_unet().classify(sample, timestep)
    with pytest.raises(ValueError, match="give both or neither"):
        tiny_unet(classifier=True).classify(sample, timestep, latents)
    with pytest.raises(ValueError, match="classifier_pass is 'second'; choose same or unconditioned"):
        tiny_unet(classifier_pass="second")


# --- the transformer


def told_transformer(classifier_pass: Any = "same", *, classifier: bool = True) -> AttributeTransformer:
    """One whose condition matters: an untrained one does not heed it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = AttributeTransformer(
            condition=ConditionConfig(n_attributes=3), sample_size=8, grid=2, numbers=6, width=16, depth=3, heads=2,
            timesteps=20, classifier=classifier, classifier_pass=classifier_pass,
        )  # fmt: skip
        torch.manual_seed(1)
        for parameter in (*network.modulation.parameters(), *network.leave.parameters()):
            torch.nn.init.normal_(parameter, std=0.3)
        network.known.coefficients.normal_()
    return network.eval()


def numbers() -> tuple[torch.Tensor, ...]:
    _, timestep, latents, attributes = inputs()
    return torch.randn(4, 6, 2, 2, generator=torch.Generator().manual_seed(3)), timestep, latents, attributes


@pytest.mark.parametrize("classifier_pass", ["same", "unconditioned"])
@torch.no_grad()
def test_a_transformers_second_pass_does_not_see_the_condition(classifier_pass):
    network, arguments = told_transformer(classifier_pass), numbers()
    assert network.classifier_leaks == (classifier_pass == "same")
    sample, timestep, latents, attributes = arguments
    out = network(*arguments)
    assert torch.equal(out.logits, network.classify(*arguments))
    other = network(sample, timestep, latents, 1 - attributes)
    assert not torch.allclose(out.logits, other.logits, atol=1e-4), "the pass that denoises knows the condition"
    second = network(*arguments, unconditioned_logits=True)
    assert torch.equal(second.sample, out.sample)
    assert torch.equal(second.logits, network(sample, timestep, latents, 1 - attributes, None, True).logits)
    assert torch.equal(second.logits, network.classify(sample, timestep))
    alone = network(*arguments, torch.ones(4, dtype=torch.bool)).logits
    assert torch.allclose(second.logits, alone, atol=1e-6)
    assert not torch.allclose(second.logits, network.classify(sample.flip(0), timestep), atol=1e-4)


@torch.no_grad()
def test_a_transformers_head_by_hand_behind_half_of_the_blocks(tmp_path):
    network, seen = told_transformer(), []
    network.blocks[0].register_forward_hook(lambda _m, _i, out: seen.append(out))
    logits = network(*numbers()).logits
    h = seen[0].double()
    h = (h - h.mean(2, keepdim=True)) / (h.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    pooled = (h / (1 + (-h).exp())).mean(1)
    assert network.head is not None
    w1, b1, w2, b2 = (p.double() for p in network.head.parameters())
    middle = pooled @ w1.T + b1
    assert torch.allclose(logits.double(), middle / (1 + (-middle).exp()) @ w2.T + b2, atol=1e-5)

    without = told_transformer(classifier=False)
    assert torch.equal(network(*numbers()).sample, without(*numbers()).sample)
    assert without(*numbers()).logits is None
    with pytest.raises(ValueError, match="no classifier; train one with --classifier-weight"):
        without.classify(*numbers()[:2])
    with pytest.raises(ValueError, match="give both or neither"):
        network.classify(*numbers()[:3])
    network.save_pretrained(tmp_path)
    again = AttributeTransformer.from_pretrained(tmp_path).eval()
    assert torch.equal(network.classify(*numbers()), again.classify(*numbers()))


# --- training


TRANSFORMER = {
    "network": "transformer", "grid": 2, "numbers": 24, "width": 32, "depth": 2, "heads": 2, "beta_schedule": "cosine",
    "beta": None,
}  # fmt: skip


def first_losses(out, **settings):
    trainer = DiffusionTrainer(tiny_config(out, **settings), squares_dataset())
    losses, _ = next(trainer.steps())
    return losses, trainer


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"injection": "up"},
        {"classifier_pass": "unconditioned"},
        TRANSFORMER,
        {**TRANSFORMER, "classifier_pass": "unconditioned"},
    ],
)
def test_the_first_denoising_loss_is_that_of_a_run_without_classifier(tmp_path, how):
    of_the_network = {name: value for name, value in how.items() if not name.startswith("classifier")}
    plain, _ = first_losses(tmp_path / "a", **of_the_network)
    losses, _ = first_losses(tmp_path / "b", classifier_weight=0.5, **how)
    assert plain.classification is None
    assert losses.denoising == plain.denoising == plain.total
    assert losses.classification is not None
    assert float(losses.total) == pytest.approx(float(losses.denoising + 0.5 * losses.classification))
    assert float(losses.classification) == pytest.approx(np.log(2), abs=0.25)  # an untrained guess


@pytest.mark.parametrize(
    ("kind", "oracle"),
    [
        ("bce", lambda z, y: -(y * z.sigmoid().log() + (1 - y) * (1 - z.sigmoid()).log()).mean()),
        ("ngmg", lambda z, y: torch.stack([NGMGEntropyLoss(3)(z[i], y[i]) for i in range(len(z))]).mean()),
    ],
)
def test_classification_loss(kind, oracle):
    diffusion = ForwardProcess(DiffusionConfig(classifier_weight=2.0, classifier_loss=kind), torch.device("cpu"))
    g = torch.Generator().manual_seed(0)
    logits, attributes = torch.randn(6, 3, generator=g), torch.randint(0, 2, (6, 3), generator=g).float()

    def answer(x, *_args, **_kwargs):
        return x, logits

    images = torch.rand((6, 3, 8, 8), generator=g)
    losses = diffusion.loss(answer, images, attributes, torch.zeros(6, 3, 8), g)  # pyright: ignore
    assert losses.classification is not None
    assert float(losses.classification) == pytest.approx(float(oracle(logits, attributes)), rel=1e-5)


def test_a_transformers_classifier_learns_the_image(tmp_path):
    how = {**TRANSFORMER, "classifier_pass": "unconditioned", "batch_size": 16, "learning_rate": 6e-3}
    trainer = DiffusionTrainer(tiny_config(tmp_path, steps=120, classifier_weight=1.0, **how), squares_dataset())
    for _ in trainer.steps():
        pass
    images, truth = stripes(200)  # not trained on
    with torch.no_grad():
        found = trainer.network.classify(trainer.network.encode(to_pixels(images)), 0) > 0
    assert balanced_accuracy(found, truth).mean() > 0.8
    pipe = trainer.pipeline()
    assert pipe.network.head is not None
    pipe.set_progress_bar_config(disable=True)
    pipe(truth[:2], num_inference_steps=2, classifier_scale=1.0, output_type="np")  # may guide, as it knows the image


@pytest.mark.parametrize("how", [{"injection": "up"}, {"classifier_pass": "unconditioned"}])
def test_the_classifier_learns_the_image_and_teaches_the_encoder(tmp_path, how):
    settings = {"steps": 120, "batch_size": 16, "classifier_weight": 1.0, "learning_rate": 6e-3, **how}
    trainer = DiffusionTrainer(tiny_config(tmp_path, **settings), squares_dataset())
    losses, _ = next(trainer.steps())
    first = trainer.batches.load(0, slice(0, 16), torch.Generator().manual_seed(1))
    loss = trainer.diffusion.loss(trainer.model, *first, torch.Generator().manual_seed(2))
    assert loss.classification is not None
    loss.classification.backward()
    encoder = trainer.network.unet.down_blocks[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    trainer.optimizer.zero_grad()

    last = [float(step.classification) for step, _ in trainer.steps() if step.classification is not None][-20:]
    assert losses.classification is not None
    assert np.mean(last) < 0.8 * float(losses.classification)
    images, truth = stripes(200)  # not trained on
    with torch.no_grad():
        found = trainer.network.classify(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1, 0) > 0
    assert balanced_accuracy(found, truth).mean() > 0.8


def weights_hash(out) -> str:
    checkpoint = CheckpointStore(out / "checkpoints").latest()
    assert checkpoint is not None
    digest = hashlib.sha256()
    for group in sorted(checkpoint.tensors):
        for name, tensor in sorted(checkpoint.tensors[group].items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("how", [{"injection": "up"}, {"classifier_pass": "unconditioned", "accumulate": 2}])
def test_resume_is_bit_identical_and_the_log_names_both_losses(tmp_path, monkeypatch, how):
    settings = {"classifier_weight": 0.3, "steps": 10, "checkpoint_every": 6, "log_every": 2, **how}
    train(tiny_config(tmp_path / "whole", **settings), squares_dataset(), progress=False)
    steps = DiffusionTrainer.steps
    with monkeypatch.context() as patched:
        # Stops after 7 steps as a killed process does: without a checkpoint of them.
        patched.setattr(
            DiffusionTrainer, "steps", lambda self: itertools.chain(itertools.islice(steps(self), 7), dies())
        )
        with pytest.raises(KeyError):
            train(tiny_config(tmp_path / "cut", **settings), squares_dataset(), progress=False)
    train(tiny_config(tmp_path / "cut", resume=True, **settings), squares_dataset(), progress=False)
    assert weights_hash(tmp_path / "cut") == weights_hash(tmp_path / "whole")
    rows = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10]
    for row in rows:
        assert row["loss"] == pytest.approx(row["denoising"] + 0.3 * row["classification"], rel=1e-5)


def dies():
    raise KeyError("the process is gone")
    yield


def test_a_run_from_before_there_were_classifiers_goes_on(tmp_path):
    train(tiny_config(tmp_path, steps=2, checkpoint_every=2), squares_dataset(), progress=False)
    for path in (tmp_path / "checkpoints").rglob("*.json"):
        if path.name == "manifest.json":  # which there were none of then
            path.unlink()
            continue
        state = json.loads(path.read_text())
        config = state.get("config", {})
        for name in [name for name in config if name.startswith("classifier_")]:
            del config[name]
        path.write_text(json.dumps(state))
    store = CheckpointStore(tmp_path / "checkpoints").latest()
    assert store is not None
    assert "classifier_weight" not in store.state["config"]
    assert train(tiny_config(tmp_path, steps=3, resume=True), squares_dataset(), progress=False).step == 3


# --- guidance


def pull(pipe: AttributeDiffusionPipeline, sample: torch.Tensor, timestep: int, attributes: torch.Tensor):
    return pipe._classifier_pull(sample, torch.tensor(timestep), attributes)


@pytest.mark.parametrize("objective", ["epsilon", "v_prediction"])
def test_guidance_moves_the_clean_estimate_up_the_log_probability(objective):
    """x0' - x0 = s (1-ab) / sqrt(ab) g, with g from central differences in double precision."""
    unet = tiny_unet(classifier=True, injection="up").double()
    pipe = pipeline_with(unet, objective)
    sample, _, _, attributes = inputs()
    sample, attributes = sample.double(), attributes.double()
    timestep, scale, h = 3, 0.7, 1e-5

    def log_probability(x):
        p = unet.classify(x, timestep).sigmoid()
        return torch.where(attributes == 1, p, 1 - p).log().sum()

    with torch.no_grad():
        answer = unet(sample, timestep, torch.zeros(4, 4, 8, dtype=torch.float64), attributes).sample
        alpha_bar = float(np.prod(1 - BETAS[: timestep + 1]))

        def clean(f):
            if objective == "v_prediction":
                return alpha_bar**0.5 * sample - (1 - alpha_bar) ** 0.5 * f
            return (sample - (1 - alpha_bar) ** 0.5 * f) / alpha_bar**0.5

        moved = clean(answer - scale * pull(pipe, sample, timestep, attributes)) - clean(answer)
        for index in [(0, 0, 1, 2), (1, 2, 7, 7), (3, 1, 4, 0)]:
            step = torch.zeros_like(sample)
            step[index] = h
            slope = (log_probability(sample + step) - log_probability(sample - step)) / (2 * h)
            expected = scale * (1 - alpha_bar) / alpha_bar**0.5 * float(slope)
            assert float(moved[index]) == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_guidance_of_scale_zero_changes_nothing_and_more_pulls_towards_the_request():
    torch.manual_seed(0)
    unet = tiny_unet(classifier=True, injection="up")
    pipe = pipeline_with(unet)
    attributes = inputs()[3].numpy()
    noise = torch.randn((4, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    latents = pipe.draw_attribute_latents(4, torch.Generator().manual_seed(0))

    def pictures(pipe, **settings):
        out = pipe(attributes, latents, num_inference_steps=5, latents=noise, output_type="uint8", **settings)
        return np.asarray(out.images)

    plain = pictures(pipe)
    assert np.array_equal(plain, pictures(pipeline_with(tiny_unet(injection="up"))))
    assert np.array_equal(plain, pictures(pipe, classifier_scale=0.0))
    guided = pictures(pipe, classifier_scale=30.0)

    def log_probability(images):
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            logits = unet.classify(x, 0)
        return -torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(attributes))

    assert log_probability(guided) > log_probability(plain)
    assert unet.training is False
    assert all(p.grad is None for p in unet.parameters())


def test_guidance_is_refused_without_a_classifier_that_reads_the_image():
    attributes = inputs()[3].numpy()
    for unet, words in (
        (tiny_unet(), "no classifier; train one with --classifier-weight 0.1 --injection up"),
        (tiny_unet(classifier=True), "trained to see the condition .*--injection up or --classifier-pass"),
        (tiny_unet(classifier=True, injection="mid_up"), "trained to see the condition"),
    ):
        with pytest.raises(ValueError, match=words):
            pipeline_with(unet)(attributes, num_inference_steps=2, classifier_scale=1.0)
    with pytest.raises(ValueError, match="classifier_scale is nan; it must be a finite number"):
        pipeline_with(tiny_unet())(attributes, num_inference_steps=2, classifier_scale=float("nan"))
    second = tiny_unet(classifier=True, classifier_pass="unconditioned")
    pipeline_with(second)(attributes, num_inference_steps=2, classifier_scale=1.0, output_type="uint8")
