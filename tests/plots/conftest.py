"""What tests ask of every figure."""

import io

import matplotlib as mpl
import pytest


@pytest.fixture
def png():
    """A function that draws a figure into the bytes of a PNG file, with few pixels."""

    def draw(figure):
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=50)
        return buffer.getvalue()

    return draw


@pytest.fixture
def texts():
    """A function that lists all texts of a figure."""
    return lambda figure: [
        text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()
    ]
