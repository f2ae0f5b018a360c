"""``python -m curriculumnet``."""

from curriculumnet.cli import main

if __name__ == "__main__":
    main()
