"""`python -m thumbstream`."""

from thumbstream.cli import main

main(prog_name="thumbstream")
