"""Products that decide a result state their precision: GPUs and TPUs would take 10 bits of each factor, or fewer.

Read in the programs, and shown by an interpreter that rounds the factors of products that do not state it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from sfa_jax import autoencoders, finola, nets, slowness, sparse
from sfa_jax.autoencoders import _wave_start
from sfa_jax.evaluation import _sparse_measures
from sfa_jax.slowness import _pca
from sfa_jax.training import _closed_form

HIGHEST = jax.lax.Precision.HIGHEST
RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def moments_of(x):
    return slowness.update_moments(slowness.init_moments(x.shape[1], pairs=True), x)


X, KEY = jnp.cumsum(normal(60, 4), axis=0), jax.random.key(0)
ATOMS, WIDE, FRAMES = normal(6, 4), normal(3, 8), normal(8, 2, 2, 1)
WAVES = finola.wave_speeds(finola.init_params(KEY, 5))
PCA = slowness.PCA(normal(4), normal(2, 4), jnp.ones(2))
LINEAR = slowness.LinearSFA(normal(5), normal(2, 5), jnp.ones(2), jnp.array(2))
SIZES = _wave_start.layout(2, (4, 4), (8, 8, 1))

# By name, a function of arrays, and arrays.
PRODUCTS = {
    "solve": (lambda x: slowness.solve(moments_of(x)), X),
    "solve_tica": (lambda x: slowness.solve_tica(moments_of(x)), X),
    "solve_vamp": (lambda x: slowness.solve_vamp(moments_of(x)), X),
    "vamp_score": (lambda x: slowness.vamp_score(slowness.solve_vamp(moments_of(x)), moments_of(x)), X),
    "transform": (lambda x: slowness.transform(slowness.PolynomialSFA(PCA, LINEAR, 2), x), X),
    "sketch": (lambda x, b: _pca.update_sketch(_pca.init_sketch(4, 2), x, b, x[0], jnp.ones(60)), X, normal(4, 2)),
    "next_basis": (
        lambda s, b: _pca.next_basis(s, b),
        _pca.Sketch(jnp.ones(()), normal(4), normal(4, 2)),
        normal(4, 2),
    ),
    "principal_axes": (
        lambda s, b: _pca.principal_axes(s, b, b[:, 0], 2),
        _pca.Sketch(jnp.ones(()), normal(4), normal(4, 2)),
        normal(4, 2),
    ),
    "sfa_loss": (jax.grad(lambda x: slowness.sfa_loss(x[1:], x[:-1]).total), X),
    "whitened_slowness_loss": (jax.grad(lambda x: slowness.whitened_slowness_loss(x[1:], x[:-1])), X),
    "vamp2_loss": (jax.grad(lambda x: slowness.vamp2_loss(x[1:], x[:-1])), X),
    "two_batch_penalties": (slowness.two_batch_penalties, X, X),
    "effective_rank": (jax.grad(slowness.effective_rank), X),
    "fista": (lambda d, x: sparse.fista(d, x, 0.1), ATOMS, X),
    "fista of many atoms": (lambda d, x: sparse.fista(d, x, 0.1), normal(12, 4), X),
    "gradient of fista": (jax.grad(lambda d, x: sparse.fista(d, x, 0.1).codes.sum()), ATOMS, X),
    "ista": (lambda d, x: sparse.ista(d, x, 0.1), ATOMS, X),
    "omp": (lambda d, x: sparse.omp(d, x, n_nonzero_coefs=2), ATOMS, X),
    "convolutional_fista": (lambda d, x: sparse.convolutional_fista(d, x, 0.1), normal(2, 2, 2, 1), FRAMES),
    "draw_maps": (sparse.draw_maps, normal(2, 2, 2, 1), normal(1, 4, 4, 2)),
    "learn_dictionary": (lambda x: sparse.learn_dictionary(KEY, x, 6, 0.1, n_passes=1), X),
    "fit_gabor": (sparse.fit_gabor, normal(1, 5, 5)),
    "matrices": (finola.matrices, finola.init_params(KEY, 4, speeds="real")),
    "to_wave_coordinates": (lambda z: finola.to_wave_coordinates(z, WAVES), normal(3, 5)),
    "fit_code_distribution": (autoencoders.fit_code_distribution, X),
    "sample_codes": (lambda d: autoencoders.sample_codes(KEY, d, 3), autoencoders.fit_code_distribution(X)),
    "pool_features": (lambda x: nets.pool_features(x, "spatial_softmax"), FRAMES),
    "drawn_waves": (lambda w: _wave_start.drawn_waves(w, SIZES), _wave_start.lattice(3, SIZES)),
    "measures of codes": (lambda d, x: _sparse_measures._measure_codes(d, x, x[0], 0.1, False), ATOMS, X),
    "closed-form job": (
        lambda p, r, x: _closed_form._apply(1, p, r, x),
        {"mean": normal(4), "components": normal(2, 4)},
        {"mean": normal(2), "matrix": normal(2, 2)},
        FRAMES,
    ),
}


def parts_of(equation):
    """The programs within an equation."""
    found = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: isinstance(x, (Jaxpr, ClosedJaxpr)))
    return [part for part in found if isinstance(part, (Jaxpr, ClosedJaxpr))]


def open_program(program):
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def products(program):
    for equation in open_program(program).eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation
        for part in parts_of(equation):
            yield from products(part)


def is_stated(equation):
    precision = equation.params["precision"]
    return precision is not None and set(np.ravel(precision)) == {HIGHEST}


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product_states_its_precision(name):
    function, *args = PRODUCTS[name]
    left = [equation for equation in products(jax.make_jaxpr(function)(*args)) if not is_stated(equation)]
    assert not left, left


def tf32(x):
    if x.dtype == jnp.complex64:
        return jax.lax.complex(tf32(x.real), tf32(x.imag))
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=10) if x.dtype == jnp.float32 else x


def emulated(function, *, stated=True):
    """The function with TF32 products; with `stated=False` also of those that state another precision."""

    def run(program, args):
        opened = open_program(program)
        values = dict(zip(opened.invars, args, strict=True))
        values |= dict(zip(opened.constvars, getattr(program, "consts", ()), strict=True))
        for equation in opened.eqns:
            inputs = [x.val if isinstance(x, Literal) else values[x] for x in equation.invars]
            outputs = step(equation, inputs)
            values |= dict(zip(equation.outvars, outputs, strict=True))
        return [x.val if isinstance(x, Literal) else values[x] for x in opened.outvars]

    def step(equation, inputs):
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            rounded = inputs if stated and is_stated(equation) else map(tf32, inputs)
            return [equation.primitive.bind(*rounded, **params)]
        if name == "while":
            n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
            cond, body, carry = inputs[:n_cond], inputs[n_cond : n_cond + n_body], inputs[n_cond + n_body :]
            return jax.lax.while_loop(
                lambda carry: run(params["cond_jaxpr"], [*cond, *carry])[0],
                lambda carry: run(params["body_jaxpr"], [*body, *carry]),
                carry,
            )
        if name == "scan":
            inner = open_program(params["jaxpr"])  # whose x and y have one axis less than the scan's
            n_xs = sum(np.ndim(x) > var.aval.ndim for x, var in zip(inputs, inner.invars, strict=True))
            n_ys = sum(y.aval.ndim > var.aval.ndim for y, var in zip(equation.outvars, inner.outvars, strict=True))
            n_carry = len(inner.outvars) - n_ys
            n_consts = len(inputs) - n_carry - n_xs
            consts, carry, xs = inputs[:n_consts], inputs[n_consts : n_consts + n_carry], inputs[n_consts + n_carry :]

            def body(carry, x):
                found = run(params["jaxpr"], [*consts, *carry, *x])
                return found[:n_carry], found[n_carry:]

            carry, ys = jax.lax.scan(body, carry, xs, params["length"], reverse=params["reverse"])
            return [*carry, *ys]
        if name == "cond":
            branches = [lambda *args, branch=branch: run(branch, args) for branch in params["branches"]]
            return jax.lax.switch(inputs[0], branches, *inputs[1:])
        inner = params.get("call_jaxpr", params.get("jaxpr"))
        if isinstance(inner, ClosedJaxpr):
            return run(inner, inputs)
        assert not parts_of(equation) or name == "custom_linear_solve", name
        found = equation.primitive.bind(*inputs, **params)
        return found if equation.primitive.multiple_results else [found]

    def call(*args):
        program, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        return jax.tree.unflatten(jax.tree.structure(shape), run(program, jax.tree.leaves(args)))

    return call


@pytest.mark.parametrize(
    ("name", "pick"),
    [
        ("fista", lambda found: found.gap),
        ("omp", lambda found: found.codes),
        ("transform", lambda found: found),
        ("solve", lambda found: found.delta),
        ("to_wave_coordinates", lambda found: found.real),
        ("matrices", lambda found: found.right),
    ],
)
def test_nothing_is_lost_where_products_are_rounded(name, pick):
    function, *args = PRODUCTS[name]
    expected = np.asarray(pick(jax.jit(function)(*args)))

    def error(found):
        return np.abs(np.asarray(pick(found)) - expected).max() / np.abs(expected).max()

    assert error(jax.jit(emulated(function))(*args)) < 2e-5
    assert error(jax.jit(emulated(function, stated=False))(*args)) > 1e-4  # what would be lost
