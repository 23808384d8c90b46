"""Pick-a-Pic pairs (Kirstain et al. 2023, arXiv:2305.01569): which of two images somebody picked.

`caption` is the prompt, `jpg_0` and `jpg_1` are the images' bytes (base64 here) or `image_0_url`
their addresses, `label_0` says how much of the vote the first got: 1, 0, or 0.5 for a tie. A row
without a label (`has_label` false) has no judgment. No row is printed where it could be cited. The
columns, as the data set's card (huggingface.co/datasets/yuvalkirstain/pickapic_v1; it names no
licence, the project's code is MIT) has them:

    are_different, best_image_uid, caption, created_at, has_label, image_0_uid, image_0_url,
    image_1_uid, image_1_url, jpg_0, jpg_1, label_0, label_1, model_0, model_1, ranking_id,
    user_id, num_example_per_prompt, __index_level_0__
"""

from prefine.errors import RecordError
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    flag_of,
    name_of,
    number_of,
    only,
    text_of,
)
from prefine.records.message import Message, Part
from prefine.records.schema import UNKNOWN_RATER, Candidate, Judgment, Origin, Rater, Record

NAME = "pick_a_pic"
META = ("are_different", "best_image_uid", "num_example_per_prompt", "__index_level_0__")
OF_IMAGE = ("image_{}_uid", "image_{}_url", "jpg_{}", "label_{}", "model_{}")
KNOWN = (
    "caption",
    "created_at",
    "has_label",
    "ranking_id",
    "user_id",
    *META,
    *(key.format(at) for key in OF_IMAGE for at in (0, 1)),
)
WINNERS = {(1, 0): "c0", (0, 1): "c1", (0.5, 0.5): "tie"}


def matches(row: RowDict) -> bool:
    """A caption and labels of two images."""
    return all(key in row for key in ("caption", "label_0", "label_1"))


def read(row: RowDict, where: Where) -> Record:
    """Make a record with two images."""
    only(row, KNOWN, NAME)
    rater = Rater(name_of(row, "user_id"), "human") if row.get("user_id") is not None else None
    shown = ("c0", "c1")
    tags = {"time": text_of(row, "created_at")} if row.get("created_at") else {}
    labelled = flag_of(row, "has_label") if row.get("has_label") is not None else True
    judgments: tuple[Judgment, ...] = ()
    if labelled:
        winner = _winner(row)
        judgments = (Judgment("j0", "pair", shown, rater or UNKNOWN_RATER, winner=winner),)
    return Record(
        source=where.source(row=name_of(row, "ranking_id") if row.get("ranking_id") else None),
        context=(Message("user", text_of(row, "caption")),),
        candidates=(_candidate(row, 0), _candidate(row, 1)),
        judgments=judgments,
        tags=tags,
        meta={key: row[key] for key in META if row.get(key) is not None},
    )


def _winner(row: RowDict) -> str:
    labels = (number_of(row, "label_0"), number_of(row, "label_1"))
    if labels not in WINNERS:
        raise RecordError(
            f"`label_0` and `label_1` must be 1 and 0, 0 and 1, or 0.5 twice, got {labels[0]} and "
            f"{labels[1]}."
        )
    return WINNERS[labels]  # type: ignore[index]


def _candidate(row: RowDict, at: int) -> Candidate:
    address, content = row.get(f"image_{at}_url"), row.get(f"jpg_{at}")
    if not address and not content:
        raise RecordError(f"image {at} has neither `jpg_{at}` nor `image_{at}_url`.")
    uid, model = row.get(f"image_{at}_uid"), row.get(f"model_{at}")
    image = Part(
        "image",
        uri=text_of(row, f"image_{at}_url") if address else None,
        mime="image/jpeg" if content else None,
        id=text_of(row, f"image_{at}_uid") if uid else None,
        data=text_of(row, f"jpg_{at}") if content else None,
    )
    origin = Origin("model", model=text_of(row, f"model_{at}")) if model else None
    return Candidate(f"c{at}", (Message("assistant", (image,)),), origin=origin)


FORMAT = Format(
    name=NAME,
    description="Pick-a-Pic: caption, two images, label_0 and label_1",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
)
