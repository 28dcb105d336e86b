"""The command line: `assistantcron run`."""

from __future__ import annotations

import sys

import click


@click.group()
def main() -> None:
    """Run LangGraph assistants on a schedule, from Kubernetes resources."""


@main.command()
def run() -> None:
    """Run the operator."""
    from assistantcron import app  # noqa: PLC0415 - kopf and kubernetes take a second to import

    sys.exit(app.main())
