"""All questions, in the order in which they are asked: what is most important and cheap first."""

from experiments.benchmarks.questions import curvature, ensembles, products, walks
from experiments.benchmarks.questions.question import Question
from experiments.benchmarks.questions.sizes import Sizes


def catalogue(sizes: Sizes) -> tuple[Question, ...]:
    """Return the questions with candidates of these sizes."""
    first = sizes.images[0]
    return (
        *(ensembles.mapping(sizes, images) for images in sizes.images),
        *(
            products.convolutions(sizes, images, last=last, members=members)
            for members in (1, sizes.members)
            for images in sizes.images
            for last in (False, True)
        ),
        products.gram(sizes),
        *(ensembles.precision(sizes, images) for images in sizes.images),
        ensembles.numbers(sizes, first),
        curvature.precision_of_products(sizes),
        curvature.precision_of_losses(sizes),
        curvature.points_at_once(sizes),
        walks.landscapes(sizes),
        walks.numbers(sizes),
        walks.stable_fits(sizes),
        ensembles.compilation(sizes, first),
        ensembles.report(sizes, first),
        ensembles.after_a_window(sizes, first),
        curvature.eigenpairs(sizes),
        *(ensembles.numbers(sizes, images) for images in sizes.images[1:]),
    )
