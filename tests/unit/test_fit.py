"""gg.fit: what it measures is what a loop of one's own measures; callbacks do what they say."""

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn, optim, training
from graphgrad.nn import functional as F
from graphgrad.utils.data import DataLoader, TensorDataset


def problem(n=50):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return gg.tensor(x), gg.tensor((x[:, 0] > x[:, 1]).astype(np.int64))


def network():
    gg.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize("compile", [True, False])
def test_it_is_the_loop_that_one_would_write(compile):
    x, y = problem()
    model, other = network(), network()
    history = gg.fit(
        model,
        DataLoader(TensorDataset(x, y), 16),
        F.cross_entropy,
        optim.SGD(model.parameters(), lr=0.3),
        epochs=3,
        metrics="accuracy",
        validation=(x[:20], y[:20]),
        compile=compile,
        progress=False,
    )
    optimizer, expected = optim.SGD(other.parameters(), lr=0.3), []
    for _ in range(3):
        losses = right = 0.0
        for i in range(0, 50, 16):
            optimizer.zero_grad()
            scores = other(x[i : i + 16])
            loss = F.cross_entropy(scores, y[i : i + 16])
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(scores)
            right += (scores.argmax(1) == y[i : i + 16]).sum().item()
        held = F.cross_entropy(other(x[:20]), y[:20]).item()
        expected.append((losses / 50, right / 50, held))
    names = ["loss", "accuracy", "val_loss"]
    np.testing.assert_allclose([history[n] for n in names], np.transpose(expected), rtol=1e-4)
    assert history.epochs == 3 and list(history) == [*names, "val_accuracy"]


def test_short_forms_learn():
    history = gg.fit(
        network(),
        problem(200),
        "cross_entropy",
        "adam",
        epochs=8,
        validation=0.25,
        metrics=["accuracy", F.cross_entropy],
        batch_size=10,
        progress=False,
    )
    assert history["loss"][-1] < 0.95 * history["loss"][0]
    assert history["cross_entropy"] == history["loss"]
    assert len(history["val_accuracy"]) == 8


def test_callbacks_stop_save_schedule_and_draw(tmp_path):
    model, moments = network(), []

    class Log(training.Callback):
        def on_train_begin(self, run):
            moments.append("begin")

        def on_epoch_end(self, run, measured):
            moments.append((run.epoch, run.optimizer.param_groups[0]["lr"]))

        def on_train_end(self, run):
            moments.append("end")

    optimizer = optim.SGD(model.parameters(), lr=1.0)
    history = gg.fit(
        model,
        problem(),
        nn.CrossEntropyLoss,
        optimizer,
        epochs=30,
        progress=False,
        callbacks=[
            Log(),
            training.Schedule(optim.lr_scheduler.ExponentialLR(optimizer, 0.1)),
            training.EarlyStopping(patience=2, min_delta=0.01, restore_best=True),
            training.Checkpoint(tmp_path / "{epoch}.pt", best_only=False),
            training.LossPlot(tmp_path / "loss.svg"),
        ],
    )
    assert 3 <= history.epochs < 30
    assert moments[0] == "begin" and moments[-1] == "end"
    assert [m[0] for m in moments[1:-1]] == list(range(1, history.epochs + 1))
    assert moments[2][1] == pytest.approx(0.1)
    saved = gg.load(tmp_path / f"{history.epochs}.pt")
    assert saved["epoch"] == history.epochs and saved["history"] == dict(history)
    network().load_state_dict(saved["model"])
    picture = (tmp_path / "loss.svg").read_text()
    assert picture.startswith("<svg") and "polyline" in picture and picture == history.svg()


def test_the_best_weights_come_back():
    model = network()
    stopping = training.EarlyStopping("loss", patience=1, restore_best=True)
    optimizer = optim.SGD(model.parameters(), lr=0.5)

    class Spoil(training.Callback):
        def on_epoch_end(self, run, measured):
            self.kept = {k: v.clone() for k, v in run.model.state_dict().items()}
            measured["loss"] = float(run.epoch)

    spoil = Spoil()
    first = {}

    class Keep(training.Callback):
        def on_epoch_end(self, run, measured):
            first.setdefault("kept", spoil.kept)

    history = gg.fit(
        model,
        problem(),
        "cross_entropy",
        optimizer,
        epochs=9,
        progress=False,
        callbacks=[spoil, Keep(), stopping],
    )
    assert history.epochs == 2
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), first["kept"][name].numpy())


def test_a_bar_is_drawn_if_asked(capsys):
    gg.fit(network(), problem(), "cross_entropy", epochs=1, progress=True)
    assert "epoch 1/1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"loss": "nothing"}, ValueError, "no loss 'nothing'"),
        ({"optimizer": "nothing"}, ValueError, "no optimizer 'nothing'"),
        ({"optimizer": optim.LBFGS}, NotImplementedError, "LBFGS evaluates its closure"),
        ({"metrics": "beauty"}, ValueError, "no metric 'beauty'"),
        ({"validation": 1.5}, ValueError, "means a share between 0 and 1"),
        ({"data": []}, ValueError, "not one batch came"),
        (
            {"callbacks": [training.EarlyStopping("val_loss")]},
            ValueError,
            "'val_loss' was not measured; there are loss",
        ),
    ],
)
def test_mistakes_are_named(options, kind, text):
    with pytest.raises(kind, match=text):
        gg.fit(
            **{
                "model": network(),
                "data": problem(),
                "loss": "cross_entropy",
                "progress": False,
            }
            | options
        )
