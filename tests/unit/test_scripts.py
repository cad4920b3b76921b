"""PyTorch scripts whose torch is graphgrad: the shipped programs, and what scripts ask and set."""

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.alias import imported_as

EXAMPLES = pathlib.Path(gg.__file__).parent / "examples"
SETTINGS = {
    "digits": "--epochs 2 --samples 192 --batch-size 32 --dropout 0 --lr 0.05",
    "recurrent": "--epochs 2 --lines 60 --width 16 --rows 8 --length 16 --dropout 0",
    "small_gpt": "--steps 14 --width 16 --heads 2 --length 4 --batch-size 16 --warmup 4",
}


def losses(name, *more):
    """A program's losses, begun from the same numbers whatever the engine."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", EXAMPLES / f"{name}.py")
    script = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    torch = script.torch
    rng = np.random.default_rng(0)

    def prepare(model):
        with torch.no_grad():
            for p in model.parameters():
                values = rng.normal(scale=0.2, size=tuple(p.shape)).astype(np.float32)
                p.copy_(torch.tensor(values))

    return script.main([*SETTINGS[name].split(), *more], prepare)


@pytest.mark.parametrize("name", SETTINGS)
def test_programs_lose_the_same_under_both_engines(name, capsys):
    with imported_as("torch"):
        eager, compiled = losses(name), losses(name, "--compile")
    assert eager[-2] < eager[0]
    np.testing.assert_allclose(eager, compiled, rtol=2e-3)
    pytest.importorskip("torch")
    np.testing.assert_allclose(eager, losses(name), rtol=2e-3)


SCRIPT = """
import sys
import torch, torch.nn as nn, torch.nn.functional as F
import torch.backends.cudnn as cudnn
import torch.optim.lr_scheduler as lr_scheduler
from torch import Tensor, autocast, nn as same, optim
from torch.amp import GradScaler
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.cuda.amp import autocast as old
from torch.func import functional_call, grad, vmap
from torch.nn.parameter import Parameter
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

cudnn.benchmark, cudnn.deterministic = True, False
torch.backends.cuda.matmul.allow_tf32 = True
torch.set_float32_matmul_precision("high")
torch.use_deterministic_algorithms(True)
torch.set_num_threads(torch.get_num_threads())
assert not torch.cuda.is_available() and not torch.backends.mps.is_available()
assert not torch.accelerator.is_available()
assert not (torch.xpu.is_available() or torch.mps.is_available()) and torch.cpu.is_available()
assert not torch.distributed.is_available() and torch.version.cuda is None
torch.set_num_interop_threads(1)
torch.testing.assert_close(torch.ones(2) + 1e-7, torch.ones(2))
device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
torch.manual_seed(0)
torch.cuda.manual_seed_all(0)
model = nn.Linear(3, 1).to(device)
assert isinstance(model.weight, Parameter) and nn is same and nn.functional is F
optimizer = optim.Adam(model.parameters())
scaler = torch.amp.GradScaler("cuda", enabled=False)
x = torch.ones(4, 3, device=device)
with torch.autocast(device_type="cpu", dtype=torch.float16), old():
    loss = model(x).square().mean()
scaler.scale(loss).backward()
scaler.step(optimizer)
scaler.update()
for (batch,) in DataLoader(TensorDataset(x), batch_size=2, pin_memory=True):
    assert isinstance(batch, Tensor) and batch.shape == torch.Size([2, 3])
model = torch.compile(model, mode="max-autotune", fullgraph=True, dynamic=False, backend="inductor")
with torch.inference_mode():
    print(torch.__name__, tuple(model(x).shape), sys.argv[1:], torch.__version__)
"""


def test_a_script_runs_unmodified(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "graphgrad.cli", "run", "train.py", "--epochs", "3"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[0] == (f"graphgrad (4, 1) ['--epochs', '3'] {gg.__version__}"), (
        run.stderr
    )


def test_the_other_name_means_the_same_modules_and_is_given_back():
    before = sys.modules.get("gorch")
    with imported_as("gorch"):
        import gorch
        import gorch.optim.lr_scheduler as schedules
        from gorch.utils.data import DataLoader

        assert gorch is gg and schedules is gg.optim.lr_scheduler
        assert DataLoader is gg.utils.data.DataLoader
        assert gg.__spec__.name == "graphgrad" and gg.__name__ == "graphgrad"
    assert sys.modules.get("gorch") is before
    with pytest.raises(ImportError):
        import gorch.nn


# -------------------------------------------------------------------------------- mixed precision


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_scaling_gradients_is_torchs():
    torch = pytest.importorskip("torch")
    rows = []
    for library in (gg, torch):
        p = library.ones(2, requires_grad=True)
        optimizer = library.optim.SGD([p], lr=0.1)
        scaler = library.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        row = []
        for i in range(7):
            optimizer.zero_grad()
            loss = (p * p).sum() * (float("inf") if i == 3 else 1.0)
            scaler.scale(loss).backward()
            if i % 2:
                scaler.unscale_(optimizer)
                library.nn.utils.clip_grad_norm_([p], 0.5)
            scaler.step(optimizer)
            scaler.update()
            row += [*p.tolist(), scaler.get_scale()]
        state = scaler.state_dict()
        row += [state["_growth_tracker"], state["growth_factor"]]
        scaler.load_state_dict(state | {"scale": 4.0})
        rows.append([*row, scaler.get_scale()])
    np.testing.assert_allclose(*rows, rtol=1e-6)


def test_a_scaler_for_a_gpu_says_that_it_does_nothing():
    with pytest.warns(UserWarning, match="cuda is not available"):
        scaler = gg.amp.GradScaler()
    x = gg.ones(1)
    assert scaler.scale(x) is x and not scaler.is_enabled() and scaler.get_scale() == 1.0
    with pytest.raises(RuntimeError, match="unsupported autocast device_type"):
        gg.autocast("toaster")


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
@pytest.mark.parametrize("gap", [0, 1e-8, 1e-6, 1e-5, 1e-3, 1])
def test_closeness_is_torchs(dtype, gap):
    torch = pytest.importorskip("torch")
    verdicts = []
    for library in (gg, torch):
        kind = getattr(library, dtype)
        a = library.tensor([1.0, 2.0], dtype=library.float64)
        pair = ({"x": [(a + gap).to(kind)]}, {"x": [a.to(kind)]})
        try:
            library.testing.assert_close(*pair)
        except AssertionError as error:
            verdicts.append(str(error).split("\n")[0].split("!")[0].split("[")[0])
        else:
            verdicts.append("")
    assert verdicts[0] == verdicts[1]


def test_what_is_not_close_is_told():
    close = gg.testing.assert_close
    close((1, [gg.ones(2)]), (1, [gg.ones(2)]))
    close(gg.tensor([np.nan]), gg.tensor([np.nan]), equal_nan=True)
    mistakes = (
        (lambda: close(gg.tensor([np.nan]), gg.tensor([np.nan])), "Mismatched elements: 1 / 1"),
        (lambda: close(gg.ones(2), gg.ones(3)), "attribute 'shape' do not match"),
        (lambda: close(gg.ones(2), gg.ones(2).double()), "attribute 'dtype' do not match"),
        (lambda: close([1], [1, 2]), "length of the sequences"),
        (lambda: close({"a": 1}, {"b": 1}), "keys of the mappings"),
        (lambda: close(1.0, 2.0, msg=lambda told: f"my {told}"), "my Scalars are not close"),
    )
    for mistake, text in mistakes:
        with pytest.raises(AssertionError, match=text):
            mistake()
    with pytest.raises(ValueError, match="must both be specified"):
        close(1, 1, rtol=1.0)
    with pytest.raises(AttributeError, match="trains in one process"):
        gg.distributed.init_process_group("gloo")
