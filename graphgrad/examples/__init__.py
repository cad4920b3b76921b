"""Programs to run and to read: ``lenet`` (the model and its data), ``demo`` (training it)."""
