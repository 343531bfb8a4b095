"""Images that belong together, such as those of a patient, and therefore err together."""

from collections.abc import Sequence

from vesalius.data.groups import compile_group_regex, find_group
from vesalius.errors import ConfigError


def name_clusters(images: Sequence[str], regex: str | None) -> list[str]:
    """The cluster of each image.

    Args:
        images: File names.
        regex: Searched in each name; its first bracket names the cluster, without brackets the whole match. None if
            every image stands for itself.

    Returns:
        As many names as images.

    Raises:
        ConfigError: If it is no regular expression, or does not match every name: an image that silently counted as a
            patient of its own would make intervals too narrow.

    >>> name_clusters(["ann_1.png", "ann_2.png", "bo_1.png"], "^[a-z]+")
    ['ann', 'ann', 'bo']
    """
    if regex is None:
        return list(images)
    pattern = compile_group_regex(regex)
    groups = [find_group(pattern, image) for image in images]
    lacking = [image for image, group in zip(images, groups, strict=True) if group is None]
    if lacking:
        raise ConfigError(
            f"--group-regex: '{regex}' must match every image's name; {len(lacking)} of {len(images)} are not matched, "
            f"the first is '{lacking[0]}'."
        )
    return [group for group in groups if group is not None]
