"""Optimizers by name: every one of the installed torch.optim, and those of other packages by dotted name.

Where an optimizer takes only some of a model's parameters (Muon: matrices; SparseAdam: what has sparse
gradients), a companion steps the rest.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..suite.case import AxisValue, Case, spell
from .choices import SWITCH, Names, Numbers, is_dotted
from .exports import exported
from .trials import objection

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

# Names are those of torch.optim in small letters; these two besides, since they are what people mean by momentum.
_MOMENTUM: Mapping[str, Mapping[str, Any]] = {
    "sgd-momentum": {"momentum": 0.9},
    "sgd-nesterov": {"momentum": 0.9, "nesterov": True},
}
OPTIMIZERS: Mapping[str, str] = {
    **{name.lower(): name for name in exported("optim") if name[0].isupper() and name != "Optimizer"},
    **dict.fromkeys(_MOMENTUM, "SGD"),
}

# With torch's defaults (no line search, 20 iterations a batch, 100 pairs of history) LBFGS diverges where every step
# sees another batch; "torch.optim.LBFGS" is the class with these.
_PRESETS: Mapping[str, Mapping[str, Any]] = {
    **_MOMENTUM,
    "lbfgs": {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 10},
}

# How it is computed: an axis value, and the arguments of torch that ask for it. None: torch chooses.
IMPLEMENTATIONS: Mapping[AxisValue, Mapping[str, bool]] = {
    None: {},
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "capturable": {"capturable": True},
}

OPTIONS = ("momentum", "nesterov", "weight_decay")  # axes that are arguments of torch's own names

CHOICES: Mapping[str, Collection[AxisValue]] = {
    "optimizer": Names(tuple(OPTIMIZERS)),
    "implementation": tuple(IMPLEMENTATIONS),
    "momentum": Numbers(0, whole=False),
    "nesterov": SWITCH,
    "weight_decay": Numbers(0, whole=False),
    "accumulation_steps": Numbers(1),
    "clip_grad_norm": Numbers(0, whole=False, above=True),
}

# Embeddings can have sparse gradients, and what is no hidden layer is not for Muon, as its documentation says.
EMBEDDED = ("transformer", "embedding-mlp")

# For what they do not take, as torch's own text advises.
_COMPANIONS = {"Muon": "AdamW", "SparseAdam": "Adam"}


def refusal(case: Case) -> str | None:
    """Why this optimizer cannot train this case, in torch's words where it has some; None where it can."""
    name, implementation = case.optimizer, case.get("implementation")
    if case.mode != "train":
        return None
    if OPTIMIZERS.get(name) == "SparseAdam" and case.get("model") not in EMBEDDED:
        return f"{_torch_says_of_dense_gradients()}; model {spell(case.get('model'))} has no embedding"
    if implementation is None and not any(case.get(option) is not None for option in OPTIONS):
        return _refused_closure(case)
    if implementation == "for-loop" and "foreach" not in _arguments(name):
        return f"{name} has one implementation, which implementation=none measures"
    return _tried(name, _keywords(case), case.device) or _refused_closure(case)


def _refused_closure(case: Case) -> str | None:
    """Why an optimizer that evaluates its loss again and again does not go with another axis."""
    if not _asks_for_closure(case.optimizer):
        return None
    if (case.get("accumulation_steps") or 1) > 1:
        return f"{case.optimizer} needs a closure over one batch: accumulation_steps has no meaning there"
    if case.get("precision") == "fp16-autocast":
        return f"{case.optimizer} needs a closure, and torch's GradScaler supports none"
    return None


def _asks_for_closure(name: str) -> bool:
    """Whether an optimizer needs a closure; of torch's own it is known without a look, and without torch."""
    if name in OPTIMIZERS:
        return OPTIMIZERS[name] == "LBFGS"
    from ..training import needs_closure  # torch: only where the answer needs it

    return needs_closure(class_of(name))


def _keywords(case: Case) -> dict[str, Any]:
    """The arguments of torch that the axes of a case ask for, beside the learning rate."""
    given = {option: case.get(option) for option in OPTIONS if case.get(option) is not None}
    return {**_PRESETS.get(case.optimizer, {}), **IMPLEMENTATIONS[case.get("implementation")], **given}


def class_of(name: str) -> type[Optimizer]:
    """The class of this name. Raises UsageError where another package has none."""
    from torch import optim  # torch: only where the answer needs it

    if name in OPTIMIZERS:
        found: type[Optimizer] = getattr(optim, OPTIMIZERS[name])
        return found
    if not is_dotted(name):
        raise UsageError(f"unknown optimizer {name!r}; there are {', '.join(OPTIMIZERS)}")
    module, _, attribute = name.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as problem:
        raise UsageError(
            f"optimizer {name!r} cannot be imported: {problem}; install its package, or mend the name"
        ) from None
    if not (isinstance(made, type) and issubclass(made, optim.Optimizer)):
        raise UsageError(f"optimizer {name!r} is no subclass of torch.optim.Optimizer; name one")
    return made


@cache
def _arguments(name: str) -> Collection[str]:
    return tuple(inspect.signature(class_of(name)).parameters)


def _tried(name: str, keywords: Mapping[str, Any], device: str) -> str | None:
    """What torch says when an optimizer with these arguments steps one small matrix; None where it does."""
    unknown = [argument for argument in keywords if argument not in _arguments(name)]
    if unknown:
        return f"torch's {class_of(name).__name__} takes no argument {unknown[0]!r}"
    return _step_of_one(name, tuple(keywords.items()), device)


@cache
def _step_of_one(name: str, keywords: tuple[tuple[str, Any], ...], device: str) -> str | None:
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

    return objection(attempt)


@cache
def _torch_says_of_dense_gradients() -> str:
    import torch

    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    return objection(torch.optim.SparseAdam([weight]).step) or "SparseAdam is for sparse gradients"


def build(case: Case, model: nn.Module) -> Optimizer:
    """The optimizer of a case for this model, with torch's own defaults where the case says nothing.

    Makes the gradients of embeddings sparse for SparseAdam. Raises UsageError for a name that is none, and
    NotImplementedError where the model has nothing that this optimizer takes.
    """
    kind, keywords = class_of(case.optimizer), _keywords(case)
    if case["learning_rate"] != "default":
        keywords["lr"] = case.learning_rate
    match OPTIMIZERS.get(case.optimizer):
        case "Muon":
            return _with_companion(kind, hidden_matrices(model), model, keywords)
        case "SparseAdam":
            return _with_companion(kind, sparse_weights(model), model, keywords)
    return kind(model.parameters(), **keywords)


def embeddings(model: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """The modules of a model whose gradients may be sparse."""
    from torch import nn

    return [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """What Muon is for: parameters of two dimensions, those of embeddings apart."""
    embedded = {id(module.weight) for module in embeddings(model)}
    return [p for p in model.parameters() if p.ndim == 2 and id(p) not in embedded]


def sparse_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of the embeddings of a model, whose gradients it makes sparse."""
    found = embeddings(model)
    for module in found:
        module.sparse = True
    taken = {id(module.weight) for module in found}
    return [parameter for parameter in model.parameters() if id(parameter) in taken]


def _with_companion(
    kind: type[Optimizer], own: list[nn.Parameter], model: nn.Module, keywords: Mapping[str, Any]
) -> Optimizer:
    """The optimizer on what it takes, and its companion, with the same learning rate if one is given, on the rest."""
    if not own:
        what = "matrices in hidden layers" if kind.__name__ == "Muon" else "embeddings"
        raise NotImplementedError(f"{kind.__name__} is for {what}; this model has none")
    from torch import optim

    taken = {id(parameter) for parameter in own}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    main = kind(own, **keywords)
    if not rest:
        return main
    from .together import Together

    companion = getattr(optim, _COMPANIONS[kind.__name__])
    return Together(main, companion(rest, **({"lr": keywords["lr"]} if "lr" in keywords else {})))
