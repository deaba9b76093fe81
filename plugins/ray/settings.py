"""The table ``[ray]`` of the user's config file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ... import UsageError, user_table


class RaySettings(BaseModel):
    """How the cluster is reached and used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(
        "auto",
        pattern=r"^(auto|[^/]+:[0-9]{1,5})$",
        description="of the head, HOST:PORT; auto: RAY_ADDRESS, or a head on this machine",
    )
    host: str | None = Field(None, description="address of the host that all workers run on; None: one is chosen")


def read_settings(address: str | None = None) -> RaySettings:
    """Read them.

    Args:
        address: that the command was given; None: that of the table.

    Raises:
        UsageError: one is unknown or out of range.
    """
    table = user_table("ray")
    try:
        return RaySettings.model_validate(table if address is None else {**table, "address": address})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the table"
        known = ", ".join(RaySettings.model_fields)
        if field == "address" and address is not None:
            raise UsageError(f"--address {address!r}: write HOST:PORT, or auto", code="bad-value") from error
        raise UsageError(
            f"[ray] of the config file: {field}: {first['msg']}; it may have {known}", code="bad-value"
        ) from error
