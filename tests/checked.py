"""What checks the annotations of the package while it is tested: beartype, for which an int is a float as well."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
