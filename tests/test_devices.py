import pytest
import torch

from opendet.devices import named_device


def test_auto_is_a_device_that_is_there() -> None:
    assert named_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert named_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cda", "cuda:99"])
def test_a_device_that_is_not_there_is_one_clear_line(name: str) -> None:
    with pytest.raises(ValueError, match=f"device {name}") as refusal:
        named_device(name)
    assert "\n" not in str(refusal.value)
