"""`collapse-jax` and `python -m collapse_jax`: signals are heard before the first package is imported."""

import sys

from collapse_jax.cli.stopping import stop_at_once


def main() -> None:
    """Run the command line and exit with its code."""
    stop_at_once()
    try:
        from collapse_jax.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("\ncollapse-jax: interrupted before anything was begun.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
