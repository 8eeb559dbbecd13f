"""These tests compare with TensorFlow Model Analysis, and run where it is installed: `make test-peers`."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("tensorflow_model_analysis") else ["*.py"]
