from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from bench.tasks.models import Transformer
from bench.worker.counts.counters import Operators
from bench.worker.counts.flops import computes, formula

pytestmark = pytest.mark.usefixtures("one_thread")

aten = torch.ops.aten


def counted(run, mode=torch.enable_grad):
    """FLOPs of what it runs, and the operators whose FLOPs are unknown."""
    operators = Operators()
    with mode(), operators:
        run()
    operators.assign("train", "forward")
    return sum(one.flops for one in operators.counts()), operators.unknown


def known(run, mode=torch.enable_grad):
    flops, unknown = counted(run, mode)
    assert unknown == set()
    return flops


def forward_and_backward(model, *inputs):
    def run():
        out = model(*inputs)
        (out[0] if isinstance(out, tuple) else out).sum().backward()

    return run


class TestModels:
    def test_resnet18_has_its_published_operations(self):
        model = torchvision.models.resnet18().eval()
        image = torch.randn(1, 3, 224, 224)
        assert known(lambda: model(image), torch.no_grad) == pytest.approx(2 * 1.814e9, rel=0.005)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_evaluation_modes_compute_the_same(self, mode):
        model = torchvision.models.resnet18().eval()
        image = torch.randn(1, 3, 64, 64)
        assert known(lambda: model(image), mode) == known(lambda: model(image))

    # A block of width W and hidden width H over B sequences of T places: W x 3W, W x W, W x H and H x W weights meet
    # each place, scores and their product with the values are T x T x W each. The backward pass takes twice the
    # matrices, and of attention five products where the forward pass takes two: the scores are made again.
    B, T, W, H = 2, 5, 8, 24
    MATRICES = 2 * B * T * (3 * W * W + W * W + 2 * W * H)
    PRODUCT = 2 * B * T * T * W

    def block(self):
        return nn.TransformerEncoderLayer(self.W, 2, self.H, dropout=0.0, batch_first=True)

    def test_a_transformer_block_has_its_closed_formula_forward_and_backward(self):
        sequence = torch.randn(self.B, self.T, self.W, requires_grad=True)
        flops = known(forward_and_backward(self.block(), sequence))
        assert flops == 3 * self.MATRICES + (2 + 5) * self.PRODUCT

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_a_transformer_block_in_evaluation_is_one_operator_with_the_same_formula(self, mode):
        model, sequence = self.block().eval(), torch.randn(self.B, self.T, self.W)
        assert known(lambda: model(sequence), mode) == self.MATRICES + 2 * self.PRODUCT

    def test_a_mask_is_no_weight_of_a_block(self):
        model, sequence = self.block().eval(), torch.randn(self.B, self.T, self.W)
        mask = nn.Transformer.generate_square_subsequent_mask(self.T)
        assert known(lambda: model(sequence, mask), torch.no_grad) == self.MATRICES + 2 * self.PRODUCT

    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
    def test_padded_places_that_evaluation_leaves_out_do_not_count(self):
        model = nn.TransformerEncoder(self.block(), 1).eval()
        sequence = torch.randn(self.B, self.T, self.W)
        padding = torch.zeros(self.B, self.T, dtype=torch.bool)
        padding[1, 3:] = True  # 5 places and 3
        flops = known(lambda: model(sequence, src_key_padding_mask=padding), torch.no_grad)
        assert flops == self.MATRICES * 8 // 10 + 4 * self.W * (5**2 + 3**2)

    def test_attention_in_evaluation_is_one_operator_with_the_same_formula(self):
        model = nn.MultiheadAttention(self.W, 2, batch_first=True).eval()
        x = torch.randn(self.B, self.T, self.W)
        expected = 2 * self.B * self.T * 4 * self.W**2 + 2 * self.PRODUCT
        assert known(lambda: model(x, x, x, need_weights=False), torch.no_grad) == expected

    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
    @pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"bias": False, "batch_first": True}])
    @pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
    def test_a_recurrent_layer_meets_each_weight_at_each_step(self, kind, options, mode):
        model = kind(5, 7, num_layers=2, **options)
        weights = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
        assert known(lambda: model(torch.randn(3, 4, 5)), mode) == 2 * 3 * 4 * weights

    def test_a_recurrent_layer_takes_twice_that_backward(self):
        model = nn.LSTM(5, 7)
        weights = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
        sequence = torch.randn(3, 4, 5, requires_grad=True)
        assert known(forward_and_backward(model, sequence)) == 3 * 2 * 3 * 4 * weights

    def test_a_recurrent_layer_of_torch_itself_makes_no_gradient_of_its_first_state(self):
        model = nn.GRU(5, 7)
        each = {name: weight.numel() for name, weight in model.named_parameters() if weight.ndim == 2}
        forward = 2 * 3 * 4 * sum(each.values())
        sequence = torch.randn(3, 4, 5, requires_grad=True)
        flops = known(forward_and_backward(model, sequence))
        assert flops == 3 * forward - 2 * 4 * each["weight_hh_l0"]


class TestOperators:
    @pytest.mark.parametrize(
        ("run", "flops"),
        [
            (lambda: torch.mv(torch.ones(3, 4), torch.ones(4)), 2 * 3 * 4),
            (lambda: torch.dot(torch.ones(4), torch.ones(4)), 2 * 4),
            (lambda: torch.vdot(torch.ones(4), torch.ones(4)), 2 * 4),
            (lambda: torch.addmv(torch.ones(3), torch.ones(3, 4), torch.ones(4)), 2 * 3 * 4),
            (lambda: torch.ones(3).addmv_(torch.ones(3, 4), torch.ones(4)), 2 * 3 * 4),
            (lambda: torch.ones(3, 5).addmm_(torch.ones(3, 4), torch.ones(4, 5)), 2 * 3 * 4 * 5),
            (lambda: torch.mm(torch.ones(3, 4), torch.ones(4, 5), out=torch.ones(3, 5)), 2 * 3 * 4 * 5),
            (
                lambda: torch.ones(2, 3, 5).baddbmm_(torch.ones(2, 3, 4), torch.ones(2, 4, 5)),
                2 * 2 * 3 * 4 * 5,
            ),
            (
                lambda: torch.addbmm(torch.ones(3, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)),
                2 * 2 * 3 * 4 * 5,
            ),
            (
                lambda: aten._addmm_activation(torch.ones(5), torch.ones(3, 4), torch.ones(4, 5)),
                2 * 3 * 4 * 5,
            ),
            (lambda: torch.einsum("ij,jk->ik", torch.ones(3, 4), torch.ones(4, 5)), 2 * 3 * 4 * 5),
            (lambda: F.conv_transpose2d(torch.ones(1, 2, 3, 3), torch.ones(2, 5, 2, 2)), 2 * 9 * 2 * 5 * 4),
        ],
    )
    @pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
    def test_a_contraction_has_two_operations_for_each_multiplication(self, run, flops, mode):
        assert known(run, mode) == flops

    @pytest.mark.parametrize("groups", [1, 2])
    def test_attention_on_the_processor_has_a_formula_forward_and_backward(self, groups):
        query = torch.randn(2, 4, 5, 8, requires_grad=True)
        key, value = (torch.randn(2, 4 // groups, 5, 8, requires_grad=True) for _ in range(2))
        product = 2 * 2 * 4 * 5 * 5 * 8
        made = []

        def attend():
            made.append(F.scaled_dot_product_attention(query, key, value, enable_gqa=groups > 1))

        assert known(attend) == 2 * product
        assert known(lambda: made[0].sum().backward()) == 5 * product

    @pytest.mark.parametrize(
        ("run", "names"),
        [
            (lambda: torch.linalg.svd(torch.eye(3)), {"aten._linalg_svd"}),
            (lambda: torch.linalg.inv(torch.eye(3)), {"aten.linalg_inv_ex"}),
            (lambda: torch.fft.fft(torch.ones(8)), {"aten._fft_r2c"}),
            (lambda: torch.cdist(torch.ones(3, 4), torch.ones(5, 4)), {"aten._cdist_forward"}),
            (lambda: F.pdist(torch.randn(3, 4)), {"aten._pdist_forward"}),
            (
                lambda: F.bilinear(torch.ones(2, 3), torch.ones(2, 4), torch.ones(5, 3, 4)),
                {"aten._trilinear"},
            ),
            (lambda: torch.sparse.mm(torch.eye(3).to_sparse(), torch.ones(3, 2)), {"aten._sparse_addmm"}),
            (lambda: torchvision.ops.nms(torch.rand(3, 4), torch.rand(3), 0.5), {"torchvision.nms"}),
        ],
    )
    @pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
    def test_a_contraction_without_a_formula_is_named(self, run, names, mode):
        assert counted(run, mode) == (0, names)

    def test_an_operator_of_the_users_own_is_named(self):
        with torch.library._scoped_library("epochbench_test", "FRAGMENT") as library:
            library.define("twice(Tensor x) -> Tensor")
            library.impl("twice", lambda x: x * 2, "CPU")
            found = counted(lambda: torch.ops.epochbench_test.twice(torch.ones(2)))
        assert found == (0, {"epochbench_test.twice"})

    def test_a_formula_that_refuses_its_operator_makes_it_unknown(self, monkeypatch):
        def refuse(*_, **__):
            raise AssertionError("shapes are incompatible")

        monkeypatch.setitem(torch.utils.flop_counter.flop_registry, aten.mm, refuse)
        assert counted(lambda: torch.mm(torch.ones(2, 2), torch.ones(2, 2))) == (0, {"aten.mm"})

    @pytest.mark.parametrize(
        "run",
        [
            lambda: F.gelu(torch.ones(3)).exp().clamp(min=0).sum(),
            lambda: torch.ones(2, 6).view(3, 4).t().permute(1, 0).contiguous().flatten(),
            lambda: F.layer_norm(torch.ones(2, 3), [3]) + F.rms_norm(torch.ones(2, 3), [3]),
            lambda: F.group_norm(torch.ones(2, 4, 3), 2),
            lambda: F.batch_norm(torch.randn(4, 3), torch.zeros(3), torch.ones(3), training=True),
            lambda: F.normalize(torch.ones(2, 3)),  # linalg_vector_norm
            lambda: F.adaptive_avg_pool2d(F.max_pool2d(torch.ones(1, 2, 8, 8), 2), 2),
            lambda: torch.ones(3, 4)[torch.tensor([0, 2])].index_add(0, torch.tensor([0]), torch.ones(1, 4)),
            lambda: torch.ones(3, 4).gather(1, torch.zeros(3, 1, dtype=torch.long)),
            lambda: torch._foreach_norm(torch._foreach_mul([torch.ones(3)], 2.0)),
            lambda: nn.utils.clip_grad_norm_(_with_gradient(), 1.0),
            lambda: F.dropout(torch.ones(3)),
            lambda: F.interpolate(torch.ones(1, 2, 4), scale_factor=2, mode="linear"),
            lambda: F.interpolate(torch.ones(1, 2, 4, 4), scale_factor=2, mode="bilinear"),
            lambda: F.interpolate(torch.ones(1, 2, 4, 4, 4), scale_factor=2, mode="trilinear"),
            lambda: torch.linalg.cross(torch.ones(3), torch.ones(3)),
            lambda: torch.fft.fftshift(torch.fft.fftfreq(8)),
            lambda: F.cross_entropy(torch.ones(2, 3), torch.tensor([0, 1])),
            lambda: F.embedding(torch.tensor([0, 1]), torch.ones(3, 4)),
            lambda: torch.ones(4, 3).sort()[0].cumsum(0).topk(2),
        ],
    )
    @pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
    def test_what_is_no_contraction_counts_nothing_and_is_not_unknown(self, run, mode):
        assert counted(run, mode) == (0, set())

    @pytest.mark.parametrize(
        "name", ["_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "_cudnn_rnn_flatten_weight"]
    )
    def test_what_only_a_card_runs_is_known_to_be_none_too(self, name):
        assert not computes(getattr(aten, name).default)

    @pytest.mark.parametrize("name", ["miopen_rnn", "miopen_convolution", "_lstm_mps", "_grouped_mm"])
    def test_what_only_a_card_runs_is_unknown_without_a_formula(self, name):
        operator = getattr(aten, name).default
        assert formula(operator) is None
        assert computes(operator)

    @pytest.mark.parametrize(("mode", "weights"), [("LSTM", 4), ("GRU", 3)])
    def test_a_recurrent_layer_of_cudnn_meets_each_weight_at_each_step(self, mode, weights):
        layer = getattr(nn, mode)(5, 7)
        sequence = torch.ones(3, 4, 5)
        forward, backward = (
            formula(getattr(aten, name).default) for name in ("_cudnn_rnn", "_cudnn_rnn_backward")
        )
        expected = 2 * 3 * 4 * weights * 7 * (5 + 7)
        assert forward(sequence, list(layer.parameters()), 4) == expected
        assert backward(sequence, list(layer.parameters()), 4) == 2 * expected


def _with_gradient():
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    return [weight]


class TestLoops:
    @pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
    @pytest.mark.parametrize("options", [{}, {"foreach": True}])
    def test_an_optimizer_computes_nothing_unknown(self, optimizer, options):
        (weight,) = _with_gradient()
        assert counted(getattr(torch.optim, optimizer)([weight], lr=0.1, **options).step) == (0, set())

    @pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
    def test_a_step_of_a_model_of_torchvision_is_known_as_a_whole(self, name):
        model = getattr(torchvision.models, name)(num_classes=10)
        optimizer = torch.optim.Adam(model.parameters())
        images, targets = torch.randn(2, 3, 64, 64), torch.tensor([1, 2])

        def step():
            optimizer.zero_grad()
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()

        assert known(step) > 0

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
    def test_the_transformer_computes_the_same_in_evaluation_as_in_training(self, mode):
        torch.manual_seed(0)
        model, codes = Transformer(11, length=6, width=8, heads=2, layers=2), torch.randint(0, 11, (3, 6))
        training = known(lambda: model(codes))
        assert training == 2 * (2 * 3 * 6 * 12 * 8**2 + 4 * 3 * 6 * 6 * 8) + 2 * 3 * 6 * 8 * 11
        model.eval()
        assert known(lambda: model(codes), mode) == training
