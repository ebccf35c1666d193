"""What tests ask of every figure."""

import io

import matplotlib as mpl
import matplotlib.backends.backend_agg
import pytest


@pytest.fixture(scope="module")
def png(request):
    """A function that draws a figure into the bytes of a PNG file, with few pixels.

    It lays out the first figure of a file, as users see it, and no other, unless with --optimized:
    the layout takes most of the time and is the same work for all.
    """
    drawn, every = [], request.config.getoption("--optimized")

    def draw(figure):
        if drawn and not every:
            figure.set_layout_engine("none")
        drawn.append(True)
        buffer = io.BytesIO()
        figure.set_dpi(50)
        mpl.backends.backend_agg.FigureCanvasAgg(figure).print_png(buffer)
        return buffer.getvalue()

    return draw


@pytest.fixture
def texts():
    """A function that lists all texts of a figure."""
    return lambda figure: [
        text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()
    ]
