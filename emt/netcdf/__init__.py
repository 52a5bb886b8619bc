"""NetCDF files of labelled arrays: written whole or not at all, with a checksum; read only where it holds.

The checksum covers every byte and is compared before the HDF5 library parses any: from a damaged file that
library makes other numbers, errors of every kind, a crash, or work without end. A file without a checksum, of
an earlier version or of another program, is first read in a process of its own, whose time is limited.
"""

from emt.netcdf.reading import read
from emt.netcdf.writing import write, write_members

__all__ = ["read", "write", "write_members"]
