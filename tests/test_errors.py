"""The family of errors: exit codes, and messages that say what to type."""

import pickle

import pytest

from curriculumnet import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.WorkFolderError, 2),
        (errors.WorkFolderBusyError, 2),
        (errors.UnknownNameError, 2),
        (errors.InputError, 3),
        (errors.SourceError, 3),
        (errors.FeaturesError, 3),
        (errors.WeightsError, 3),
        (errors.MachineError, 4),
    ],
)
def test_exit_codes(kind: type[errors.CurriculumNetError], code: int) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, errors.CurriculumNetError)


def test_every_error_of_the_family_is_in_its_drawing() -> None:
    family = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.CurriculumNetError)]
    drawn = errors.__doc__ or ""
    assert len(family) > 5
    for error in family:
        assert error.__name__ in drawn


def test_few_names_are_all_listed() -> None:
    message = str(errors.UnknownNameError("recipe", "model-x", ["model-b", "model-a"]))
    assert message == "There is no recipe 'model-x': it must be one of model-a, model-b."


def test_of_many_names_the_nearest_are_given() -> None:
    many = [f"network{i}" for i in range(50)] + ["resnet18", "resnet34"]
    message = str(errors.UnknownNameError("network", "resnet81", many, "See the list."))
    assert "resnet18" in message
    assert "network7" not in message
    assert message.endswith("See the list.")


def test_of_many_names_none_near() -> None:
    message = str(errors.UnknownNameError("network", "zzzz", [f"network{i}" for i in range(50)]))
    assert message == "There is no network 'zzzz': none of the 50 known names is near it."


def test_no_names_yet() -> None:
    assert str(errors.UnknownNameError("run", "x", [])) == "There is no run 'x': there is no run yet."


@pytest.mark.parametrize("error", [errors.SourceError("gone"), errors.UnknownNameError("recipe", "x", ["a", "b"])])
def test_an_error_comes_out_of_a_worker_process_as_it_was(error: errors.CurriculumNetError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
