"""Optimizers by name: all of the installed torch.optim, and those of other packages by dotted name.

A new optimizer needs no change here, except for an entry of _PRESETS if its defaults should differ from torch's. One
that handles only some of a model's parameters (Muon: matrices; SparseAdam: those with sparse gradients) is an entry of
_PARTIAL: a companion steps the other parameters.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..suite.case import AxisValue, Case, spell
from .axis_values import SWITCH, Names, Numbers, error_of, exported_names, is_dotted

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

# Names are those of torch.optim in lower case, and these two for SGD with momentum.
_MOMENTUM: Mapping[str, Mapping[str, Any]] = {
    "sgd-momentum": {"momentum": 0.9},
    "sgd-nesterov": {"momentum": 0.9, "nesterov": True},
}
OPTIMIZERS: Mapping[str, str] = {
    **{name.lower(): name for name in exported_names("optim") if name[0].isupper() and name != "Optimizer"},
    **dict.fromkeys(_MOMENTUM, "SGD"),
}

# With torch's defaults (no line search, 20 iterations a batch, 100 pairs of history) LBFGS diverges when every step
# has another batch; "torch.optim.LBFGS" is the class with these defaults.
_PRESETS: Mapping[str, Mapping[str, Any]] = {
    **_MOMENTUM,
    "lbfgs": {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 10},
}

# How the step is computed: axis value -> arguments of torch. None: torch chooses.
IMPLEMENTATIONS: Mapping[AxisValue, Mapping[str, bool]] = {
    None: {},
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "capturable": {"capturable": True},
}

OPTIONS = ("momentum", "nesterov", "weight_decay")  # axes with the names of torch's arguments

CHOICES: Mapping[str, Collection[AxisValue]] = {
    "optimizer": Names(tuple(OPTIMIZERS)),
    "implementation": tuple(IMPLEMENTATIONS),
    "momentum": Numbers(0, whole=False),
    "nesterov": SWITCH,
    "weight_decay": Numbers(0, whole=False),
    "accumulation_steps": Numbers(1),
    "clip_grad_norm": Numbers(0, whole=False, above=True),
}

# Models with embeddings: only these can have sparse gradients.
EMBEDDED = ("transformer", "embedding-mlp")


def refusal(case: Case) -> str | None:
    """Why this optimizer cannot train this case, with torch's message if there is one; None if it can."""
    name, implementation = case.optimizer, case.get("implementation")
    if case.mode != "train":
        return None
    if OPTIMIZERS.get(name) == "SparseAdam" and case.get("model") not in EMBEDDED:
        return f"{_error_of_dense_gradients()}; model {spell(case.get('model'))} has no embedding"
    if implementation is None and not any(case.get(option) is not None for option in OPTIONS):
        return _closure_refusal(case)
    if implementation == "for-loop" and "foreach" not in _arguments(name):
        return f"{name} has one implementation, which implementation=none measures"
    return _trial_error(name, _keywords(case), case.device) or _closure_refusal(case)


def _closure_refusal(case: Case) -> str | None:
    """Why an optimizer that evaluates its loss several times a step does not fit another axis; None if it does."""
    if not _asks_for_closure(case.optimizer):
        return None
    if (case.get("accumulation_steps") or 1) > 1:
        return f"{case.optimizer} needs a closure over one batch: accumulation_steps has no meaning there"
    if case.get("precision") == "fp16-autocast":
        return f"{case.optimizer} needs a closure, and torch's GradScaler supports none"
    return None


def _asks_for_closure(name: str) -> bool:
    """Whether an optimizer needs a closure; torch is not imported for its own optimizers."""
    if name in OPTIMIZERS:
        return OPTIMIZERS[name] == "LBFGS"
    from ..training import needs_closure  # only if torch is needed

    return needs_closure(class_of(name))


def _keywords(case: Case) -> dict[str, Any]:
    """The arguments of torch for the axes of a case, except the learning rate."""
    given = {option: case.get(option) for option in OPTIONS if case.get(option) is not None}
    return {**_PRESETS.get(case.optimizer, {}), **IMPLEMENTATIONS[case.get("implementation")], **given}


def class_of(name: str) -> type[Optimizer]:
    """The class of this name. Raises UsageError if there is none."""
    from torch import optim  # only if torch is needed

    if name in OPTIMIZERS:
        torch_class: type[Optimizer] = getattr(optim, OPTIMIZERS[name])
        return torch_class
    if not is_dotted(name):
        raise UsageError(f"unknown optimizer {name!r}; there are {', '.join(OPTIMIZERS)}")
    module, _, attribute = name.rpartition(".")
    try:
        named = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as problem:
        raise UsageError(
            f"optimizer {name!r} cannot be imported: {problem}; install its package, or fix the name"
        ) from None
    if not (isinstance(named, type) and issubclass(named, optim.Optimizer)):
        raise UsageError(f"optimizer {name!r} is not a subclass of torch.optim.Optimizer; name one")
    return named


@cache
def _arguments(name: str) -> Collection[str]:
    return tuple(inspect.signature(class_of(name)).parameters)


def _trial_error(name: str, keywords: Mapping[str, Any], device: str) -> str | None:
    """What torch raises when an optimizer with these arguments steps one small matrix; None if it works."""
    unknown = [argument for argument in keywords if argument not in _arguments(name)]
    if unknown:
        return f"torch's {class_of(name).__name__} takes no argument {unknown[0]!r}"
    return _step_error(name, tuple(keywords.items()), device)


@cache
def _step_error(name: str, keywords: tuple[tuple[str, Any], ...], device: str) -> str | None:
    import torch

    def attempt() -> None:
        weight = torch.nn.Embedding(2, 2, sparse=name == "sparseadam").to(device)
        optimizer = class_of(name)(weight.parameters(), **dict(keywords))

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = weight(torch.tensor([0, 1], device=device)).square().sum()
            loss.backward()
            return loss

        closure()
        optimizer.step(closure)  # type: ignore[arg-type]

    return error_of(attempt)


@cache
def _error_of_dense_gradients() -> str:
    import torch

    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    return error_of(torch.optim.SparseAdam([weight]).step) or "SparseAdam is for sparse gradients"


def build(case: Case, model: nn.Module) -> Optimizer:
    """The optimizer of a case for this model, with torch's defaults where the case gives no value.

    Makes the gradients of embeddings sparse for SparseAdam. Raises UsageError for an unknown name, and
    NotImplementedError if the model has no parameters for this optimizer.
    """
    kind, keywords = class_of(case.optimizer), _keywords(case)
    if case["learning_rate"] != "default":
        keywords["lr"] = case.learning_rate
    if (partial := _PARTIAL.get(OPTIMIZERS.get(case.optimizer, ""))) is not None:
        return _with_companion(kind, partial, model, keywords)
    return kind(model.parameters(), **keywords)


def embeddings(model: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """The modules of a model whose gradients may be sparse."""
    from torch import nn

    return [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The parameters for Muon, as its documentation says: those of two dimensions, without embeddings."""
    embedded = {id(module.weight) for module in embeddings(model)}
    return [p for p in model.parameters() if p.ndim == 2 and id(p) not in embedded]


def sparse_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of the embeddings of a model; makes their gradients sparse."""
    sparse = set()
    for module in embeddings(model):
        module.sparse = True
        sparse.add(id(module.weight))
    return [parameter for parameter in model.parameters() if id(parameter) in sparse]


@dataclass(frozen=True)
class _Partial:
    """The parameters that an optimizer handles, with a description, and the optimizer that torch recommends for the
    others.
    """

    parameters: Callable[[nn.Module], list[nn.Parameter]]
    description: str
    companion: str


_PARTIAL: Mapping[str, _Partial] = {
    "Muon": _Partial(hidden_matrices, "matrices in hidden layers", "AdamW"),
    "SparseAdam": _Partial(sparse_weights, "embeddings", "Adam"),
}


def _with_companion(
    kind: type[Optimizer], partial: _Partial, model: nn.Module, keywords: Mapping[str, Any]
) -> Optimizer:
    """The optimizer for its parameters, and its companion for the others, with the same given learning rate."""
    own = partial.parameters(model)
    if not own:
        raise NotImplementedError(f"{kind.__name__} is for {partial.description}; this model has none")
    from torch import optim

    own_ids = {id(parameter) for parameter in own}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in own_ids]
    main = kind(own, **keywords)
    if not rest:
        return main
    from .combined_optimizer import CombinedOptimizer

    companion = getattr(optim, partial.companion)
    return CombinedOptimizer(main, companion(rest, **({"lr": keywords["lr"]} if "lr" in keywords else {})))
