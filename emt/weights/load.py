"""Weights that another program trained: `emt.load_weights`."""

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from emt import tensor_file
from emt.errors import UserError
from emt.files import explain_os_error
from emt.weights.archive import read_archive

_ZIP, _PICKLE = b"PK", b"\x80"


class Weights(dict[str, Tensor]):
    """Tensors by name, as `load_weights` returns them; ``load_state_dict`` takes them as they are."""

    def network(
        self,
        *,
        recurrent: str | None = None,
        readout: str | None = None,
        nonlinearity: Literal["tanh", "relu"] | None = None,
    ) -> nn.Module:
        """Return the recurrent network that these weights are of, for `emt.from_torch`.

        It takes what its recurrent layer takes, (batch, time, channel): an embedding before it, and all else
        but the layer and a linear readout, stays out. Kind, sizes, levels, biases and projection of the layer
        follow from the shapes: ``weight_hh`` has as many rows as columns in an nn.RNN, three times as many in a
        GRU and four times in an LSTM.

        Parameters
        ----------
        recurrent
            name of the layer, which its weights' names start with ("encoder.rnn"); needed if there are
            several
        readout
            name of the readout's matrix ("head.weight"), (output, unit); needed where several matrices have as
            many columns as the layer has units
        nonlinearity
            of an nn.RNN, which the file does not say

        Raises
        ------
        UserError
            If the tensors are not those of one recurrent layer that runs forwards.

        """
        from emt.weights.recurrent import build_network

        return build_network(self, recurrent, readout, nonlinearity)


def load_weights(path: str | Path) -> Weights:
    """Return the tensors of a weight file by name.

    It reads ``.safetensors``, and checkpoints in torch's zip format: ``.pt``, ``.pth``, ``.bin`` and Lightning's
    ``.ckpt``, whatever else they hold. Nothing in the file is run. Of a checkpoint only the network's tensors
    are returned, those below ``state_dict``, ``model_state_dict`` or ``model`` if there is such a part. Tensors
    have the file's type and order of axes.

    Raises
    ------
    UserError
        If the file is missing, damaged, of an older format, or holds no tensors, or sparse or quantised ones.

    Examples
    --------
    A checkpoint of one's own, for a network that is there, and for one that is built from the file:

    >>> network = torch.nn.RNN(3, 8)
    >>> torch.save({"state_dict": network.state_dict()}, "model.ckpt")
    >>> weights = emt.load_weights("model.ckpt")
    >>> network.load_state_dict(weights)
    <All keys matched successfully>
    >>> run = emt.from_torch(weights.network(nonlinearity="tanh"), emt.trials(np.ones((4, 10, 3))))

    Of a network that was trained here:

    >>> weights = emt.load_weights("demo/repeat_copy/model-1/checkpoint/weights.safetensors")
    >>> weights["rnn.weight_hh_l0"].shape
    torch.Size([128, 128])
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such file: {path}", parameter="path")
    try:
        tensors = _read(path)
    except OSError as error:
        raise UserError(explain_os_error(error), parameter="path") from None
    except ValueError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())[:400]}") from None
    if not tensors:
        raise UserError(
            f"{path}: expected tensors by name; found none (save network.state_dict(), not the network)"
        )
    return Weights(tensors)


def _read(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        start = file.read(2)
    if start == _ZIP:
        return read_archive(path)
    if start[:1] == _PICKLE:
        raise ValueError("expected torch's zip format; got an older one (save it again with torch.save)")
    return _read_safetensors(path.read_bytes())


def _read_safetensors(content: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    try:
        # Tensors lie in the file as they come; in memory of their own, sums round as they do elsewhere.
        tensors = {name: tensor.clone() for name, tensor in load(content).items()}
        checksummed = tensor_file.has_checksum(content)
    except Exception as error:
        # The library raises its own error, KeyError, TypeError and more.
        raise ValueError(f"expected safetensors or torch's zip format; got {error}") from None
    if checksummed:
        tensor_file.from_bytes(content)
    return tensors
