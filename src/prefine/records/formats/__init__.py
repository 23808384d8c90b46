"""Public row formats: one file each, and one line in the table below.

A new format is a module with a `FORMAT` (see `prefine.records.formats.format`) and its line here.
"""

from prefine import errors
from prefine.records import codec
from prefine.records.formats import (
    adparaphrase,
    alpaca,
    arena,
    arena_55k,
    argilla,
    community_alignment,
    cpcd,
    creativity_edits,
    creativity_rankings,
    draft_final,
    evalbiasbench,
    fine_grained_qa,
    helpsteer,
    helpsteer2_preference,
    helpsteer3_preference,
    hh_rlhf,
    imagereward,
    item_sequence,
    label_studio,
    llmbar,
    llmfao,
    math_shepherd,
    nectar,
    nemo_rl,
    openrlhf,
    pandalm,
    pick_a_pic,
    pku_saferlhf,
    polis_votes,
    prefine,
    preflib,
    preflib_categorical,
    prism,
    prism_utterances,
    prm800k,
    product_telemetry,
    realhumaneval,
    reward_bench,
    reward_bench_2,
    sharegpt,
    shp,
    speechjudge,
    squality,
    swift,
    trl_language_modelling,
    trl_preference,
    trl_prompt_completion,
    trl_prompt_only,
    trl_stepwise,
    trl_unpaired,
    ukp_convarg_strict,
    ukp_convarg_xml,
    ultrafeedback,
    ultrafeedback_argilla,
    ultrafeedback_binarized,
    ultrafeedback_on_policy,
    videoalign,
    vote_table,
    webgpt,
)
from prefine.records.formats.format import Format, RowDict

__all__ = ["FORMATS", "Format", "fitting", "format_named"]

FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        prefine,
        trl_preference,
        trl_unpaired,
        trl_prompt_completion,
        trl_prompt_only,
        trl_language_modelling,
        trl_stepwise,
        math_shepherd,
        prm800k,
        hh_rlhf,
        ultrafeedback,
        ultrafeedback_binarized,
        ultrafeedback_argilla,
        ultrafeedback_on_policy,
        helpsteer,
        helpsteer2_preference,
        helpsteer3_preference,
        arena,
        arena_55k,
        pku_saferlhf,
        shp,
        webgpt,
        nectar,
        nemo_rl,
        reward_bench,
        reward_bench_2,
        pandalm,
        llmbar,
        evalbiasbench,
        ukp_convarg_xml,
        ukp_convarg_strict,
        llmfao,
        polis_votes,
        squality,
        fine_grained_qa,
        preflib,
        preflib_categorical,
        alpaca,
        sharegpt,
        swift,
        openrlhf,
        adparaphrase,
        creativity_edits,
        creativity_rankings,
        draft_final,
        prism,
        prism_utterances,
        community_alignment,
        imagereward,
        pick_a_pic,
        videoalign,
        speechjudge,
        argilla,
        label_studio,
        realhumaneval,
        product_telemetry,
        cpcd,
        vote_table,
        item_sequence,
    )
}


def fitting(row: RowDict, kind: str = "memory") -> list[Format]:
    """Return the formats that a row looks like; generic ones only where no other fits.

    Args:
        row: The row.
        kind: The kind of file it stands in: json, table, xml; memory for any.

    Example:
        >>> [found.name for found in fitting({"prompt": "2 + 2?", "chosen": "4", "rejected": "5"})]
        ['trl_preference']
    """
    found = [
        candidate
        for candidate in FORMATS.values()
        if kind in (*candidate.kinds, "memory") and candidate.matches(row)
    ]
    return [candidate for candidate in found if not candidate.generic] or found


def format_named(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ConfigError: If there is none; names the nearest.

    Example:
        >>> format_named("trl_preference").description
        'TRL preference: prompt (or left to the messages), chosen, rejected'
    """
    if name not in FORMATS:
        raise errors.ConfigError(
            f"{codec.unknown_key(name, FORMATS).replace('key', 'format')} Known formats: "
            f"{', '.join(FORMATS)}."
        )
    return FORMATS[name]
