"""Tables of a TOML file, read strictly: what is of a wrong kind or that nobody asks for is an error."""

from collections.abc import Iterator, Mapping, Sequence

from vesalius.errors import PromptError, unknown_name

Table = Mapping[str, object]


class TableReader:
    """One table.

    Args:
        row: The parsed table.
        source: File it stands in.
        path: Names of the tables that lead to it.

    Raises:
        PromptError: If it is no table.
    """

    def __init__(self, row: object, source: str, path: Sequence[str] = ()) -> None:
        self._row, self._source, self._path = row if isinstance(row, dict) else {}, source, tuple(path)
        self._asked: set[str] = set()
        if not isinstance(row, dict):
            raise PromptError(f"{self.place}: expected a table, got {row!r}.")

    @property
    def place(self) -> str:
        """File and table, for messages."""
        return f"{self._source} [{'.'.join(self._path)}]" if self._path else self._source

    def rest(self) -> list[str]:
        """Keys that nobody has asked for yet."""
        return [key for key in self._row if key not in self._asked]

    def table(self, key: str) -> "TableReader":
        """A table within, empty if there is none."""
        return TableReader(self._take(key, {}), self._source, (*self._path, key))

    def tables(self) -> Iterator[tuple[str, "TableReader"]]:
        """All tables within, by name."""
        for key in self.rest():
            yield key, self.table(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A string.

        Raises:
            PromptError: If it is none, or is missing and has no default.
        """
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self._refusal(key, "a string", value)
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A string or a list of strings.

        Raises:
            PromptError: If it is neither, or is missing and has no default.
        """
        value = self._take(key, default)
        if value is default and default is not None:
            return default
        values = [value] if isinstance(value, str) else value
        if not (isinstance(values, list) and values and all(isinstance(each, str) for each in values)):
            raise self._refusal(key, "a string or a list of strings", value)
        return tuple(values)

    def flag(self, key: str) -> bool:
        """True or false, false if missing.

        Raises:
            PromptError: If it is neither.
        """
        value = self._take(key, False)
        if not isinstance(value, bool):
            raise self._refusal(key, "true or false", value)
        return value

    def refuse_others(self) -> None:
        """Find a key that nobody has asked for.

        Raises:
            PromptError: If there is one, with the closest that would be understood.
        """
        if others := self.rest():
            raise PromptError(f"{self.place}: {unknown_name('key', others[0], self._asked)}")

    def _take(self, key: str, default: object) -> object:
        self._asked.add(key)
        return self._row.get(key, default)

    def _refusal(self, key: str, expected: str, got: object) -> PromptError:
        return PromptError(f"{self.place}: {key} must be {expected}, got {'nothing' if got is None else repr(got)}.")
