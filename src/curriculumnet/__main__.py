"""The program ``curriculumnet``, also as ``python -m curriculumnet``."""

import sys


def main() -> None:
    """Run the command that was typed; Ctrl-C is one sentence from the first moment on."""
    try:
        from curriculumnet.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
