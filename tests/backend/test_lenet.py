"""The main job on real input: LeNet-5 learns ten thousand digits, compiled."""

from __future__ import annotations

from graphgrad.examples.demo import train_lenet


def test_lenet_passes_97_percent_in_three_epochs(tmp_path, capsys):
    picture = tmp_path / "lenet.svg"
    assert train_lenet(epochs=3, progress=False, svg=str(picture)) > 0.97
    text = picture.read_text()
    assert "ConvolutionBackward0" in text
    assert "kernels:" in capsys.readouterr().out
