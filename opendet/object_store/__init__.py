"""Data sets and images at an address: object stores, and whatever else fsspec opens.

    ADDRESS/current.json                    names the version; all that ever changes
    ADDRESS/versions/<sha256>.json          the manifest's own files of a version, with hashes
    ADDRESS/objects/<ab>/<sha256>.<suffix>  every file, named by its bytes

Objects are written first, then looked at again, then the version that names them, then the pointer
in one request. So whoever follows the pointer finds a whole data set, the old one or the new.
"""
