"""The config that tests train with in their own process."""

import jax
import pytest

from configs import autoencoder, sfa


@pytest.fixture(autouse=True, scope="module")
def one_device():
    """Training in the tests' own process takes one of its two devices: programs for several compile longer.

    `test_distributed.py` trains on several.
    """
    with pytest.MonkeyPatch.context() as patch:
        first = jax.devices()[:1]
        patch.setattr(jax, "devices", lambda: first)
        yield


@pytest.fixture(scope="session")
def tiny_config():
    """`tiny_config(cache_dir)`: the smoke config with a tiny network."""

    def make(cache_dir):
        config = sfa.get_config("smoke")
        config.data.cache_dir = str(cache_dir)
        config.data.image_size = 16
        config.data.room.n_frames = 300
        config.network.channels = (4, 8)
        config.network.dim = 4
        config.network.hidden = 16
        config.evaluation.plots = False
        config.evaluation.baselines = ("pca", "untrained")
        return config

    return make


@pytest.fixture(scope="session")
def tiny_autoencoder(tmp_path_factory):
    """`tiny_autoencoder(part__field=value, ...)`: the smoke config with a tiny network, on eighty digits."""
    cache = tmp_path_factory.mktemp("cache")

    def make(**options):
        config = autoencoder.get_config("smoke")
        config.data.cache_dir = str(cache)
        config.data.digits.n_train, config.data.digits.n_held_out = 6, 2
        config.data.batch_size = 10
        config.network.hidden, config.network.code_size = (8,), 4
        config.train.steps, config.train.evaluate_every, config.train.steps_per_dispatch = 4, 2, 2
        config.train.schedule = "constant"
        for name, value in options.items():
            part, _, field = name.partition("__")
            config[part][field] = value
        return config

    return make
