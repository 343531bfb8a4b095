"""``vesalius --install-completion``."""

from typing import Literal


def install_completion(shell: Literal["bash", "zsh", "fish", "powershell"] | None = None, /) -> None:
    """Let the shell complete commands and options; open a new shell afterwards.

    Writes a script where the shell looks for completions, and for bash, zsh and PowerShell a line into its startup file
    that loads it. Do it again after an update: the script knows the commands of one version.

    Examples:
        vesalius --install-completion
        vesalius --install-completion zsh

    Documentation:
        README.md

    Args:
        shell: By default the one that this is called from.
    """
    from cyclopts.completion.detect import ShellDetectionError

    from vesalius.cli import app
    from vesalius.console import say
    from vesalius.errors import ConfigError

    try:
        script = app.install_completion(shell=shell)
    except ShellDetectionError as error:
        remedy = "name it: vesalius --install-completion bash (or zsh, fish, powershell)"
        raise ConfigError(f"which shell calls is not to be seen; {remedy}.") from error
    say(f"Written: {script}; open a new shell to use it.")
