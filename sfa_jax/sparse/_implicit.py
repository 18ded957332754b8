"""Derivatives of lasso codes: those of the solution, whatever the steps that led there."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

State = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
Linear = Callable[[jax.Array], jax.Array]
MakeMaps = Callable[[jax.Array], tuple[Linear, Linear]]  # atoms -> (codes to signals, and its adjoint)


def at_solution(
    make_maps: MakeMaps, max_iter: int, codes: jax.Array, atoms: jax.Array, x: jax.Array, alpha: jax.Array
) -> jax.Array:
    """Codes that minimize 1/2 ||x - draw(z)||^2 + alpha |z|_1, as a function of atoms, x and alpha.

    On the support S of a code 0 = correlate_S(x - draw(z)) - alpha sign(z_S); what is off it stays 0. So its derivative
    solves draw_S' draw_S dz_S = d(the right side, z held), of each signal by conjugate gradients, in forward and in
    reverse mode alike. Of dependent atoms the smallest dz is found.

    Args:
      make_maps: the linear maps of the atoms.
      max_iter: steps of the conjugate gradients at most.
      codes: the solution `[n, ...]`, nan where there is none; its own derivatives are not looked at.
      atoms, x, alpha: what it solves.

    Returns:
      The codes.

    References:
      Bertrand et al., "Implicit differentiation of Lasso-type models", ICML 2020; Blondel et al., "Efficient and
      modular implicit differentiation", NeurIPS 2022 (jaxopt).
    """
    return _at_solution(make_maps, max_iter, jax.lax.stop_gradient(codes), atoms, x, alpha)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _at_solution(
    make_maps: MakeMaps, max_iter: int, codes: jax.Array, atoms: jax.Array, x: jax.Array, alpha: jax.Array
) -> jax.Array:
    del make_maps, max_iter, atoms, x, alpha
    return codes


@_at_solution.defjvp
def _at_solution_jvp(
    make_maps: MakeMaps, max_iter: int, primals: tuple, tangents: tuple
) -> tuple[jax.Array, jax.Array]:
    codes = _at_solution(make_maps, max_iter, *primals)
    _, atoms, x, alpha = primals
    solved = jnp.all(jnp.isfinite(codes), axis=tuple(range(1, codes.ndim)))  # of others there is nothing to derive

    def of_solved(values: jax.Array) -> jax.Array:
        return jnp.where(solved.reshape(-1, *[1] * (values.ndim - 1)), values, 0)

    z = of_solved(codes)
    support = z != 0

    def on_support(values: jax.Array) -> jax.Array:
        return jnp.where(support, values, 0)

    def slope(atoms: jax.Array, x: jax.Array, alpha: jax.Array) -> jax.Array:
        draw, correlate = make_maps(atoms)
        return on_support(correlate(of_solved(x) - draw(z)) - alpha * jnp.sign(z))

    draw, correlate = make_maps(atoms)

    def curvature(dz: jax.Array) -> jax.Array:
        return jnp.where(support, correlate(draw(on_support(dz))), dz)

    _, right = jax.jvp(slope, (atoms, x, alpha), tangents[1:])
    solve = functools.partial(_conjugate_gradients, max_iter=max_iter)
    return codes, jax.lax.custom_linear_solve(curvature, right, solve, symmetric=True)


def _conjugate_gradients(matrix: Linear, right: jax.Array, *, max_iter: int) -> jax.Array:
    """Solves for each row by itself, from 0, up to rounding."""
    axes = tuple(range(1, right.ndim))

    def inner(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.sum(a * b, axis=axes, keepdims=True)

    def quotient(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)

    least = (8 * jnp.finfo(right.dtype).eps) ** 2 * inner(right, right)

    def step(state: State) -> State:
        k, found, rest, direction, square = state
        moved = matrix(direction)
        length = jnp.where(square > least, quotient(square, inner(direction, moved)), 0)
        rest = rest - length * moved
        after = inner(rest, rest)
        return k + 1, found + length * direction, rest, rest + quotient(after, square) * direction, after

    def goes_on(state: State) -> jax.Array:
        return (state[0] < max_iter) & jnp.any(state[4] > least)

    begin = jnp.zeros((), jnp.int32), jnp.zeros_like(right), right, right, inner(right, right)
    return jax.lax.while_loop(goes_on, step, begin)[1]
