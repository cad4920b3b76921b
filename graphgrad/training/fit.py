"""The training loop: one compiled step a batch, validation, callbacks, a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

import graphgrad as gg
from graphgrad import nn, optim
from graphgrad.nn import functional as F
from graphgrad.training.callbacks import Callback
from graphgrad.training.history import History
from graphgrad.tree import flatten, unflatten
from graphgrad.utils.data import DataLoader, TensorDataset, random_split

Measure = Callable[[Any, Any], Any]


def accuracy(outputs: Any, targets: Any) -> Any:
    """The share of rows whose largest output is at the target's place."""
    return (outputs.argmax(-1) == targets).float().mean()


def fit(
    model: Any,
    data: Any,
    loss: Any,
    optimizer: Any = "Adam",
    epochs: int = 1,
    metrics: Any = (),
    validation: Any = None,
    callbacks: Sequence[Callback] = (),
    batch_size: int = 32,
    shuffle: bool = True,
    compile: bool = True,
    progress: bool | None = None,
) -> History:
    """Train ``model`` and return what was measured, epoch by epoch.

    data: a pair of tensors (inputs, targets), a Dataset, or anything that yields such pairs batch
    by batch, a DataLoader say; moved to where the model is. validation: the same, or the share of
    ``data`` to keep for it.
    loss: a function (outputs, targets) → scalar, a loss module, or a name of nn.functional.
    optimizer: an Optimizer, a class, or a class's name; its learning rate is the class's own.
    metrics: "accuracy", functions (outputs, targets) → scalar, or a dictionary of them by name.
    compile: forward, backward and update as one program. progress: False for no bar; None shows
    one on a terminal.
    """
    if isinstance(validation, float):
        data, validation = _split(data, validation)
    run = Run(
        model,
        _optimizer(optimizer, model),
        _loss(loss),
        _metrics(metrics),
        list(callbacks),
        compile,
    )
    train = _batches(data, batch_size, shuffle)
    test = None if validation is None else _batches(validation, batch_size, False)
    return run.go(train, test, epochs, progress)


class Run:
    """A training in progress: what callbacks look at, and may stop with ``stopped = True``."""

    def __init__(
        self,
        model: Any,
        optimizer: optim.Optimizer,
        loss: Measure,
        metrics: dict[str, Measure],
        callbacks: list[Callback],
        compile: bool = True,
    ) -> None:
        self.model, self.optimizer, self.loss, self.metrics = model, optimizer, loss, metrics
        self.callbacks, self.history = callbacks, History()
        self.epoch, self.stopped = 0, False
        self.place = next((p.device for p in model.parameters()), None)
        wrap: Any = gg.compile if compile else lambda function: function
        self._step, self._test = wrap(self._trained), wrap(self._tested)

    def go(self, train: Any, test: Any, epochs: int, progress: bool | None = None) -> History:
        """All epochs over ``train``, each followed by one over ``test`` if there is one."""
        was_training = self.model.training
        self._tell("on_train_begin")
        for self.epoch in range(1, epochs + 1):
            self._tell("on_epoch_begin")
            self.model.train()
            measured = self._train(train, f"epoch {self.epoch}/{epochs}", progress)
            if test is not None:
                measured |= {f"val_{name}": value for name, value in self._validate(test).items()}
            self.history.add(measured)
            self._tell("on_epoch_end", measured)
            if self.stopped:
                break
        self._tell("on_train_end")
        self.model.train(was_training)
        return self.history

    def state_dict(self) -> dict[str, Any]:
        """What ``gg.save`` keeps: states of model and optimizer, epoch and history."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "history": dict(self.history),
        }

    def _tell(self, moment: str, *details: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self, *details)

    # ------------------------------------------------------------------------------------ a pass

    def _train(self, batches: Iterable[Any], name: str, progress: bool | None) -> dict[str, float]:
        means = _Means(["loss", *self.metrics])
        disable = None if progress is None else not progress
        with tqdm(batches, name, leave=True, disable=disable) as bar:
            for batch in bar:
                x, y = self._brought(batch)
                values = [float(v) for v in self._step(x, y)]
                means.add(values, len(y))
                self._tell("on_batch_end", values[0])
                bar.set_postfix(means.now(), refresh=False)
        return means.now()

    def _validate(self, batches: Iterable[Any]) -> dict[str, float]:
        means = _Means(["loss", *self.metrics])
        self.model.eval()
        with gg.no_grad():
            for batch in batches:
                x, y = self._brought(batch)
                means.add([float(v) for v in self._test(x, y)], len(y))
        return means.now()

    def _brought(self, batch: Any) -> Any:
        """A batch where the model is."""
        leaves, shape = flatten(batch)
        return unflatten(
            shape, [x.to(self.place) if isinstance(x, gg.Tensor) else x for x in leaves]
        )

    def _trained(self, x: Any, y: Any) -> list[Any]:
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss(outputs, y)
        loss.backward()
        self.optimizer.step()
        return [loss.detach(), *self._measured(outputs.detach(), y)]

    def _tested(self, x: Any, y: Any) -> list[Any]:
        outputs = self.model(x)
        return [self.loss(outputs, y), *self._measured(outputs, y)]

    def _measured(self, outputs: Any, y: Any) -> list[Any]:
        return [metric(outputs, y) for metric in self.metrics.values()]


class _Means:
    """Means of several measures over samples."""

    def __init__(self, names: list[str]) -> None:
        self.totals, self.count = dict.fromkeys(names, 0.0), 0

    def add(self, values: list[float], count: int) -> None:
        for name, value in zip(self.totals, values, strict=True):
            self.totals[name] += value * count
        self.count += count

    def now(self) -> dict[str, float]:
        if not self.count:
            raise ValueError("there is no data: not one batch came")
        return {name: total / self.count for name, total in self.totals.items()}


# --------------------------------------------------------------------------------- what users give


def _dataset(data: Any) -> Any:
    """A pair of tensors as a data set; anything else as it is."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], gg.Tensor):
        return TensorDataset(*data)
    return data


def _batches(data: Any, batch_size: int, shuffle: bool) -> Any:
    data = _dataset(data)
    if hasattr(data, "__getitem__") and not isinstance(data, (list, tuple)):
        return DataLoader(data, batch_size=batch_size, shuffle=shuffle)
    return data


def _split(data: Any, share: float) -> Any:
    data = _dataset(data)
    if not 0 < share < 1 or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise ValueError(
            f"validation={share} means a share between 0 and 1 of a data set; give the validation "
            "data themselves instead"
        )
    return random_split(data, [1 - share, share])


def _optimizer(given: Any, model: Any) -> optim.Optimizer:
    if isinstance(given, str):
        classes = {name.lower(): name for name in optim.__all__ if name[0].isupper()}
        if given.lower() not in classes:
            raise ValueError(f"there is no optimizer {given!r} in graphgrad.optim")
        given = getattr(optim, classes[given.lower()])
    made = given if isinstance(given, optim.Optimizer) else given(model.parameters())
    if isinstance(made, optim.LBFGS):
        raise NotImplementedError(
            "fit makes one step a batch; LBFGS evaluates its closure many times a step: call "
            "optimizer.step(closure) in a loop of your own"
        )
    return made


def _loss(given: Any) -> Measure:
    if not isinstance(given, str):
        return given() if isinstance(given, type) and issubclass(given, nn.Module) else given
    for name in (given, f"{given}_loss"):
        if hasattr(F, name):
            return getattr(F, name)
    raise ValueError(f"there is no loss {given!r} in graphgrad.nn.functional")


def _metrics(given: Any) -> dict[str, Measure]:
    if isinstance(given, Mapping):
        return dict(given)
    one = isinstance(given, str) or callable(given)
    found = {}
    for metric in (given,) if one else given:
        if isinstance(metric, str) and metric != "accuracy":
            raise ValueError(f"there is no metric {metric!r}; give a function of outputs, targets")
        function = accuracy if isinstance(metric, str) else metric
        found[getattr(function, "__name__", type(function).__name__)] = function
    return found
