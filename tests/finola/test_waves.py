"""Speeds of one-way waves, their coordinates, and plane waves whose speeds are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import finola


def test_eigenvalues_within_the_zero_mean_subspace():
    params = finola.init_params(jax.random.key(0), 12)
    waves, basis = finola.wave_speeds(params), finola.zero_mean_basis(12)
    right, left, down, up = (basis.T @ np.asarray(matrix, np.float64) @ basis for matrix in finola.matrices(params))
    for k, (a, b) in enumerate(((right, down), (left, down), (right, up), (left, up))):
        quotient = a @ np.linalg.inv(b)
        found = waves.vectors[k] @ np.diag(waves.speeds[k]) @ np.linalg.inv(waves.vectors[k])
        np.testing.assert_allclose(found, quotient, atol=1e-6 * np.abs(quotient).max())


def test_what_the_norm_does_not_see_does_not_change_the_speeds(rng):
    params = finola.init_params(jax.random.key(0), 8)
    extra = rng.standard_normal((8, 1)) @ np.ones((1, 8)) + np.ones((8, 1)) @ rng.standard_normal((1, 8))
    other = dataclasses.replace(params, a=params.a + extra.astype(np.float32), b=params.b - extra.astype(np.float32))
    np.testing.assert_allclose(finola.wave_speeds(other).speeds, finola.wave_speeds(params).speeds, rtol=1e-3)


def test_real_speeds_and_symmetries():
    real = finola.wave_speeds(finola.init_params(jax.random.key(0), 12, speeds="real")).speeds
    assert np.abs(real.imag).max() < 1e-6 * np.abs(real).max()
    negated = finola.wave_speeds(finola.init_params(jax.random.key(0), 12, directions="negated")).speeds
    np.testing.assert_allclose(np.sort_complex(negated[0]), np.sort_complex(-negated[1]), atol=1e-9)
    np.testing.assert_allclose(np.sort_complex(negated[0]), np.sort_complex(negated[3]), atol=1e-9)


def test_singular_matrices_have_no_speeds():
    params = finola.init_params(jax.random.key(0), 6)
    waves = finola.wave_speeds(dataclasses.replace(params, b=jnp.zeros((6, 6))))
    assert np.isnan(waves.speeds[:2]).all()
    assert np.isinf(waves.condition[:2]).all()
    assert np.isfinite(waves.speeds[2:]).all()


def test_only_what_rests_has_no_speed(rng):
    """In float32 a direction at rest has singular values of rounding, not 0."""
    made = finola.plane_waves([[0.5, 0.25], [0.3, 0.7]], 6)
    waves = finola.wave_speeds(made.params)
    assert np.isinf(waves.condition).all()
    assert (np.isnan(waves.speeds).sum(axis=1) == 1).all()
    assert np.isnan(waves.speeds[:, -1]).all()
    z = rng.standard_normal((3, 6))
    zeta = np.asarray(finola.to_wave_coordinates(jnp.asarray(z, jnp.float32), waves))
    assert np.isfinite(zeta).all()
    back = np.einsum("kij,knj->kni", waves.vectors, zeta)
    np.testing.assert_allclose(back, np.broadcast_to(z @ finola.zero_mean_basis(6), back.shape), atol=1e-4)


def test_plane_waves_obey_their_equation_in_every_order():
    angles = np.array([[0.5, 0.25], [0.3, 0.7]])
    made = finola.plane_waves(angles, 6)
    q = np.sqrt(6) * (0.6 * made.basis[:, 0] + 0.48 * made.basis[:, 3] + 0.64 * made.rest)
    maps = [finola.autoregress(made.params, jnp.asarray(q, jnp.float32), 7, 8, order=o) for o in ("x_first", "average")]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)
    # Cells of the first wave turn by its angle: real part cos, imaginary part sin.
    steps = np.arange(8) - 4
    np.testing.assert_allclose(
        np.asarray(maps[0][3]) @ made.basis[:, 0], 0.6 * np.sqrt(6) * np.cos(0.5 * steps), atol=1e-4
    )
    speeds = finola.wave_speeds(made.params).speeds[0]
    expected = (np.exp(1j * angles[:, 0]) - 1) / (np.exp(1j * angles[:, 1]) - 1)
    for value in expected:
        assert np.nanmin(np.abs(speeds - value)) < 1e-4
    residual = finola.wave_residual(maps[0], made.params)
    turning = np.array([np.nanargmin(np.abs(finola.wave_speeds(made.params).speeds[0] - v)) for v in expected])
    assert residual[0][turning].max() < 1e-2


def test_noise_obeys_nothing(rng):
    params = finola.init_params(jax.random.key(0), 6)
    residual = finola.wave_residual(rng.standard_normal((200, 5, 5, 6)), params)
    assert residual.shape == (4, 5)
    np.testing.assert_allclose(residual, 1, atol=0.6)
    assert np.isnan(finola.wave_residual(rng.standard_normal((1, 5, 6)), params)).all()


def test_bad_arguments(rng):
    waves = finola.wave_speeds(finola.init_params(jax.random.key(0), 6))
    with pytest.raises(ValueError, match="z: expected a last axis of 6"):
        finola.to_wave_coordinates(jnp.ones((4, 5)), waves)
    with pytest.raises(ValueError, match="z: expected shape"):
        finola.wave_residual(np.ones((4, 6)), finola.init_params(jax.random.key(0), 6))
    params = finola.init_params(jax.random.key(0), 6)
    with pytest.raises(ValueError, match=r"params\.b: expected finite numbers"):
        finola.wave_speeds(dataclasses.replace(params, b=params.b.at[0, 0].set(jnp.nan)))
    with pytest.raises(ValueError, match="n_waves, period, weights: expected at least one wave"):
        finola.lowest_waves(0, (1.0, 1.0), (1.0,))
    with pytest.raises(ValueError, match="channels: expected at least 6"):
        finola.plane_waves([[0, 0], [1, 1]], 5)
