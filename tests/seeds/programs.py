"""The tutorials' programs, written against ``torch``: a module that is PyTorch or graphgrad.

Each function takes the engine and returns plain NumPy values and texts, so that two engines can be
compared. Random initial values are drawn by NumPy and copied in.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np


def array(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def copy_parameters(torch, module, seed):
    """Give a module the same parameters under every engine; returns it."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = 1 / math.sqrt(max(parameter.numel() // parameter.shape[0], 1))
            values = rng.uniform(-scale, scale, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))
    return module


def parameters(module):
    return {name: p.detach().numpy().copy() for name, p in module.named_parameters()}


def gradients(module):
    return {name: p.grad.numpy().copy() for name, p in module.named_parameters()}


# -------------------------------------------------------------------- the recipe of a training loop


def recipe(torch, steps=4):
    nn, F, optim = torch.nn, torch.nn.functional, torch.optim

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 6, 5)
            self.conv2 = nn.Conv2d(6, 16, 5)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            return F.max_pool2d(F.relu(self.conv2(x)), 2)

    class OwnLoss(nn.Module):
        def __init__(self):
            super().__init__()

        def forward(self, target, output):
            return ((target - output) ** 2).mean()

    rng = np.random.default_rng(0)
    x = torch.tensor(array(rng, 2, 1, 28, 28))
    target = torch.tensor(array(rng, 2, 16, 4, 4))
    losses = []
    for compute_loss in (nn.MSELoss(), OwnLoss()):
        net = copy_parameters(torch, Net(), seed=1)
        optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
        for _ in range(steps):
            optimizer.zero_grad()
            output = net(x)
            loss = compute_loss(target, output)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return {"losses": losses, "repr": repr(net), **parameters(net)}


# --------------------------------------------------------------------------- sin(x) as a polynomial


def polynomial(torch, visdom, epochs=80_000, every=100):
    tc = torch
    vis = visdom.Visdom()
    line = vis.line([None])
    pi = tc.deg2rad(tc.tensor(180.0))
    x = tc.linspace(-pi, pi, 2000)
    y = tc.sin(x)
    start = np.random.default_rng(3).standard_normal(6).astype(np.float32) * 0.3
    a, b, c, d, e, f = (tc.tensor(start[i : i + 1], requires_grad=True) for i in range(6))
    learning_rate = 0.55 * 1e-7
    losses = []
    for t in range(epochs):
        y_pred = a + b * x + c * x**2 + d * x**3 + e * x**4 + f * x**5
        loss = (y_pred - y).pow(2).sum()
        if t % every == every - 1:
            losses.append(loss.item())
            vis.line([loss.item()], [t], win=line, update="append")
        loss.backward()
        with tc.no_grad():
            a -= learning_rate * a.grad
            b -= learning_rate * b.grad
            c -= learning_rate * c.grad
            d -= learning_rate * d.grad
            e -= learning_rate * e.grad
            f -= learning_rate * f.grad
            a.grad = None
            b.grad = None
            c.grad = None
            d.grad = None
            e.grad = None
            f.grad = None
    text = f"y = {a.item():.3f} + {b.item():.3f} x + {c.item():.3f} x^2 + {d.item():.3f} x^3"
    py = tc.stack([y, y_pred], 0).T
    vis.line(py, x)
    coefficients = [v.item() for v in (a, b, c, d, e, f)]
    return {"losses": losses, "coefficients": coefficients, "shape": repr(py.shape), "text": text}


# ------------------------------------------------------------------------- four ways to write LeNet


def lenet_of_imported_names(torch):
    Module, Conv2d, ReLU, MaxPool2d, Linear = (
        getattr(torch.nn, name) for name in ("Module", "Conv2d", "ReLU", "MaxPool2d", "Linear")
    )

    class LeNet5(Module):
        def __init__(self, num_classes=10):
            super(LeNet5, self).__init__()  # noqa: UP008
            self.conv1 = Conv2d(in_channels=1, out_channels=6, kernel_size=5, stride=1, padding=2)
            self.conv2 = Conv2d(6, 16, 5)
            self.linear1 = Linear(in_features=16 * 5 * 5, out_features=120)
            self.linear2 = Linear(120, 84)
            self.linear3 = Linear(84, num_classes)
            self.relu = ReLU()
            self.maxpool = MaxPool2d(kernel_size=2)

        def forward(self, x):
            x = self.maxpool(self.relu(self.conv1(x)))
            x = self.maxpool(self.relu(self.conv2(x)))
            x = torch.flatten(x, 1)
            x = self.relu(self.linear1(x))
            x = self.relu(self.linear2(x))
            return self.linear3(x)

    return LeNet5()


def lenet_of_functions(torch):
    nn, F = torch.nn, torch.nn.functional

    class LeNet(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 6, 5)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(16 * 5 * 5, 120)
            self.fc2 = nn.Linear(120, 84)
            self.fc3 = nn.Linear(84, classes)

        def forward(self, x):
            out = F.max_pool2d(F.relu(self.conv1(x)), 2)
            out = F.max_pool2d(F.relu(self.conv2(out)), 2)
            out = out.view(out.size(0), -1)
            out = F.relu(self.fc1(out))
            out = F.relu(self.fc2(out))
            return self.fc3(out)

    return LeNet(10)


def lenets_of_containers(torch):
    nn = torch.nn

    class LeNetSequential(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 6, 5),
                nn.ReLU(),
                nn.MaxPool2d(kernel_size=2, stride=2),
                nn.Conv2d(6, 16, 5),
                nn.ReLU(),
                nn.MaxPool2d(kernel_size=2, stride=2),
            )
            self.classifier = nn.Sequential(
                nn.Linear(16 * 5 * 5, 120),
                nn.ReLU(),
                nn.Linear(120, 84),
                nn.ReLU(),
                nn.Linear(84, classes),
            )

        def forward(self, x):
            x = self.features(x)
            return self.classifier(x.view(x.size()[0], -1))

    class LeNetOrdered(LeNetSequential):
        def __init__(self, classes):
            super().__init__(classes)
            self.features = nn.Sequential(
                OrderedDict(
                    {
                        "conv1": nn.Conv2d(3, 6, 5),
                        "relu1": nn.ReLU(inplace=True),
                        "pool1": nn.MaxPool2d(kernel_size=2, stride=2),
                        "conv2": nn.Conv2d(6, 16, 5),
                        "relu2": nn.ReLU(inplace=True),
                        "pool2": nn.MaxPool2d(kernel_size=2, stride=2),
                    }
                )
            )
            self.classifier = nn.Sequential(
                OrderedDict(
                    {
                        "fc1": nn.Linear(16 * 5 * 5, 120),
                        "relu3": nn.ReLU(),
                        "fc2": nn.Linear(120, 84),
                        "relu4": nn.ReLU(inplace=True),
                        "fc3": nn.Linear(84, classes),
                    }
                )
            )

    return LeNetSequential(10), LeNetOrdered(10)


def lenets(torch):
    rng = np.random.default_rng(4)
    grey, colour = array(rng, 2, 1, 28, 28), array(rng, 2, 3, 32, 32)
    labels = torch.tensor([3, 7])
    out = {}
    for model, images in (
        (lenet_of_imported_names(torch), grey),
        (lenet_of_functions(torch), colour),
        *((model, colour) for model in lenets_of_containers(torch)),
    ):
        name = type(model).__name__
        copy_parameters(torch, model, seed=5)
        logits = model(torch.tensor(images))
        torch.nn.CrossEntropyLoss()(logits, labels).backward()
        out[f"{name} repr"] = repr(model)
        out[f"{name} logits"] = logits.detach().numpy()
        out |= {f"{name} {k}": v for k, v in gradients(model).items()}
    return out


def snippets(torch):
    """The one-layer examples of the same document."""
    nn = torch.nn
    rng = np.random.default_rng(6)
    out = {}
    linear = copy_parameters(torch, nn.Linear(784, 10), 7)
    out["linear"] = repr(linear(torch.tensor(array(rng, 4, 784))).shape)
    out["sigmoid"] = repr(nn.Sigmoid()(torch.Tensor([1, 1, 2, 2])))
    x = torch.tensor(array(rng, 2, 2))
    out["relu"] = repr(nn.ReLU(inplace=True)(x)) + repr(x)
    out["tanh"] = repr(nn.Tanh()(torch.tensor(array(rng, 2))))
    out["softplus"] = nn.Softplus()(torch.tensor(array(rng, 5))).numpy()
    out["softmax"] = repr(nn.Softmax(dim=1)(torch.tensor(array(rng, 1, 4))))
    logits = torch.tensor(array(rng, 3, 5), requires_grad=True)
    target = torch.empty(3, dtype=torch.long).random_(5)
    out["random_"] = bool((target >= 0).all() and (target < 5).all()) and repr(target.dtype)
    loss = nn.CrossEntropyLoss()(logits, torch.tensor([1, 0, 4]))
    loss.backward()
    out["cross entropy"], out["its gradient"] = loss.item(), logits.grad.numpy()
    log_p = torch.log_softmax(logits.detach(), 1)
    out["nll"] = nn.NLLLoss(ignore_index=0)(log_p, torch.tensor([1, 0, 4])).item()
    p, hot = torch.sigmoid(logits.detach()), (logits.detach() > 0).float()
    out["bce"] = nn.BCELoss()(p, hot).item()
    drop = nn.Dropout(0.5)
    kept = drop(torch.ones(1, 1000)).numpy()
    out["dropout"] = sorted(set(kept.ravel().tolist()))
    drop.eval()
    out["dropout eval"] = drop(torch.ones(1, 20)).numpy()
    bn = nn.BatchNorm2d(64)
    images = torch.tensor(array(rng, 4, 64, 28, 28))
    out["batch norm"] = bn(images).detach().numpy()
    out["running mean"], out["running var"] = bn.running_mean.numpy(), bn.running_var.numpy()
    bn.eval()
    out["batch norm eval"] = bn(images).detach().numpy()
    lstm = copy_parameters(torch, nn.LSTM(5, 7, num_layers=2, batch_first=False), 8)
    y, (h, c) = lstm(torch.tensor(array(rng, 6, 3, 5)))
    out["lstm"], out["lstm h"], out["lstm c"] = (v.detach().numpy() for v in (y, h, c))
    return out


# ---------------------------------------------------------------------------- Variable and backward


def variables(torch):
    Variable = torch.autograd.Variable
    x = Variable(torch.ones(2, 2), requires_grad=True)
    y = x + 2
    z = y * y * 3
    out = z.mean()
    out.backward()
    result = {"x.grad": x.grad.numpy(), "x.data": x.data.numpy(), "out": repr(out.detach())}
    result["y.grad_fn"] = y.grad_fn.name()
    result["leaf grad_fn"] = repr(x.grad_fn)
    x = torch.tensor(array(np.random.default_rng(9), 3), requires_grad=True)
    y = x * 2
    while y.data.norm() < 1000:
        y = y * 2
    y.backward(torch.tensor([0.1, 1.0, 0.0001]))
    result["vector"] = x.grad.numpy()
    a = torch.ones(5)
    b = a.numpy()
    a.add_(1)
    result["shared"] = b
    c = np.ones(5)
    d = torch.from_numpy(c)
    np.add(c, 1, out=c)
    result["from numpy"] = repr(d)
    result["sizes"] = repr(torch.rand(5, 3).size())
    result["cuda"] = torch.cuda.is_available()
    result["added"] = repr(torch.add(torch.ones(5, 3), torch.ones(5, 3))[:, 1])
    return result


# ----------------------------------------------------------------------------- a layer of one's own


def own_layer(torch, steps=10):
    class MyLayer(torch.nn.Module):
        def __init__(self, in_features, out_features, bias=True):
            super(MyLayer, self).__init__()  # noqa: UP008
            self.in_features = in_features
            self.out_features = out_features
            self.weight = torch.nn.Parameter(torch.Tensor(in_features, out_features))
            if bias:
                self.bias = torch.nn.Parameter(torch.Tensor(in_features))
            else:
                self.register_parameter("bias", None)

        def forward(self, input):
            input_ = torch.pow(input, 2) + self.bias
            return torch.matmul(torch.sqrt(input_), self.weight)

    class MyNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mylayer1 = MyLayer(5, 3)

        def forward(self, x):
            return self.mylayer1(x)

    model = MyNet()
    rng = np.random.default_rng(10)
    with torch.no_grad():
        model.mylayer1.weight.copy_(torch.from_numpy(array(rng, 5, 3)))
        model.mylayer1.bias.copy_(torch.from_numpy(np.abs(array(rng, 5))))
    x, y = torch.tensor(array(rng, 10, 5)), torch.tensor(array(rng, 10, 3))
    calls = []
    handle = model.mylayer1.register_forward_hook(lambda m, i, o: calls.append(tuple(o.shape)))
    loss_fn = torch.nn.MSELoss(reduction="sum")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(steps):
        y_pred = model(x)
        loss = loss_fn(y_pred, y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    handle.remove()
    model(x)
    return {"losses": losses, "repr": repr(model), "calls": calls, **parameters(model)}


def own_function(torch):
    """autograd.Function, which the same document mentions as the other way to write a layer."""

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x**2

    x = torch.tensor([1.0, 2.0, -3.0], requires_grad=True)
    y = Cube.apply(x)
    y.sum().backward()
    z = torch.sum(x + 1)
    return {
        "y": y.detach().numpy(),
        "grad": x.grad.numpy(),
        "names": (y.grad_fn.name(), z.grad_fn.name()),
    }


def two_variables(torch):
    """z = x + y, its grad_fn, and backward twice."""
    rng = np.random.default_rng(11)
    x = torch.tensor(array(rng, 10, 5), requires_grad=True)
    y = torch.tensor(array(rng, 10, 5), requires_grad=True)
    z = torch.sum(x * y)
    z.backward(retain_graph=True)
    z.backward()
    try:
        z.backward()
    except RuntimeError as error:
        text = str(error).split(".")[0]
    return {"x.grad": x.grad.numpy(), "error": text, "grad_fn": z.grad_fn.name()}
