"""Draws the demo data set into data/demo."""

from pathlib import Path

from diagxnet.demo.draw import draw_demo
from diagxnet.params.checked import read_params
from diagxnet.params.demo import DemoParams
from stages.running import run


def main() -> None:
    demo = read_params(demo=DemoParams).demo
    draw_demo(Path("data/demo"), images=demo.images, test_images=demo.test_images, seed=demo.seed, size=demo.size)


if __name__ == "__main__":
    run("make_demo", main)
