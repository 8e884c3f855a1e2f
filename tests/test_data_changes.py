"""Changes to data: corrupted labels and pixels, augmentation, scaling and crops of images."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from landscape import load_data
from landscape.data import Samples, Splits, samples_of
from landscape.data.augment import Augmentation, cropped, flipped, moved
from landscape.data.corruption import PIXELS, corrupted
from landscape.data.registry import splits_of
from landscape.errors import InputError, UsageError


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=drawn(7), dtype=torch.float64).to(dtype)


def data(count=40, shape=(3, 4, 6), classes=10, tests=15):
    inputs = noise(count + tests, *shape).float()
    labels = torch.arange(count + tests) % classes
    return splits_of(
        {"train": (inputs[:count].clone(), labels[:count]), "test": (inputs[count:].clone(), labels[count:])}
    )


def tensors(splits, name):
    return splits.split(name).blocks[0]


# --- labels


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_share_of_changed_labels_is_p_times_one_minus_one_in_classes(share):
    count, classes = 20_000, 10
    splits = data(count, (1,), classes)
    new = corrupted(splits, label_noise=share, seed=3)
    before, after = tensors(splits, "train")[1], tensors(new, "train")[1]
    expected = share * (1 - 1 / classes)
    error = math.sqrt(expected * (1 - expected) / count)
    assert abs(float((before != after).double().mean()) - expected) < 4 * error
    assert torch.equal(before, torch.arange(count) % classes)  # the given splits are as they were
    assert after.dtype == before.dtype
    assert new.test is splits.test
    assert torch.equal(tensors(new, "train")[0], tensors(splits, "train")[0])


def test_random_labels_are_independent_of_the_true_ones():
    count, classes = 20_000, 10
    splits = data(count, (1,), classes)
    after = tensors(corrupted(splits, label_noise=1.0), "train")[1]
    table = torch.bincount(tensors(splits, "train")[1] * classes + after, minlength=classes**2).double()
    expected = count / classes**2
    chi2, freedom = float(((table - expected) ** 2 / expected).sum()), classes**2 - classes  # row sums are fixed
    assert abs(chi2 - freedom) < 4 * math.sqrt(2 * freedom)


def test_labels_replaced_at_a_smaller_share_are_among_those_at_a_larger():
    splits = data(2_000, (1,))
    few, many = (tensors(corrupted(splits, label_noise=p), "train")[1] for p in (0.2, 0.6))
    changed = few != tensors(splits, "train")[1]
    assert changed.any()
    assert torch.equal(few[changed], many[changed])


def test_no_corruption_leaves_the_bytes():
    splits = data()
    same = corrupted(splits, label_noise=0, pixels="true", seed=5)
    assert same.train.digest() == splits.train.digest()
    assert same.test.digest() == splits.test.digest()


# --- pixels


@pytest.mark.parametrize("shape", [(3, 4, 6), (1, 8, 8), (24,)])
def test_shuffled_pixels_are_one_permutation_of_positions_for_all_images(shape):
    splits = data(shape=shape)
    positions = math.prod(shape[-2:]) if len(shape) > 1 else shape[0]
    index = torch.arange(float(positions)).reshape(shape[-2:]).expand(1, *shape)
    order = tensors(corrupted(Splits(samples_of((index, torch.zeros(1))), None), pixels="shuffled", seed=4), "train")[0]
    order = order[0].reshape(-1, positions)
    assert (order == order[0]).all()  # channels move together
    order = order[0].long()
    assert order.sort().values.tolist() == list(range(positions))
    assert not torch.equal(order, torch.arange(positions))
    new = corrupted(splits, pixels="shuffled", seed=4)
    for split in ("train", "test"):
        before, after = tensors(splits, split)[0], tensors(new, split)[0]
        channels = before.reshape(len(before), -1, positions)
        assert torch.equal(after, channels[:, :, order].reshape(before.shape))
        assert torch.equal(tensors(new, split)[1], tensors(splits, split)[1])


@pytest.mark.parametrize("shape", [(2, 5, 7), (35,)])
def test_random_pixels_are_a_permutation_for_each_image(shape):
    index = torch.arange(35.0).reshape(shape[-2:]).expand(30, *shape)
    labels = torch.zeros(30, dtype=torch.int64)
    splits = splits_of({"train": (index, labels), "test": (index, labels)})
    new = corrupted(splits, pixels="random")
    orders = []
    for split in ("train", "test"):
        after = tensors(new, split)[0].reshape(30, -1, 35)
        assert (after == after[:, :1]).all()  # channels move together
        assert torch.equal(after[:, 0].sort().values, torch.arange(35.0).expand(30, 35))
        orders += after[:, 0].tolist()
    assert len({tuple(order) for order in orders}) == 60
    assert torch.equal(tensors(splits, "train")[0], index)


def test_random_permutations_are_uniform():
    count = 24_000
    inputs = torch.arange(4.0).expand(count, 4)
    after = tensors(corrupted(Splits(samples_of((inputs, torch.zeros(count))), None), pixels="random"), "train")[0]
    seen = (after.long() * torch.tensor([64, 16, 4, 1])).sum(1).unique(return_counts=True)[1].double()
    assert len(seen) == 24
    assert abs(float(((seen - 1000) ** 2 / 1000).sum()) - 23) < 4 * math.sqrt(2 * 23)


def test_gaussian_pixels_have_the_channels_mean_and_variance():
    count, shape = 400, (2, 8, 9)
    scale, offset = torch.tensor([1.0, 5.0])[:, None, None], torch.tensor([-3.0, 40.0])[:, None, None]
    labels = torch.zeros(count, dtype=torch.int64)
    train, test = noise(count, *shape).float() ** 3 * scale + offset, 7 + noise(count, *shape).float()
    new = corrupted(splits_of({"train": (train, labels), "test": (test, labels)}), pixels="gaussian")
    values = count * 72
    mean, variance = train.double().mean((0, 2, 3)), train.double().var((0, 2, 3), correction=0)
    for split in ("train", "test"):  # the test split takes the moments of the training split too
        after = tensors(new, split)[0].double()
        assert ((after.mean((0, 2, 3)) - mean).abs() < 4 * (variance / values).sqrt()).all()
        assert ((after.var((0, 2, 3)) - variance).abs() < 4 * variance * math.sqrt(2 / values)).all()
        third = ((after - after.mean((0, 2, 3), keepdim=True)) ** 3).mean((0, 2, 3)) / variance**1.5
        assert (third.abs() < 4 * math.sqrt(15 / values)).all()
    assert not torch.equal(tensors(new, "train")[0], tensors(new, "test")[0])
    assert tensors(new, "train")[0].dtype == torch.float32


def test_gaussian_features_are_one_channel_of_positions():
    splits = data(4_000, (6,))
    train = tensors(splits, "train")[0] * torch.arange(1.0, 7.0)
    after = tensors(corrupted(Splits(samples_of((train, torch.zeros(4_000))), None), pixels="gaussian"), "train")[0]
    deviation = after.std(0)
    assert (deviation - train.std()).abs().max() < 4 * train.std() / math.sqrt(8_000)


@pytest.mark.parametrize("pixels", ["shuffled", "random", "gaussian"])
def test_chunks_cover_all_images(monkeypatch, pixels):
    splits = data()
    monkeypatch.setattr("landscape.data.corruption.VALUES", 3 * 4 * 6 * 7)
    new = tensors(corrupted(splits, pixels=pixels), "train")[0]
    before = tensors(splits, "train")[0]
    if pixels == "gaussian":
        assert (new != before).any((1, 2, 3)).all()
        return
    assert torch.equal(new.flatten(2).sort().values, before.flatten(2).sort().values)


def test_streams_are_of_the_seed_and_do_not_move_each_other():
    splits = data(200)

    def parts(**options):
        new = corrupted(splits, **options)
        return *tensors(new, "train"), tensors(new, "test")[0]

    for pixels in PIXELS[1:]:
        inputs, labels, tests = parts(label_noise=0.5, pixels=pixels, seed=1)
        again = parts(label_noise=0.5, pixels=pixels, seed=1)
        assert all(torch.equal(a, b) for a, b in zip((inputs, labels, tests), again, strict=True))
        assert torch.equal(parts(pixels=pixels, seed=1)[0], inputs)
        assert torch.equal(parts(label_noise=0.5, seed=1)[1], labels)
        others = parts(label_noise=0.5, pixels=pixels, seed=2)
        assert not any(torch.equal(a, b) for a, b in zip((inputs, labels, tests), others, strict=True))
        alone = corrupted(Splits(splits.train.head(100), splits.test), pixels=pixels, seed=1)
        if pixels == "random":  # fewer training images leave the test images where they are
            assert torch.equal(tensors(alone, "test")[0], tests)
    far = parts(label_noise=0.5, seed=1 + 2**32)[1]
    assert not torch.equal(far, parts(label_noise=0.5, seed=1)[1])


def test_the_given_splits_and_the_global_state_stay():
    splits, state = data(), torch.get_rng_state()
    digests = splits.train.digest(), splits.test.digest()
    for pixels in PIXELS[1:]:
        corrupted(splits, label_noise=0.7, pixels=pixels)
    assert (splits.train.digest(), splits.test.digest()) == digests
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan, "0.5", True])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(UsageError, match=r"0 \.\.\. 1"):
        corrupted(data(), label_noise=share)


def test_data_that_cannot_be_corrupted_are_refused():
    with pytest.raises(UsageError, match="shuffled, random, gaussian"):
        corrupted(data(), pixels="blurred")
    x, y = torch.randn(6, 4), torch.zeros(6, dtype=torch.int64)
    for splits, options in [
        (splits_of({"inputs": x, "targets": y}), {"pixels": "random"}),
        (Splits(Samples(((x, y), (torch.randn(6, 5), y))), None), {"label_noise": 0.5}),
        (splits_of((x, x)), {"label_noise": 0.5}),
        (splits_of((x, y[:, None])), {"label_noise": 0.5}),
        (splits_of((x, y - 100)), {"label_noise": 0.5}),
        (splits_of((y[:, None], y)), {"pixels": "shuffled"}),
        (splits_of((x[:, 0], y)), {"pixels": "shuffled"}),
        (splits_of({"train": (x, y), "test": (torch.randn(6, 5), y)}), {"pixels": "gaussian"}),
    ]:
        with pytest.raises(InputError, match=r"^[^\n]*; (give|use)[^\n]*$"):
            corrupted(splits, **options)


# --- augmentation


def test_flips_are_fair_and_of_whole_images():
    images = noise(4_000, 1, 2, 3)
    new = Augmentation(flip=True)(images, drawn())
    turned = (new == images.flip(3)).all((1, 2, 3))
    assert (turned | (new == images).all((1, 2, 3))).all()
    assert abs(float(turned.double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(4_000)
    assert torch.equal(Augmentation(flip=True)(images[:10], drawn()), new[:10])  # samples draw in their order
    assert torch.equal(flipped(images[:2], torch.tensor([True, False])), torch.stack([images[0].flip(2), images[1]]))


def test_crops_are_windows_of_the_padded_image():
    images, crop = noise(300, 2, 5, 7), 2
    corners = torch.randint(5, (300, 2), generator=drawn())
    new = Augmentation(crop=crop)(images, drawn())
    for image, (top, left), cut in zip(images, corners.tolist(), new, strict=True):
        padded = np.pad(image.numpy(), ((0, 0), (crop, crop), (crop, crop)))
        np.testing.assert_array_equal(cut.numpy(), padded[:, top : top + 5, left : left + 7])
    assert len({tuple(corner) for corner in corners.tolist()}) == 25
    assert torch.equal(cropped(images, torch.full((300, 2), crop), crop), images)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (0, -3), (-1, 2)])
def test_a_shift_by_whole_pixels_repeats_the_border(down, right):
    images = noise(2, 3, 5, 8)
    new = moved(images, torch.zeros(2), torch.tensor([[down / 5, right / 8]] * 2))
    rows = (torch.arange(5) - down).clamp(0, 4)
    columns = (torch.arange(8) - right).clamp(0, 7)
    assert torch.allclose(new, images[:, :, rows][:, :, :, columns], atol=1e-6)


@pytest.mark.parametrize("quarters", [0, 1, -1, 2])
def test_a_rotation_is_counterclockwise(quarters):
    images = noise(2, 3, 6, 6)
    new = moved(images, torch.full((2,), 90.0 * quarters), torch.zeros(2, 2))
    assert torch.allclose(new, images.rot90(quarters, (2, 3)), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(5, 9), (8, 4)])
def test_a_rotation_is_one_of_pixels_where_height_and_width_differ(height, width):
    images = noise(2, 3, height, width)
    new = moved(images, torch.full((2,), 90.0), torch.zeros(2, 2))
    inner = min(height, width)
    top, left = (height - inner) // 2, (width - inner) // 2
    middle = images[:, :, top : top + inner, left : left + inner]
    assert torch.allclose(new[:, :, top : top + inner, left : left + inner], middle.rot90(1, (2, 3)), atol=1e-6)


def by_hand(image, degrees, down, right):
    """Output at (row, column) from the input at R^-1 (p - shift), p measured from the centre in pixels."""
    _, height, width = image.shape
    angle, result = math.radians(degrees), np.empty_like(image)
    for row in range(height):
        for column in range(width):
            x, y = column - (width - 1) / 2 - right * width, row - (height - 1) / 2 - down * height
            x, y = math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y
            x, y = np.clip(x + (width - 1) / 2, 0, width - 1), np.clip(y + (height - 1) / 2, 0, height - 1)
            i, j = min(int(y), height - 2), min(int(x), width - 2)
            a, b = y - i, x - j
            top = (1 - b) * image[:, i, j] + b * image[:, i, j + 1]
            bottom = (1 - b) * image[:, i + 1, j] + b * image[:, i + 1, j + 1]
            result[:, row, column] = (1 - a) * top + a * bottom
    return result


def test_rotation_and_shift_are_as_by_hand():
    images = noise(12, 2, 5, 8)
    new = Augmentation(rotate=40.0, shift=0.2)(images, drawn())
    generator = drawn()
    angles = 40 * (2 * torch.rand(12, dtype=torch.float64, generator=generator) - 1)
    shifts = 0.2 * (2 * torch.rand(12, 2, dtype=torch.float64, generator=generator) - 1)
    for image, angle, (down, right), got in zip(images, angles.tolist(), shifts.tolist(), new, strict=True):
        np.testing.assert_allclose(got.numpy(), by_hand(image.numpy(), angle, down, right), atol=1e-9)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "options", [{"flip": True}, {"crop": 2}, {"rotate": 10.0}, {"shift": 0.2}, {"flip": True, "crop": 1, "shift": 0.1}]
)
def test_draws_are_of_the_generator_alone(options, layout):
    images = noise(16, 3, 6, 10).to(memory_format=layout)
    augmentation, before = Augmentation(**options), images.clone()
    reference = augmentation(images, drawn())
    assert torch.equal(images, before)
    assert not torch.allclose(reference, images)
    assert torch.equal(augmentation(images, drawn()), reference)
    assert not torch.equal(augmentation(images, drawn(1)), reference)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        new = augmentation(images.to(dtype), drawn())
        assert (new.dtype, new.shape, new.stride()) == (dtype, images.shape, images.stride())
        assert torch.allclose(new.double(), reference, atol=tolerance)


def test_nothing_switched_on_gives_equal_values_and_draws_nothing():
    images, generator = noise(4, 3, 5, 5), drawn()
    augmentation = Augmentation(flip=False, crop=0, rotate=0, shift=0)
    new = augmentation(images, generator)
    assert not augmentation.active
    assert torch.equal(new, images)
    assert new.data_ptr() != images.data_ptr()
    assert torch.equal(generator.get_state(), drawn().get_state())
    assert all(Augmentation(**one).active for one in ({"flip": True}, {"crop": 1}, {"rotate": 0.1}, {"shift": 0.1}))


def test_a_batch_without_images_stays_one():
    images = torch.zeros(0, 3, 5, 5)
    assert Augmentation(flip=True, crop=1, rotate=5.0, shift=0.1)(images, drawn()).shape == images.shape


@pytest.mark.parametrize(
    "options",
    [
        {"flip": 1},
        {"crop": -1},
        {"crop": 1.0},
        {"crop": True},
        {"rotate": 181},
        {"rotate": -1},
        {"rotate": math.nan},
        {"rotate": "10"},
        {"shift": 1.0},
        {"shift": -0.1},
        {"shift": True},
    ],
)
def test_augmentations_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match=f"^{next(iter(options))} must [^\n]*$"):
        Augmentation(**options)


def test_inputs_that_are_no_images_are_refused():
    with pytest.raises(InputError, match=r"\(4, 9\); reshape"):
        Augmentation(flip=True)(torch.zeros(4, 9), drawn())
    with pytest.raises(InputError, match="uint8; convert"):
        Augmentation(shift=0.1)(torch.zeros(4, 1, 3, 3, dtype=torch.uint8), drawn())


# --- scaling and crops of the built-in images


def parquet(folder, name):
    """Random images of a built-in data set as parquet files; the pixels (N, channels, 9, 9) and labels by split."""
    import datasets

    column, label = ("img", "fine_label" if name == "cifar100" else "label") if "cifar" in name else ("image", "label")
    rng, found = np.random.default_rng(0), {}
    folder.mkdir()
    for split, count in (("train", 12), ("test", 5)):
        pixels = rng.integers(0, 256, (count, 9, 9, 3) if "cifar" in name else (count, 9, 9), dtype=np.uint8)
        pixels[0] = 100
        pixels[0, 4, 4] = 101  # so little contrast that the bound on the deviation counts
        encoded = []
        for array in pixels:
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, "PNG")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        labels = rng.integers(0, 100 if name == "cifar100" else 10, count).tolist()
        columns = {column: encoded, label: labels, "coarse_label": [0] * count}
        features = {column: datasets.Image(), label: datasets.Value("int64"), "coarse_label": datasets.Value("int64")}
        datasets.Dataset.from_dict(columns, datasets.Features(features)).to_parquet(folder / f"{split}.parquet")
        values = pixels.astype(np.float64)
        found[split] = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2), labels
    return found


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_images_are_cropped_and_scaled(tmp_path, name):
    found = parquet(tmp_path / name, name)
    root = {"root": str(tmp_path)}
    pixels = {split: (values[:, :, 2:7, 2:7], labels) for split, (values, labels) in found.items()}  # 9 -> 5: 2 each
    mean, deviation = (f(pixels["train"][0], axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    for scaling in ("standardised", "unit", "image"):
        splits = load_data(name, {**root, "scaling": scaling, "crop": 5})
        for split, (values, labels) in pixels.items():
            inputs, targets = tensors(splits, split)
            if scaling == "standardised":
                expected = (values - mean) / deviation
            elif scaling == "unit":
                expected = values / 255
            else:
                expected = np.stack([(x - x.mean()) / max(x.std(), 255 / math.sqrt(x.size)) for x in values])
            np.testing.assert_allclose(inputs.numpy(), expected, rtol=1e-5, atol=1e-6)
            assert inputs.dtype == torch.float32
            assert targets.tolist() == labels
    whole = load_data(name, root).train.digest()
    assert load_data(name, {**root, "scaling": "standardised", "crop": 9}).train.digest() == whole
    even = tensors(load_data(name, {**root, "scaling": "unit", "crop": 6}), "train")[0]
    np.testing.assert_allclose(even.numpy(), found["train"][0][:, :, 1:7, 1:7] / 255, rtol=1e-6)
    with pytest.raises(UsageError, match=r"^--data-arg crop must lie in 1 \.\.\. 9[^\n]*got 10$"):
        load_data(name, {**root, "crop": 10})


@pytest.mark.parametrize("argument", [{"scaling": "none"}, {"scaling": 1}, {"crop": 0}, {"crop": 2.5}, {"crop": True}])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_wrong_scalings_and_crops_are_refused_before_anything_is_read(name, argument):
    with pytest.raises(UsageError, match=f"^--data-arg {next(iter(argument))} must [^\n]*$"):
        load_data(name, argument)
