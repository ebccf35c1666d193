"""Planes: filter norms, closed forms of a quadratic, scikit-learn's principal components,
projections, chunks.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.planes import (
    Plane,
    evaluate_in_chunks,
    evaluate_line,
    evaluate_plane,
    evaluate_points,
    filter_normalize,
    interpolate,
    layer_normalize,
    orthonormal,
    plane_point,
    principal_plane,
    project,
    random_direction,
    random_plane,
)

XS, YS = np.linspace(-1.0, 2.0, 5), np.linspace(0.5, 1.5, 3)


def network(seed=0, dtype=np.float64):
    """Parameters as Flax lays them out, in random order of size."""
    random = np.random.default_rng(seed)
    shapes = {"conv": {"kernel": (3, 3, 2, 4)}, "dense": {"kernel": (4, 5), "bias": (5,)}}
    return jax.tree.map(
        lambda shape: (random.gamma(1.0) * random.normal(size=shape)).astype(dtype),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def in_double(function):
    """A function jitted in 64-bit mode, with NumPy arrays for results; float32 stays float32."""
    jitted = jax.jit(function)

    def call(*arguments):
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, jitted(*arguments))

    return call


def unjitted(function, *arguments, **options):
    """What a function gives without 64-bit mode and jit, as NumPy arrays."""
    return jax.tree.map(np.asarray, function(*arguments, **options))


normalized_filters, normalized_layers = in_double(filter_normalize), in_double(layer_normalize)
projected, made_orthonormal, principal = (
    in_double(project),
    in_double(orthonormal),
    in_double(principal_plane),
)
random_of = in_double(random_plane)


def plane_of(seed=0, dtype=np.float64):
    return Plane(*(network(3 * seed + part, dtype) for part in range(3)))


def flat(tree, batch=0):
    return np.concatenate(
        [np.reshape(leaf, (*np.shape(leaf)[:batch], -1)) for leaf in jax.tree.leaves(tree)], axis=-1
    )


def total(params):
    """A linear loss, with another weight for every leaf and no products in it."""
    return sum((number + 1) * leaf.sum() for number, leaf in enumerate(jax.tree.leaves(params)))


def half_square(params):
    return sum((leaf**2).sum() for leaf in jax.tree.leaves(params)) / 2


# Directions


def filter_norms(leaf):
    leaf = np.asarray(leaf, np.float64)
    return np.sqrt((leaf**2).sum(axis=tuple(range(leaf.ndim - 1))))


def test_random_directions_are_standard_normal_and_the_same_in_both_precisions():
    params = {"kernel": np.zeros((200, 100)), "bias": np.zeros(5000)}
    double = unjitted(random_direction, jax.random.key(0), params)
    single = unjitted(random_direction, jax.random.key(0), jax.tree.map(np.float32, params))
    assert [leaf.dtype for leaf in (*double.values(), *single.values())] == 2 * [np.float64] + 2 * [
        np.float32
    ]
    jax.tree.map(np.testing.assert_array_equal, double, single)
    values = flat(double)  # standard errors of mean and variance: 0.0063 and 0.0089
    assert abs(values.mean()) < 0.02 and abs(values.var() - 1) < 0.03
    assert (
        np.corrcoef(double["kernel"].ravel()[:5000], double["bias"])[0, 1] < 0.05
    )  # leaves have numbers of their own


@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-200, 1e-3, 1.0, 1e200]))
@settings(deadline=None, max_examples=20)
def test_filters_have_the_norms_of_those_of_the_weights(seed, scale):
    params = jax.tree.map(lambda leaf: scale * leaf, network(seed))
    direction = network(seed + 1)
    found = normalized_filters(direction, params)
    for layer in ("conv", "dense"):
        np.testing.assert_allclose(
            filter_norms(found[layer]["kernel"] / scale),
            filter_norms(params[layer]["kernel"] / scale),
            rtol=1e-14,
        )
        ratio = (
            found[layer]["kernel"] / direction[layer]["kernel"]
        )  # one positive number for all of a filter
        assert (ratio > 0).all()
        np.testing.assert_allclose(
            ratio, np.broadcast_to(ratio[(0,) * (ratio.ndim - 1)], ratio.shape), rtol=1e-13
        )


def test_norms_do_not_depend_on_the_scale_of_the_direction():
    direction, params = network(1), network(0)
    longer = jax.tree.map(lambda leaf: 1024.0 * leaf, direction)
    jax.tree.map(
        np.testing.assert_array_equal,
        normalized_filters(longer, params),
        normalized_filters(direction, params),
    )


@pytest.mark.parametrize("normalize", [filter_normalize, layer_normalize])
def test_vectors_are_ignored_or_taken_as_a_whole(normalize):
    direction, params = network(1), network(0)
    ignored, taken = (
        unjitted(normalize, direction, params, ignore_vectors=ignore) for ignore in (True, False)
    )
    assert not ignored["dense"]["bias"].any()
    np.testing.assert_allclose(
        np.linalg.norm(taken["dense"]["bias"]), np.linalg.norm(params["dense"]["bias"]), rtol=1e-14
    )
    np.testing.assert_array_equal(ignored["conv"]["kernel"], taken["conv"]["kernel"])
    scalar = normalize(np.array(-3.0), np.array(2.0), ignore_vectors=False)
    assert float(scalar) == -2


def test_layers_have_the_norms_of_those_of_the_weights():
    direction, params = network(1), network(0)
    found = normalized_layers(direction, params)
    for layer in ("conv", "dense"):
        kernel = params[layer]["kernel"]
        expected = (
            direction[layer]["kernel"]
            * np.linalg.norm(kernel)
            / np.linalg.norm(direction[layer]["kernel"])
        )
        np.testing.assert_allclose(found[layer]["kernel"], expected, rtol=1e-13)


def test_filters_of_zeros_are_zero_and_those_with_nan_are_nan():
    direction, params = np.ones((3, 4)), np.ones((3, 4))
    direction[:, 0], params[:, 1], params[1, 2] = 0, 0, np.nan
    found = np.asarray(filter_normalize(direction, params))
    assert not found[:, :2].any() and np.isnan(found[:, 2]).all() and (found[:, 3] == 1).all()


# Geometry


def test_points_of_a_plane():
    plane = plane_of()
    np.testing.assert_allclose(
        flat(plane_point(plane, 0.3, -2.0)),
        flat(plane.origin) + 0.3 * flat(plane.first) - 2 * flat(plane.second),
        rtol=1e-14,
        atol=1e-14,
    )
    np.testing.assert_array_equal(flat(plane_point(plane, 0, 0)), flat(plane.origin))


def test_random_planes_have_independent_normalized_directions():
    params = network()
    plane = random_of(jax.random.key(3), params)
    jax.tree.map(np.testing.assert_array_equal, plane.origin, params)
    for direction in plane[1:]:
        norms, expected = (filter_norms(tree["conv"]["kernel"]) for tree in (direction, params))
        np.testing.assert_allclose(norms, expected, rtol=1e-14)
    assert not np.allclose(plane.first["conv"]["kernel"], plane.second["conv"]["kernel"])
    by_layer = partial(random_plane, normalize=partial(layer_normalize, ignore_vectors=False))
    whole = in_double(by_layer)(jax.random.key(3), params)
    np.testing.assert_allclose(
        np.linalg.norm(flat(whole.first)), np.linalg.norm(flat(params)), rtol=1e-14
    )


@given(
    seed=st.integers(0, 2**31),
    tilt=st.sampled_from([1.0, 1e-4, 1e-9]),
    size=st.sampled_from([1e-150, 1.0, 1e150]),
)
@settings(deadline=None, max_examples=20)
def test_orthonormal_directions_span_the_same_plane(seed, tilt, size):
    plane = plane_of(seed % 10**6)
    nearly = jax.tree.map(
        lambda first, second: size * (first + tilt * second), plane.first, plane.second
    )
    found = made_orthonormal(Plane(plane.origin, plane.first, nearly))
    basis = np.stack([flat(found.first), flat(found.second)])
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-14)
    exact, _ = np.linalg.qr(np.stack([flat(plane.first), flat(plane.second)]).T)
    np.testing.assert_allclose(
        basis - basis @ exact @ exact.T, 0, atol=1e-14 / tilt
    )  # rounding of the input, magnified
    assert basis[0] @ flat(plane.first) > 0 and basis[1] @ flat(plane.second) > 0


@given(seed=st.integers(0, 2**31), x=st.floats(-10, 10), y=st.floats(-10, 10), off=st.floats(0, 10))
@settings(deadline=None, max_examples=20)
def test_projections_find_coordinates_and_distance(seed, x, y, off):
    """On the plane the distance is the rounding of inner products; elsewhere it is the one that the
    point was moved.
    """
    plane = plane_of(seed % 10**6)
    point, normal = jax.tree.map(lambda o, f, s: o + x * f + y * s, *plane), network(seed + 7)
    exact, _ = np.linalg.qr(np.stack([flat(plane.first), flat(plane.second)]).T)
    across = flat(normal) - exact @ (exact.T @ flat(normal))
    across = unflat(off * across / np.linalg.norm(across), plane.origin)
    on, above = projected(plane, point), projected(plane, jax.tree.map(np.add, point, across))
    size = np.linalg.norm(flat(point)) + np.linalg.norm(flat(plane.origin))
    condition = np.linalg.svd(np.stack([flat(plane.first), flat(plane.second)]), compute_uv=False)
    np.testing.assert_allclose(on.coordinates, [x, y], atol=1e-14 * size / condition[1] + 1e-13)
    np.testing.assert_allclose(
        above.coordinates, [x, y], atol=1e-14 * (size + off) / condition[1] + 1e-13
    )
    # Independent roundings of the terms of an inner product add up like their root.
    rounding = np.finfo(float).eps * np.sqrt(flat(point).size)
    np.testing.assert_allclose(on.distance, 0, atol=rounding * size)
    np.testing.assert_allclose(above.distance, off, rtol=1e-14, atol=rounding * (size + off))


def unflat(values, like):
    leaves, structure = jax.tree.flatten(like)
    parts = np.split(values, np.cumsum([np.size(leaf) for leaf in leaves])[:-1])
    return jax.tree.unflatten(
        structure, [part.reshape(np.shape(leaf)) for part, leaf in zip(parts, leaves, strict=True)]
    )


def test_projections_of_many_points_are_least_squares():
    plane, points = (
        plane_of(),
        jax.tree.map(
            lambda *leaves: np.reshape(leaves, (2, 3, *leaves[0].shape)),
            *(network(seed) for seed in range(10, 16)),
        ),
    )
    found = projected(plane, points)
    directions, offsets = (
        np.stack([flat(plane.first), flat(plane.second)], axis=1),
        flat(points, 2) - flat(plane.origin),
    )
    expected, squares, *_ = np.linalg.lstsq(directions, offsets.reshape(6, -1).T)
    np.testing.assert_allclose(found.coordinates, expected.T.reshape(2, 3, 2), rtol=1e-12)
    np.testing.assert_allclose(found.distance, np.sqrt(squares).reshape(2, 3), rtol=1e-13)
    one = projected(plane, jax.tree.map(lambda leaf: leaf[1, 2], points))
    np.testing.assert_allclose(one.coordinates, found.coordinates[1, 2], rtol=1e-13)


@pytest.mark.parametrize("factor", [0.0, -3.0])
def test_parallel_directions_span_no_plane(factor):
    origin, first = network(0), network(1)
    plane = Plane(origin, first, jax.tree.map(lambda leaf: factor * leaf, first))
    found = projected(plane, network(2))
    assert np.isnan(found.coordinates[..., 1]) and np.isnan(found.distance)
    basis = made_orthonormal(plane)
    assert np.isnan(flat(basis.second)).all()
    np.testing.assert_allclose(np.linalg.norm(flat(basis.first)), 1, rtol=1e-14)
    without = plane._replace(first=jax.tree.map(np.zeros_like, first))
    assert np.isnan(flat(made_orthonormal(without).first)).all()


# Principal components


def walk(steps=30, seed=0, dtype=np.float64):
    like, random = network(), np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: (
            random.normal(size=(steps + 1, *leaf.shape)).cumsum(axis=0).astype(dtype) + dtype(3)
        ),
        like,
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_principal_planes_are_scikit_learns(dtype):
    path = walk(dtype=dtype)
    weights = flat(path, 1).astype(np.float64)
    pca = PCA(2, svd_solver="full").fit(weights)
    plane = principal(path)._replace(origin=jax.tree.map(lambda leaf: leaf.mean(axis=0), path))
    assert {leaf.dtype for leaf in jax.tree.leaves(plane)} == {np.dtype(dtype)}
    tolerance = 1e-12 if dtype == np.float64 else 3e-6
    sign = np.sign(pca.components_ @ np.stack([flat(plane.first), flat(plane.second)]).T).diagonal()
    scores = sign * pca.transform(weights)
    np.testing.assert_allclose(
        np.stack([flat(plane.first), flat(plane.second)]),
        sign[:, None] * pca.components_,
        atol=tolerance,
    )
    found = projected(plane, path)
    np.testing.assert_allclose(found.coordinates, scores, atol=tolerance * abs(scores).max())
    residuals = np.linalg.norm(weights - pca.inverse_transform(pca.transform(weights)), axis=1)
    np.testing.assert_allclose(found.distance, residuals, rtol=10 * tolerance)
    assert (np.max(scores, axis=0) >= -np.min(scores, axis=0)).all()  # the sign that is promised


def test_principal_planes_go_through_the_last_point_unless_told_otherwise():
    path = walk()
    plane = principal(path)
    jax.tree.map(
        lambda leaf, origin: np.testing.assert_array_equal(leaf[-1], origin), path, plane.origin
    )
    found = projected(plane, path)
    np.testing.assert_array_equal(found.coordinates[-1], 0)
    assert found.distance[-1] == 0 and (found.distance[:-1] > 0.1).all()
    elsewhere = unjitted(principal_plane, path, origin=network())
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12),
        elsewhere,
        plane._replace(origin=network()),
    )


def test_a_path_in_a_plane_lies_in_its_principal_plane_and_one_on_a_line_has_none():
    given, times = plane_of(), np.linspace(0.0, 6.0, 31)

    def along(x, y):
        return jax.tree.map(
            lambda o, f, s: o + np.multiply.outer(x, f) + np.multiply.outer(y, s), *given
        )

    circle = along(np.cos(times), np.sin(times))
    assert (projected(principal(circle), circle).distance < 1e-13).all()
    line = principal(along(times, 2 * times))
    np.testing.assert_allclose(np.linalg.norm(flat(line.first)), 1, rtol=1e-13)
    assert np.isnan(flat(line.second)).all()
    still = principal(along(0 * times, 0 * times))
    assert np.isnan(flat(still.first)).all() and np.isnan(flat(still.second)).all()


# The loss on them


def test_a_quadratic_has_its_closed_form():
    """L = |w|^2/2 on the plane is a polynomial of second degree with inner products as its
    coefficients.
    """
    plane = plane_of()
    found = evaluate_plane(half_square, plane, XS, YS)
    o, f, s = (flat(part) for part in plane)
    x, y = np.meshgrid(XS, YS)
    expected = (
        (o @ o + x**2 * (f @ f) + y**2 * (s @ s)) / 2 + x * (o @ f) + y * (o @ s) + x * y * (f @ s)
    )
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    single = evaluate_plane(half_square, jax.tree.map(np.float32, plane), XS, YS)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5)


@pytest.mark.parametrize("at_once", [1, 4, 15, 100])
@pytest.mark.parametrize("count", [None, 2, 3])
def test_every_point_is_evaluated_once_at_its_own_coordinates(at_once, count):
    """Powers of two make the linear loss exact: a point that is left out, shifted or doubled is
    seen.
    """
    plane = Plane(
        np.zeros((2, 2)), np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.0]])
    )
    how = {"at_once": at_once, "devices": count and jax.devices()[:count]}
    seen = evaluate_plane(lambda w: (w[0, 0], w[1, 1], w[0, 1]), plane, XS, YS, **how)
    x, y = np.meshgrid(XS, YS)
    for found, expected in zip(seen, (x, y, np.zeros_like(x)), strict=True):
        np.testing.assert_array_equal(found, expected)
    plane = plane_of()
    expected = total(plane.origin) + x * total(plane.first) + y * total(plane.second)
    np.testing.assert_allclose(evaluate_plane(total, plane, XS, YS, **how), expected, rtol=1e-12)


def test_a_grid_of_one_point_is_its_loss():
    plane = plane_of()
    np.testing.assert_allclose(
        evaluate_plane(half_square, plane, [0.0], [0.0]), [[half_square(plane.origin)]], rtol=1e-14
    )


def test_losses_that_are_not_finite_stay_what_they_are():
    plane = Plane(np.zeros(1), np.ones(1), np.zeros(1))
    found = evaluate_plane(
        lambda w: jnp.log(w[0]) / jnp.maximum(w[0], 0),
        plane,
        [-1.0, 0.0, 1.0, np.inf],
        [0.0],
        at_once=2,
    )
    np.testing.assert_array_equal(found, [[np.nan, -np.inf, 0.0, np.nan]])


def test_lines_begin_and_end_exactly_at_their_points():
    start, end = network(0), network(1)
    fractions = [0.0, 0.25, 1.0, 1.5]
    found = evaluate_line(lambda w: (total(w), half_square(w)), start, end, fractions, at_once=3)
    np.testing.assert_allclose(
        found[0], [(1 - part) * total(start) + part * total(end) for part in fractions], rtol=1e-12
    )
    for part, point in [(0, start), (1, end), (1.0, end)]:
        jax.tree.map(np.testing.assert_array_equal, interpolate(start, end, part), point)
    expected = [
        half_square(jax.tree.map(lambda a, b, part=part: a + part * (b - a), start, end))
        for part in fractions
    ]
    np.testing.assert_allclose(found[1], expected, rtol=1e-12)


def test_any_function_of_coordinates_gives_the_points():
    found = evaluate_points(
        lambda w: {"sum": w.sum(), "point": w},
        lambda entry: entry[0] * entry[1:],
        np.arange(12.0, dtype=np.float32).reshape(3, 4),
        at_once=2,
    )
    np.testing.assert_array_equal(found["sum"], [0.0, 72.0, 240.0])
    assert found["point"].shape == (3, 3)


def test_jit_and_vmap_over_planes_and_members():
    """Members have a state of their own, such as the averages of batch norm."""
    planes = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(plane_of(seed, np.float32) for seed in range(3))
    )
    states = np.array([1.0, 2.0, 3.0], np.float32)

    def member(plane, state, xs):
        return evaluate_plane(lambda w: state * half_square(w), plane, xs, YS, at_once=2)

    found = jax.jit(jax.vmap(member, in_axes=(0, 0, None)))(planes, states, XS)
    assert found.shape == (3, 3, 5)
    for number, state in enumerate(states):
        alone = evaluate_plane(half_square, plane_of(number, np.float32), XS, YS)
        np.testing.assert_allclose(found[number], state * alone, rtol=1e-5)


@pytest.mark.parametrize("dtype", [pytest.param(np.float64, marks=pytest.mark.slow), np.float32])
def test_all_of_geometry_goes_through_jit_and_vmap(dtype):
    paths = [walk(30, seed, dtype) for seed in (1, 2)]

    def measure(path):
        plane = principal_plane(path)
        return plane, project(plane, path), random_plane(jax.random.key(0), plane.origin)

    with jax.enable_x64(dtype == np.float64):
        found = jax.jit(jax.vmap(measure))(jax.tree.map(lambda *leaves: np.stack(leaves), *paths))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(dtype)}
    planes = [principal(path) for path in paths]
    alone = [
        (plane, projected(plane, path), random_of(jax.random.key(0), plane.origin))
        for plane, path in zip(planes, paths, strict=True)
    ]
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance),
        found,
        jax.tree.map(lambda *leaves: np.stack(leaves), *alone),
    )


# Chunks


@pytest.mark.parametrize(
    ("chunk", "at_once", "count"), [(1, 1, 1), (4, 1, 1), (6, 3, 1), (100, 4, 1), (4, 1, 3)]
)
def test_chunks_are_the_plane_in_one_compiled_program(chunk, at_once, count):
    traced = []

    def loss(params):
        traced.append(None)
        return {
            "square": half_square(params),
            "norms": jnp.stack([leaf.max() for leaf in jax.tree.leaves(params)]),
        }

    plane = plane_of()
    expected = evaluate_plane(loss, plane, XS, YS, at_once=at_once)
    traced.clear()
    devices = jax.devices()[:count]
    pieces = list(
        evaluate_in_chunks(loss, plane, XS, YS, chunk=chunk, at_once=at_once, devices=devices)
    )
    assert len(traced) <= 2  # a group, and the group that is left over
    assert [len(piece["square"]) for piece in pieces] == [
        min(chunk, 15 - begin) for begin in range(0, 15, chunk)
    ]
    for name, values in expected.items():
        whole = np.concatenate([piece[name] for piece in pieces])
        np.testing.assert_allclose(whole.reshape(values.shape), values, rtol=1e-14)
        assert whole.dtype == np.float64


@pytest.mark.parametrize("done", [0, 4, 12, 15])
def test_what_is_done_is_not_evaluated_again(done):
    pieces = list(evaluate_in_chunks(total, plane_of(), XS, YS, chunk=4))
    rest = list(evaluate_in_chunks(total, plane_of(), XS, YS, chunk=4, done=done))
    np.testing.assert_array_equal(np.concatenate([*rest, []]), np.concatenate(pieces)[done:])


def test_the_precision_of_the_caller_is_left_alone_between_chunks():
    for _ in evaluate_in_chunks(total, plane_of(), XS, YS, chunk=4):
        assert not jax.config.jax_enable_x64 and jnp.zeros(1).dtype == np.float32


# What does not fit


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda w: Plane(w, {**w, "more": np.zeros(2)}, w),
            r"first has the leaves \[\"\['more'\]\"\].*lacks \[\]",
        ),
        (
            lambda w: Plane(w, w, {**w, "dense": {"bias": np.zeros(5)}}),
            r"second has the leaves \[\].*lacks .*kernel",
        ),
        (
            lambda w: Plane(w, {**w, "dense": {**w["dense"], "bias": np.zeros(3)}}, w),
            r"first\['dense'\]\['bias'\] has shape \(3,\); expected \(5,\)",
        ),
        (
            lambda w: Plane(w, jax.tree.map(lambda leaf: leaf[None], w), w),
            r"first.* has shape .*; expected",
        ),
        (lambda w: Plane({}, {}, {}), "origin has no leaves"),
        (
            lambda w: Plane(np.array(["a"]), np.zeros(1), np.zeros(1)),
            "origin has dtype.*real numbers",
        ),
        (
            lambda w: Plane([np.zeros(1)], (np.zeros(1),), [np.zeros(1)]),
            "first is a tuple.*same pytree",
        ),
    ],
)
def test_planes_that_do_not_match_are_refused(call, words):
    plane = call(network())
    uses = [
        lambda: orthonormal(plane),
        lambda: plane_point(plane, 0, 0),
        lambda: project(plane, plane.origin),
        lambda: evaluate_plane(total, plane, XS, YS),
        lambda: evaluate_in_chunks(total, plane, XS, YS, chunk=3),
    ]
    for use in uses:
        with pytest.raises(InputError, match=words):
            use()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: filter_normalize(np.zeros(3), np.zeros(3)), "ignore_vectors=False"),
        (
            lambda: filter_normalize(np.zeros((3, 2)), np.zeros((2, 3))),
            r"direction has shape \(3, 2\); expected \(2, 3\)",
        ),
        (lambda: random_direction(jax.random.key(0), {}), "params has no leaves"),
        (
            lambda: project(plane_of(), walk(3) | {"conv": {"kernel": np.zeros((5, 3, 3, 2, 4))}}),
            "leading axes .*same for all",
        ),
        (
            lambda: project(Plane(*np.ones((3, 2))), np.zeros((4, 3))),
            r"params has shape \(4, 3\); expected \(\.\.\., 2\)",
        ),
        (lambda: principal_plane(walk(1)), r"leading axes \[\(2,\)\].*3 or more points"),
        (
            lambda: principal_plane((np.zeros((4, 2)), np.zeros((5, 2)))),
            r"leading axes \[\(4,\), \(5,\)\]",
        ),
        (lambda: principal_plane(np.zeros(())), r"leading axes \[\(\)\]"),
        (
            lambda: principal_plane(np.zeros((4, 2)), origin=np.zeros(3)),
            r"origin has shape \(3,\); expected \(2,\)",
        ),
        (
            lambda: plane_point(plane_of(), XS, 0.0),
            r"x has shape \(5,\); expected a number.*jax\.vmap",
        ),
        (lambda: interpolate(np.zeros(2), np.ones(2), XS), r"fraction has shape \(5,\)"),
        (
            lambda: interpolate(np.zeros(2), np.ones(3), 0.5),
            r"end has shape \(3,\); expected \(2,\)",
        ),
        (lambda: evaluate_plane(total, plane_of(), [[0.0]], YS), r"xs has shape \(1, 1\)"),
        (lambda: evaluate_plane(total, plane_of(), XS, 0.0), r"ys has shape \(\)"),
        (lambda: evaluate_plane(total, plane_of(), XS, []), r"ys has shape \(0,\)"),
        (lambda: evaluate_line(total, network(0), network(1), 0.5), r"fractions has shape \(\)"),
        (
            lambda: evaluate_plane(total, plane_of(), XS, YS, at_once=0),
            "at_once is 0; expected an integer in 1..",
        ),
        (
            lambda: evaluate_in_chunks(total, plane_of(), XS, YS, chunk=2.5),
            r"chunk is 2\.5; expected an integer in 1..",
        ),
        (
            lambda: evaluate_in_chunks(total, plane_of(), XS, YS, chunk=2, done=16),
            r"done is 16; expected an integer in 0\.\.15",
        ),
        (
            lambda: evaluate_in_chunks(total, plane_of(), XS, YS, chunk=2, at_once=0.5),
            r"at_once is 0\.5",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(call, words):
    with pytest.raises(InputError, match=words):
        call()
