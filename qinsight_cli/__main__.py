"""`python -m qinsight_cli`, which is also what `accelerate launch -m qinsight_cli` starts."""

from qinsight_cli.cli import main

if __name__ == "__main__":
    main()
