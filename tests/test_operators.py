"""The operators against matrices written out from per-sample Jacobians; the engine's paths, memory and blocks."""

import math

import numpy as np
import pytest
import torch
from problems import DTYPE, problem
from torch import nn
from torch.func import functional_call

from landscape import (
    Deflated,
    Dense,
    EmpiricalFisher,
    Fisher,
    GaussNewton,
    GradientCovariance,
    Hessian,
    Objective,
    Shifted,
    top_eigenpairs,
)
from landscape.errors import InputError, NumericalError, ResourceError, UsageError
from landscape.specs import parse_memory

PATHS = ("double", "linearize")


class Written:
    """The matrices of a classifier with a softmax, sample by sample."""

    def __init__(self, case):
        objective = case.objective()
        w = objective.params.clone().requires_grad_()
        outputs = functional_call(case.model, objective.layout.named(w), (case.inputs,))
        rows = [torch.autograd.grad(o, w, retain_graph=True)[0] for o in outputs.flatten()]
        count, classes = outputs.shape
        self.jacobian = torch.stack(rows).view(count, classes, -1)
        self.p, self.y = outputs.softmax(1).detach(), case.targets
        self.count, self.classes = count, classes

    def scores(self, labels):
        """Gradients of -log p(label), (N, n)."""
        return torch.einsum("bi,bin->bn", self.p - nn.functional.one_hot(labels, self.classes), self.jacobian)

    def gauss_newton(self):
        curvature = torch.diag_embed(self.p) - self.p[:, :, None] * self.p[:, None, :]
        return torch.einsum("bin,bij,bjm->nm", self.jacobian, curvature, self.jacobian) / self.count

    def fisher(self):
        """Expectation over the classes, one by one."""
        total = 0
        for k in range(self.classes):
            g = self.scores(torch.full((self.count,), k))
            total = total + torch.einsum("b,bn,bm->nm", self.p[:, k], g, g)
        return total / self.count

    def empirical(self):
        g = self.scores(self.y)
        return g.T @ g / self.count

    def covariance(self, ddof):
        g = self.scores(self.y)
        centred = g - g.mean(0)
        return centred.T @ centred / (self.count - ddof)


@pytest.fixture(scope="module", params=["tanh-mlp", "layer-norm-mlp"])
def written(request):
    case = problem(request.param)
    return case, Written(case)


def close(operator, truth, tolerance=1e-10):
    vectors = torch.randn(operator.size, 4, dtype=DTYPE, generator=torch.Generator().manual_seed(1))
    assert (operator.matmat(vectors) - truth @ vectors).norm() / (truth @ vectors).norm() < tolerance


@pytest.mark.parametrize("hvp", PATHS)
@pytest.mark.parametrize("memory", [None, 0])
def test_gauss_newton_fisher_and_second_moments_are_those_written_out(written, hvp, memory):
    case, truth = written
    objective = case.objective(chunk=17)
    options = {"hvp": hvp, "memory": memory}
    close(GaussNewton(objective, **options), truth.gauss_newton())
    close(Fisher(objective, **options), truth.fisher())
    close(EmpiricalFisher(objective, **options), truth.empirical())
    for ddof in (0, 1):
        close(GradientCovariance(objective, ddof=ddof, **options), truth.covariance(ddof))


@pytest.mark.parametrize("hvp", PATHS)
def test_the_drawn_fisher_is_that_of_its_draws_and_tends_to_the_exact_one(written, hvp):
    case, truth = written
    objective = case.objective(chunk=17)
    one = Fisher(objective, monte_carlo=1, seed=3, hvp=hvp)
    drawn = one.sampled.samples.blocks[0][1]
    assert drawn.shape == (truth.count, 1)
    g = truth.scores(drawn[:, 0])
    close(one, g.T @ g / truth.count)
    close(Fisher(objective, monte_carlo=400, hvp=hvp), truth.fisher(), 0.1)
    assert one.name == "fisher-mc"


def test_fisher_of_squared_errors_is_gauss_newton_and_of_bits_written_out():
    case = problem("tanh-mlp")
    targets = torch.randn(50, 3, dtype=DTYPE)
    squared = Objective(case.model, "mse", (case.inputs, targets), dtype=DTYPE, chunk=20)
    jacobian = Written(case).jacobian
    gaussian = 2 * torch.einsum("bin,bim->nm", jacobian, jacobian) / 150
    close(Fisher(squared), gaussian)
    close(GaussNewton(squared), gaussian)
    close(Fisher(squared, monte_carlo=500), gaussian, 0.3)
    bits = Objective(
        case.model, nn.functional.binary_cross_entropy_with_logits, (case.inputs, (targets > 0).to(DTYPE)), dtype=DTYPE
    )
    p = case.model(case.inputs).sigmoid().detach()
    bernoulli = torch.einsum("bin,bi,bim->nm", jacobian, p * (1 - p), jacobian) / 150
    close(Fisher(bits, likelihood="bernoulli"), bernoulli)
    close(GaussNewton(bits), bernoulli)
    close(Fisher(bits, likelihood="bernoulli", monte_carlo=500), bernoulli, 0.3)


def test_ignored_targets_have_no_part_in_any_matrix():
    case = problem("tanh-mlp")
    targets = case.targets.clone()
    targets[5:20] = -100
    kept = torch.cat([torch.arange(5), torch.arange(20, 50)])
    whole = Objective(case.model, "cross_entropy", (case.inputs, targets), dtype=DTYPE, chunk=7)
    part = Objective(case.model, "cross_entropy", (case.inputs[kept], targets[kept]), dtype=DTYPE)
    vectors = torch.randn(83, 3, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
    for kind in (Hessian, GaussNewton, Fisher, EmpiricalFisher):
        assert torch.allclose(kind(whole).matmat(vectors), kind(part).matmat(vectors), atol=1e-13)
    drawn = Fisher(whole, monte_carlo=2).sampled.samples.blocks[0][1]
    assert bool((drawn[5:20] == -100).all())
    assert bool((drawn[kept] >= 0).all())


def test_a_users_mean_and_a_dict_batch_have_the_same_second_moments():
    case = problem("tanh-mlp")
    own = Objective(case.model, nn.functional.cross_entropy, (case.inputs, case.targets), dtype=DTYPE, chunk=20)
    batches = [{"x": case.inputs[i : i + 10], "y": case.targets[i : i + 10]} for i in range(0, 50, 10)]

    def loss(model, batch):
        return nn.functional.cross_entropy(model(batch["x"]), batch["y"])

    dicts = Objective(case.model, loss, batches, dtype=DTYPE)
    truth = Written(case)
    for objective in (own, dicts):
        close(EmpiricalFisher(objective), truth.empirical())
    close(GaussNewton(own), truth.gauss_newton())
    for kind in (GaussNewton, Fisher):
        with pytest.raises(InputError, match="outputs apart from the loss"):
            kind(dicts)


def test_l2_is_in_hessian_and_gauss_newton_and_in_no_matrix_of_gradients(written):
    case, truth = written
    identity = torch.eye(truth.jacobian.shape[2], dtype=DTYPE)
    penalised = case.objective(l2=0.3)
    close(GaussNewton(penalised), truth.gauss_newton() + 0.3 * identity)
    close(EmpiricalFisher(penalised), truth.empirical())
    close(GradientCovariance(penalised), truth.covariance(0))
    v = torch.ones(len(identity), dtype=DTYPE)
    assert torch.allclose(Hessian(penalised).matvec(v), Hessian(case.objective()).matvec(v) + 0.3 * v, atol=1e-12)


@pytest.mark.parametrize("kind", [Hessian, GaussNewton, Fisher, EmpiricalFisher, GradientCovariance])
def test_a_block_of_the_params_gives_a_block_of_the_matrix(kind):
    case = problem("layer-norm-mlp")
    objective = case.objective(l2=0.1)
    whole, names = kind(objective), objective.layout.names
    block = kind(case.objective(l2=0.1, params="1.*"))
    places = torch.cat([torch.arange(whole.size)[whole.blocks()[n]] for n in names if n.startswith("1.")])
    assert block.size == len(places) == 16
    inside = torch.randn(16, 2, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
    padded = torch.zeros(whole.size, 2, dtype=DTYPE).index_copy(0, places, inside)
    assert torch.allclose(block.matmat(inside), whole.matmat(padded)[places], atol=1e-12)
    assert block.objective.value() == pytest.approx(objective.value(), rel=1e-12)
    assert block.identity() != whole.identity()
    with pytest.raises(InputError, match="no param is named like"):
        objective.restricted("7.*")


def test_every_self_check_agrees_and_catches_a_wrong_middle():
    objective = problem("layer-norm-mlp").objective(chunk=20)
    for kind in (GaussNewton, Fisher, EmpiricalFisher, GradientCovariance):
        assert kind(objective).self_check(0)["verdict"] == "agrees"
    assert Fisher(objective, monte_carlo=2).self_check(0)["verdict"] == "agrees"

    class Halved(GaussNewton):
        def self_check(self, seed):
            from landscape.operators import gauss_newton
            from landscape.operators.selfcheck import check_gram

            def half(part, batch, v, step):
                return gauss_newton._square(part, batch, v, step) / 2

            return check_gram(self.objective, lambda part: GaussNewton(part, hvp="double").engine, half, seed)

    with pytest.raises(NumericalError, match="contradict"):
        top_eigenpairs(Halved(objective), 2)


def test_shifted_and_deflated_are_their_definitions():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 30, dtype=DTYPE, generator=generator)
    matrix = matrix + matrix.T
    values, vectors = torch.linalg.eigh(matrix)
    operator = Dense(matrix)
    assert torch.allclose(Shifted(operator, -2.5).dense(), matrix - 2.5 * torch.eye(30, dtype=DTYPE))
    known = vectors[:, -4:]
    projection = torch.eye(30, dtype=DTYPE) - known @ known.T
    mixed = known @ torch.randn(4, 4, dtype=DTYPE, generator=generator)  # any basis of the span will do
    deflated = Deflated(operator, mixed)
    assert torch.allclose(deflated.dense(), projection @ matrix @ projection, atol=1e-10)
    assert top_eigenpairs(deflated, 1).eigenvalues[0] == pytest.approx(float(values[-5]))
    x = torch.randn(30, 3, dtype=DTYPE, generator=generator)
    for changed in (Shifted(operator, 1.0), deflated):
        assert torch.allclose(changed.matmat(x), changed.dense() @ x, atol=1e-10)
        assert torch.allclose(changed.matvec(x[:, 0]), changed.dense() @ x[:, 0], atol=1e-10)
        np.testing.assert_allclose(changed.to_scipy() @ x.numpy(), (changed.dense() @ x).numpy(), atol=1e-10)
    with pytest.raises(InputError, match="columns of length 30"):
        Deflated(operator, torch.zeros(29, 2, dtype=DTYPE))


# -- the engine --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hvp", PATHS)
def test_the_budget_decides_how_many_chunks_stay_and_not_what_comes_out(hvp):
    objective = problem("batch-norm-cnn").objective(chunk=9)
    v = torch.randn(objective.layout.size, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
    everything = Hessian(objective, hvp=hvp)
    truth = everything.matvec(v)
    assert everything.report()["kept_chunks"] == everything.report()["chunks"] == 5
    size = everything.report()["kept_bytes"]
    assert size > 0
    for memory, kept in ((0, 0), (size // 2, 2), (size, 5)):
        operator = Hessian(objective, hvp=hvp, memory=memory)
        assert torch.equal(operator.matvec(v), truth)
        report = operator.report()
        assert report["kept_chunks"] == kept
        assert report["kept_bytes"] <= memory
        assert report["path"] == hvp


def test_the_paths_agree_and_say_by_how_much():
    objective = problem("layer-norm-mlp").objective(chunk=20)
    operator = Hessian(objective, hvp="linearize")
    v = torch.ones(operator.size, dtype=DTYPE)
    assert torch.allclose(operator.matvec(v), objective.hvp(v), rtol=1e-12)
    assert operator.report()["agreement"] < 1e-12
    assert operator.report()["gradient_passes"] > 0
    reference = Hessian(objective, hvp="double")
    reference.matvec(v)
    assert reference.report()["agreement"] is None


class Exhausted:
    """Makes a model's forward pass run out of memory above a number of samples."""

    def __init__(self, limit):
        self.limit, self.told = limit, 0

    def __call__(self, module, inputs):
        if len(inputs[0]) > self.limit:
            self.told += 1
            raise torch.OutOfMemoryError("CUDA out of memory (planted)")


@pytest.mark.parametrize("limit", [40, 13, 5, 1])
def test_where_memory_runs_out_the_chunk_is_halved_and_the_result_is_the_same(limit):
    case = problem("tanh-mlp")
    v = torch.randn(83, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
    truth = Hessian(case.objective()).matvec(v)
    objective = case.objective(chunk=50)
    hook = Exhausted(limit)
    with case.model.register_forward_pre_hook(hook):
        operator = Hessian(objective, hvp="double")
        found = operator.matvec(v)
        gradient = objective.value_and_gradient()[1]
    assert hook.told
    assert operator.report()["chunk"] <= limit
    assert operator.report()["halvings"] == math.ceil(math.log2(50 / (limit + 1)))
    assert torch.allclose(found, truth, rtol=1e-10)
    assert torch.allclose(gradient, case.objective().value_and_gradient()[1], rtol=1e-10)
    assert objective.identity == case.objective(chunk=50).identity  # what was asked for identifies a result


def test_no_smaller_chunk_than_one_and_none_where_batches_share_statistics():
    case = problem("tanh-mlp")
    objective = case.objective(chunk=4)
    with case.model.register_forward_pre_hook(Exhausted(0)), pytest.raises(ResourceError, match="smallest chunk"):
        objective.evaluate()
    norm = problem("batch-norm-cnn")
    shared = Objective(norm.model, "cross_entropy", (norm.inputs, norm.targets), dtype=DTYPE, bn="batch", bn_batch=20)
    with norm.model.register_forward_pre_hook(Exhausted(10)), pytest.raises(ResourceError, match="--bn-batch"):
        shared.value()


def test_memory_that_runs_out_while_chunks_are_kept_lowers_the_budget(monkeypatch):
    from landscape.products.makers import DoubleMaker

    objective = problem("tanh-mlp").objective(chunk=10)
    built = []
    build = DoubleMaker.build

    def failing(self, batch):
        built.append(len(batch[0]))
        if len(built) == 6:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
        return build(self, batch)

    monkeypatch.setattr(DoubleMaker, "build", failing)
    operator = Hessian(objective, hvp="double", memory=10**9)
    v = torch.ones(operator.size, dtype=DTYPE)
    found = operator.matvec(v)
    assert operator.report()["halvings"] == 1
    assert operator.report()["chunk"] == 5
    assert 0 < operator.report()["kept_chunks"] < operator.report()["chunks"]
    assert torch.allclose(found, problem("tanh-mlp").objective().hvp(v), rtol=1e-10)


def test_several_vectors_at_once_equal_one_after_the_other(monkeypatch):
    from landscape.products import block

    monkeypatch.setattr(block, "PAYS", 1e9)  # a block is taken wherever it runs
    for name in ("layer-norm-mlp", "batch-norm-cnn"):
        objective = problem(name).objective(chunk=20)
        for hvp in PATHS:
            operator = Hessian(objective, hvp=hvp)
            vectors = torch.randn(operator.size, 11, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
            together = operator.matmat(vectors)
            assert operator.report()["block"] > 1
            assert torch.allclose(together, torch.stack([objective.hvp(v) for v in vectors.T], 1), rtol=1e-9)


def test_a_param_without_part_in_the_loss_and_a_sample_of_nan_are_named():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    torch.manual_seed(0)
    x, y = torch.randn(30, 4), torch.randint(0, 3, (30,))
    objective = Objective(Spare(), "cross_entropy", (x, y))
    with pytest.raises(InputError, match=r"spare\.weight has no part in the loss.*--params"):
        top_eigenpairs(Hessian(objective), 2)
    block = Objective(Spare(), "cross_entropy", (x, y), params="used.*")
    assert top_eigenpairs(Hessian(block), 2).status == "converged"
    x[17, 2] = torch.nan
    poisoned = Objective(Spare(), "cross_entropy", (x, y), params="used.*", chunk=5)
    with pytest.raises(NumericalError, match=r"samples 15 \.\.\. 19"):
        Hessian(poisoned).matvec(torch.ones(15))


def test_sizes_of_memory_are_read_and_refused():
    assert [parse_memory(t) for t in ("0", "1000", "500M", "2G", "1.5gb")] == [0, 1000, 500e6, 2e9, 1.5e9]
    for text in ("much", "-1G", "inf", "5X", ""):
        with pytest.raises(UsageError, match="--memory"):
            parse_memory(text)
    with pytest.raises(UsageError, match="hvp"):
        Hessian(problem("tanh-mlp").objective(), hvp="forward")
