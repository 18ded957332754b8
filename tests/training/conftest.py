"""The config that tests train with in their own process."""

import pytest

from configs import sfa


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
        return config

    return make
