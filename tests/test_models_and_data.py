"""Built-in networks and data: counts, shapes, seeds, standardisation, digests, local parquet files."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from landscape import build_model, load_data
from landscape.data import Splits, samples_of
from landscape.errors import InputError, UsageError
from landscape.vectors import layout_of


def images(shape):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, *shape, generator=generator)
    return Splits(samples_of((inputs, torch.arange(20) % 10)), None)


def test_f1_has_keskars_number_of_params():
    model = build_model("f1", {}, images((1, 28, 28)), 0)
    assert layout_of(model).size == 1_462_794
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    with pytest.raises(InputError, match="784"):
        build_model("f1", {}, images((1, 8, 8)), 0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_networks_fit_the_data(name, shape):
    splits = images(shape)
    model = build_model(name, {"norm": "batch"}, splits, 0)
    assert model(splits.train.blocks[0][0]).shape == (20, 10)


def test_the_demos_network_has_26122_params():
    sizes = layout_of(build_model("mlp", {}, load_data("digits"), 0)).sizes
    assert sum(sizes) == 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10


def test_initialisation_comes_from_the_seed_and_the_global_state_is_left_alone():
    splits = load_data("digits")
    before = torch.get_rng_state()
    a, b, c = (build_model("mlp", {}, splits, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mlp", {"widths": [0]}),
        ("mlp", {"widths": 3}),
        ("mlp", {"activation": "step"}),
        ("mlp", {"depth": 3}),
        ("mlp", {"norm": "layer"}),
        ("resnet", {}),
    ],
)
def test_unknown_names_and_arguments_are_refused(name, arguments):
    with pytest.raises(UsageError):
        build_model(name, arguments, images((1, 8, 8)), 0)


def test_a_network_too_deep_for_the_images_is_refused():
    with pytest.raises(InputError, match="too deep"):
        build_model("cnn", {"channels": [8] * 9}, images((1, 8, 8)), 0)


def test_digits_are_real_standardised_split_and_always_the_same():
    from sklearn.datasets import load_digits

    splits = load_data("digits")
    assert (len(splits.train), len(splits.test)) == (1437, 360)
    inputs, targets = splits.train.blocks[0]
    assert abs(float(inputs.double().mean())) < 1e-6
    assert float(inputs.double().std(correction=0)) == pytest.approx(1.0, abs=1e-6)
    assert splits.train.digest() == load_data("digits").train.digest()
    # every image is there once: sums of raw pixels, back from the standardised ones
    raw = load_digits().images
    joined = torch.cat([inputs, splits.test.blocks[0][0]]).double().sum((1, 2, 3)).sort().values
    scale = np.sort(raw.sum((1, 2)))
    assert np.corrcoef(joined.numpy(), scale)[0, 1] == pytest.approx(1.0, abs=1e-9)
    assert targets.bincount().min() > 120


def test_the_digest_is_of_the_bytes_used():
    x, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    first = samples_of((x, y)).digest()
    assert samples_of((x.clone(), y.clone())).digest() == first
    x[3, 1] = 1e-7
    assert samples_of((x, y)).digest() != first
    assert samples_of((x.double(), y)).digest() != first


def parquet(folder, column, mode, count):
    import datasets

    rng = np.random.default_rng(0)
    shape = (9, 9) if mode == "L" else (9, 9, 3)
    pixels = rng.integers(0, 255, (count, *shape), dtype=np.uint8)
    encoded = []
    for array in pixels:
        buffer = io.BytesIO()
        Image.fromarray(array, mode).save(buffer, "PNG") if mode == "RGB" else Image.fromarray(array).save(
            buffer, "PNG"
        )
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    features = datasets.Features({column: datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    table = datasets.Dataset.from_dict({column: encoded, "label": [i % 10 for i in range(count)]}, features=features)
    folder.mkdir(exist_ok=True)
    for split in ("train", "test"):
        table.to_parquet(folder / f"{split}.parquet")
    return pixels


@pytest.mark.parametrize(("name", "column", "mode"), [("mnist", "image", "L"), ("cifar10", "img", "RGB")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_images_come_from_local_parquet_files(tmp_path, monkeypatch, name, column, mode):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    pixels = parquet(tmp_path / name, column, mode, 12).astype(np.float64)
    channels = pixels[:, None] if mode == "L" else pixels.transpose(0, 3, 1, 2)
    by_argument = load_data(name, {"root": str(tmp_path)})
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path))
    by_variable = load_data(name)
    mean, deviation = channels.mean((0, 2, 3), keepdims=True), channels.std((0, 2, 3), keepdims=True)
    inputs, targets = by_argument.train.blocks[0]
    np.testing.assert_allclose(inputs.numpy(), (channels - mean) / deviation, rtol=1e-5, atol=1e-6)
    assert targets.tolist() == [i % 10 for i in range(12)]
    assert by_variable.train.digest() == by_argument.train.digest()


def test_a_folder_without_the_data_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match="LANDSCAPE_DATA"):
        load_data("mnist", {"root": str(tmp_path)})


def test_a_loader_that_shuffles_or_augments_is_refused_and_a_list_of_its_batches_taken():
    data = TensorDataset(torch.arange(40.0)[:, None], torch.zeros(40, dtype=torch.int64))
    assert len(samples_of(DataLoader(data, batch_size=8))) == 40
    state = torch.random.get_rng_state()
    with pytest.raises(InputError, match=r"batch 0 of the loader differs between two passes.*list\(loader\)"):
        samples_of(DataLoader(data, batch_size=8, shuffle=True))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(samples_of(list(DataLoader(data, batch_size=8, shuffle=True)))) == 40
    assert len(samples_of(iter(DataLoader(data, batch_size=8)))) == 40
