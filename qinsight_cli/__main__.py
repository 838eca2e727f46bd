"""The entry point of `python -m qinsight_cli`, which `accelerate launch -m qinsight_cli` starts too."""

from qinsight_cli.cli import main

if __name__ == "__main__":
    main()
