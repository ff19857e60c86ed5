"""The card says what is known, names the base's licence, and can't be broken by what people write."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import kept_runs
import pytest
import shared_runs
import tensor_files
import yaml
from markdown_it import MarkdownIt
from PIL import Image, PngImagePlugin

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.inspection import programs
from sdxl_train_cli.ranking import drawn_pictures, ranking
from sdxl_train_cli.ranking.picture_scores import PictureFindings, PictureScore
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run import next_steps
from sdxl_train_cli.sharing import bases, card, markdown, share_plan, subject, training_facts
from sdxl_train_cli.sharing.bases import Base, BaseSigns
from sdxl_train_cli.sharing.share_plan import Share, ShareChoices


def plan(run: Path, **choices: object) -> Share:
    return share_plan.plan(subject.find(str(run), run.parent, None), ShareChoices(**choices))  # type: ignore[arg-type]


def card_of(run: Path, **choices: object) -> str:
    return plan(run, **choices).contents["README.md"].decode()


def head(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shared_runs.keep(tmp_path / "output" / "cat")


def test_the_head_is_what_the_hub_reads(run: Path) -> None:
    found = head(card_of(run))

    assert found["base_model"] == "stabilityai/stable-diffusion-xl-base-1.0"
    assert found["base_model_relation"] == "adapter"
    assert (found["license"], found["pipeline_tag"], found["instance_prompt"]) == (
        "openrail++", "text-to-image", "ohwx cat",
    )  # fmt: skip
    assert {"lora", "stable-diffusion-xl", "template:sd-lora"} <= set(found["tags"])
    assert found["widget"][0] == {"text": "ohwx cat, garden, best quality", "output": {"url": "previews/1.png"}}


@pytest.mark.parametrize(
    ("model", "hub", "licence", "civitai"),
    [
        ("/models/sd_xl_base_1.0.safetensors", "stabilityai/stable-diffusion-xl-base-1.0", "openrail++", "SDXL 1.0"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "stabilityai/stable-diffusion-xl-base-1.0", "openrail++",
         "SDXL 1.0"),
        ("C:\\models\\NoobAI-XL-Vpred-v1.0.safetensors", "Laxhar/noobai-XL-Vpred-1.0", "noobai", "NoobAI"),
        ("/m/illustrious-xl-v0.1.safetensors", "OnomaAIResearch/Illustrious-xl-early-release-v0", "faipl-1.0-sd",
         "Illustrious"),
        ("/m/ponyDiffusionV6XL.safetensors", "AstraliteHeart/pony-diffusion-v6", "pony", "Pony"),
        ("/m/hassakuXL-illustrious_V3.safetensors", None, None, "Illustrious"),
        ("/m/mymix.safetensors", None, None, None),
        ("me/my-mix", "me/my-mix", None, None),
    ],
)  # fmt: skip
def test_a_known_base_has_its_licence_and_nothing_is_claimed_of_another(
    tmp_path: Path, model: str, hub: str | None, licence: str | None, civitai: str | None
) -> None:
    run = shared_runs.keep(tmp_path / "output" / "cat", inputs={"model": model})
    facts = plan(run).facts

    assert (facts.base.hub, facts.base.civitai) == (hub, civitai)
    assert (facts.licence.id if facts.licence else None) == licence
    assert ("license" in head(card_of(run))) is (licence is not None)


def test_a_base_is_known_by_its_checksum_whatever_its_name(tmp_path: Path) -> None:
    sha = "67ab2fd8ec439a89b3fedb15cc65f54336af163c7eb5e4f2acc98f090a29b0b3"
    path = shared_runs.lora(tmp_path / "a.safetensors", ss_new_sd_model_hash=sha, ss_sd_model_name="other.safetensors")
    link = "[Pony Diffusion V6 XL](https://huggingface.co/AstraliteHeart/pony-diffusion-v6)"

    assert f"Base: {link}, known by its checksum." in card_of(path)


def test_a_checksum_counts_more_than_the_name_of_another_base() -> None:
    pony = "67ab2fd8ec439a89b3fedb15cc65f54336af163c7eb5e4f2acc98f090a29b0b3"

    assert bases.of(BaseSigns(("sd_xl_base_1.0.safetensors",), pony)).name == "Pony Diffusion V6 XL"


def test_a_base_whose_file_name_tells_nothing_is_unknown_until_it_is_named(tmp_path: Path) -> None:
    run = shared_runs.keep(tmp_path / "output" / "cat", inputs={"model": "/models/model.safetensors"})
    share = plan(run, for_civitai=True)
    named = plan(run, for_civitai=True, base="OnomaAIResearch/Illustrious-xl-early-release-v0")

    assert json.loads(share.contents["civitai.json"])["baseModel"] is None
    assert "| Base model | `unknown` |" in share.contents["civitai.md"].decode()
    assert "Base: unknown. Its file was called `model.safetensors`." in share.contents["README.md"].decode()
    [warning] = share.warnings
    assert "the base isn't known" in warning.message
    assert warning.hint == "--base FILE_OR_ID"
    assert json.loads(named.contents["civitai.json"])["baseModel"] == "Illustrious"
    assert named.warnings == ()


def test_the_strength_is_that_of_the_runs_end_and_a_sample_keeps_the_one_it_was_drawn_with(run: Path) -> None:
    [used] = [line for line in next_steps.lines(Kind.LORA, None, run / "cat.safetensors") if "use it" in line]
    share = plan(run, for_civitai=True)
    text, form = (share.contents[name].decode() for name in ("README.md", "civitai.md"))

    assert used.endswith("strength 0.7 to 1")
    assert "- Strength to begin with: 0.7 to 1\n" in text
    assert "| Usage tips | `strength 0.7 to 1 to begin with` |" in form
    assert "<lora:cat:0.8>" in text
    assert {each.drawn.strength for each in share.facts.previews if each.drawn} == {1.0}
    assert "<lora:cat:1>" in json.loads(share.contents["civitai.json"])["images"][0]["parameters"]


@pytest.mark.parametrize(("typed", "words", "slider"), [(None, "0.7 to 1", (0.7, 1.0)), (0.5, "0.5", (0.3, 0.7))])
def test_the_verdict_of_best_and_a_typed_strength_count_more(
    run: Path, typed: float | None, words: str, slider: tuple[float, float]
) -> None:
    best = subject.find(str(run), run.parent, "best")
    share = share_plan.plan(best, ShareChoices(strength=typed, for_civitai=True))
    settings = json.loads(share.contents["civitai.json"])["settings"]

    assert f"- Strength to begin with: {words}\n" in share.contents["README.md"].decode()
    assert (settings["minStrength"], settings["maxStrength"]) == slider


def test_the_best_that_is_shared_is_the_one_that_drawn_pictures_chose(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying, good = PictureScore(None, copies=1), PictureScore(None)
    files = (run / "cat.safetensors", run / "cat-step00000003.safetensors")
    scores = {(files[0], 1.0): copying, (files[1], 0.6): good, (files[1], 1.0): copying}
    monkeypatch.setattr(drawn_pictures, "look", lambda *_: PictureFindings(scores, None, (), {}, 0))
    monkeypatch.setattr(ranking, "with_weights", lambda known, _: known)
    shared = subject.find(str(run), run.parent, "best", cast("Environment", SimpleNamespace(trains=True)))

    assert shared.path == files[1]
    assert share_plan.plan(shared, ShareChoices()).facts.strength.words == "0.6"


def test_license_overrides_and_the_bases_terms_are_told_all_the_same(run: Path) -> None:
    text = card_of(run, licence="cc-by-4.0")

    assert head(text)["license"] == "cc-by-4.0"
    assert "Licence of this file: cc-by-4.0." in text
    assert "CreativeML Open RAIL++-M" in text
    assert "shared under the same one" not in text


def test_every_row_has_a_source_and_every_licence_a_link_and_what_it_asks() -> None:
    for table in (bases.TABLE, training_facts.TABLE, card._USAGE):  # noqa: SLF001 - a data file
        for rows in untrusted_files.toml_table(table.read_text(encoding="utf-8"), table.name).values():
            assert isinstance(rows, list)
            for row in rows:
                assert row["source"]  # type: ignore[index,call-overload]
    for licence in bases._licences().values():  # noqa: SLF001 - as above
        assert licence.link
        assert licence.asks
        assert licence.hub["license"]


def test_usage_is_told_for_programs_that_inspection_knows_to_read_such_a_file() -> None:
    known = {(rule.file, rule.program) for rule in programs.load()}

    assert {(row["kind"], row["program"]) for row in card._rows()} <= known  # noqa: SLF001 - a data file


HOSTILE = '# H <img src=x onerror=alert(1)> [a](javascript:x) | ![p](//x) `c` ``` ---\n\n## B {{x}} $x$ "q" \\ *b* _u_'


def test_what_people_write_breaks_neither_head_nor_body(tmp_path: Path) -> None:
    run = shared_runs.keep(tmp_path / "output" / "cat", inputs={"trigger": HOSTILE})
    (run / "prompts.txt").write_text(HOSTILE.replace("\n", " ") + "\nb\n", encoding="utf-8")
    text = card_of(run, title=HOSTILE, description=HOSTILE, author=HOSTILE)

    assert head(text)["instance_prompt"] == HOSTILE.strip()
    html = MarkdownIt("commonmark").enable("table").render(text.split("---\n", 2)[2])
    assert "<img src=x" not in html
    assert "javascript:x" not in html.replace("[a](javascript:x)", "")
    assert html.count("<h1>") == 1
    assert html.count("<h2>") == 6
    assert html.count("<img") == 2


ODD = "ohwx \x00\x1b[31m\x7f\x85\ud800\ufffe cat \U0001f408"


def test_characters_that_no_text_holds_break_neither_card_nor_pictures(tmp_path: Path) -> None:
    run = shared_runs.keep(tmp_path / "output" / "cat", inputs={"trigger": "cat"})
    drawn = {"positive": ["1", 0], "steps": 10**30, "seed": "x"}
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": ODD}},
        "2": {"class_type": "KSampler", "inputs": drawn},
    }
    picture = tmp_path / "odd.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph))
    Image.new("RGB", (8, 8)).save(picture, pnginfo=info)
    shared_runs.lora(
        run / "cat.safetensors", ss_steps="9" * 5000, ss_epoch="9" * 5000, ss_clip_skip=ODD, ss_dataset_dirs="[1]",
        ss_tag_frequency='{"a": {"b": "c"}, "d": []}', ss_datasets='[{"resolution": {"a": NaN}}, 3]',
    )  # fmt: skip

    share = plan(run, trigger=ODD, author=ODD, title=ODD, previews=(picture,), with_tags=True, for_civitai=True)

    assert head(share.contents["README.md"].decode())["instance_prompt"] == "ohwx [31m cat \U0001f408"
    assert json.loads(share.contents["civitai.json"])["epochs"] is None
    assert share.facts.previews[0].drawn is not None
    assert share.facts.previews[0].drawn.prompt == "ohwx [31m cat \U0001f408"


@pytest.mark.parametrize("text", ["a`b", "``", "a|b", "  two\nlines ", "`x`"])
def test_a_code_span_shows_the_words_as_they_are(text: str) -> None:
    html = MarkdownIt("commonmark").enable("table").render(f"| a |\n| --- |\n| {markdown.code(text)} |\n")

    assert f"<code>{' '.join(text.split())}</code>" in html


def test_python_of_the_card_is_python(run: Path) -> None:
    for trigger in ("ohwx cat", 'a "quoted" \\ cat'):
        code = card_of(run, trigger=trigger).split("```python\n")[1].split("```")[0]
        compile(code, "card", "exec")


def test_v_prediction_is_told_with_its_scheduler(tmp_path: Path) -> None:
    run = shared_runs.keep(
        tmp_path / "output" / "cat", settings={"v_parameterization": {"value": True, "origin": "--set"}}
    )
    text = card_of(run)

    assert "It was trained for v-prediction" in text
    compile(text.split("```python\n")[1].split("```")[0], "card", "exec")
    assert 'prediction_type="v_prediction"' in text


def test_tags_are_told_only_when_asked(run: Path) -> None:
    assert "garden` (2)" not in card_of(run)
    assert "Commonest tags: `ohwx cat` (3), `garden` (2)." in card_of(run, with_tags=True)


MODULE = "lora_unet_middle_block_1_transformer_blocks_9_attn1_to_k"
FACTORS = {f"{MODULE}.lora_down.weight": (4, 8), f"{MODULE}.lora_up.weight": (8, 4), f"{MODULE}.alpha": ()}
CONVOLUTION = "lora_unet_input_blocks_3_0_op"
KINDS: dict[str, tuple[dict[str, tuple[int, ...]], str, str]] = {
    "locon": (
        {f"{CONVOLUTION}.lora_down.weight": (4, 8, 3, 3), f"{CONVOLUTION}.lora_up.weight": (8, 4, 1, 1),
         f"{CONVOLUTION}.alpha": ()}, "LoCon", "A LoCon, rank 4",
    ),
    "loha": ({f"{MODULE}.hada_w{n}_{x}": (4, 4) for n in "12" for x in "ab"}, "LoCon", "An SDXL LoHa, rank 4"),
    "lokr": ({f"{MODULE}.lokr_w1": (4, 4), f"{MODULE}.lokr_w2": (4, 4)}, "LoCon", "An SDXL LoKr"),
    "dora": ({**FACTORS, f"{MODULE}.dora_scale": (8, 1)}, "DoRA", "An SDXL LoRA, rank 4"),
    "word": ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "TextualInversion", "An SDXL embedding"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_a_card_and_a_type_of_civitais(tmp_path: Path, name: str) -> None:
    tensors, kind, what = KINDS[name]
    path = tensor_files.write(
        tmp_path / f"{name}.safetensors", {key: tensor_files.numbers(*shape) for key, shape in tensors.items()}
    )
    share = plan(path, for_civitai=True)

    assert json.loads(share.contents["civitai.json"])["type"] == kind
    assert f"\n{what}" in share.contents["README.md"].decode()
    assert name in share.contents["civitai.md"].decode()


def test_what_the_run_found_is_in_the_card_and_a_useless_file_is_told(tmp_path: Path) -> None:
    run = shared_runs.keep(tmp_path / "output" / "cat")
    nothing = {"trouble": "nothing learned", "message": "nothing was learned: all is idle", "is_fatal": True}
    outcome = json.loads((run / "outcome.json").read_text(encoding="utf-8"))
    outcome["examined"] = [{**shared_runs.EXAMINED, "summary": "nothing learned", "findings": [nothing]}]
    (run / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")
    kept_runs.metrics(run, 6, validation_loss=0.5)
    share = plan(run)

    assert "- nothing was learned: all is idle" in share.contents["README.md"].decode()
    assert "On held-back pictures: loss 0.5000 at step 6" in share.contents["README.md"].decode()
    assert str(share.warnings[0]) == "the run found it of no use: nothing was learned: all is idle"


def test_a_checkpoint_is_a_finetune_of_its_base(tmp_path: Path) -> None:
    path = tensor_files.write(tmp_path / "big.safetensors", tensor_files.checkpoint())
    text = card_of(path, base="stabilityai/stable-diffusion-xl-base-1.0", trigger="ohwx")

    assert head(text)["base_model_relation"] == "finetune"
    assert 'from_single_file(\n    "big.safetensors"' in text
    assert "Strength" not in text


YOURS, NO = "yours to decide", "not allowed by the licence"
ASKED = f"{NO} without the consent of the base's author"


@pytest.mark.parametrize(
    ("base", "typed", "allowed", "selling", "merges", "others"),
    [
        ("sd_xl_base_1.0", None, (None, None, None), YOURS, YOURS, YOURS),
        ("Illustrious-XL-v0.1", None, (None, True, False), YOURS, "allowed by the licence", NO),
        ("NoobAI-XL-v1.1", None, ([], True, False), NO, "allowed by the licence", NO),
        ("NoobAI-XL-v1.0", None, ([], True, False), NO, "allowed by the licence", NO),
        ("NoobAI-XL-Vpred-v1.0", None, ([], True, False), NO, "allowed by the licence", NO),
        ("ponyDiffusionV6XL", None, ([], True, False), ASKED, "allowed by the licence", NO),
        ("waiIllustrious_v14", None, (None, None, None), YOURS, YOURS, YOURS),
        ("NoobAI-XL-v1.1", "mit", ([], True, False), NO, "allowed by the licence", NO),
        ("sd_xl_base_1.0", "noobai", ([], True, False), NO, "allowed by the licence", NO),
        ("sd_xl_base_1.0", "Fair AI Public License 1.0-SD", (None, True, False), YOURS, "allowed by the licence", NO),
    ],
)
def test_civitais_form_has_what_the_licences_of_base_and_file_allow(  # noqa: PLR0913, PLR0917 - a row of the table
    tmp_path: Path, base: str, typed: str | None, allowed: tuple[object, ...], selling: str, merges: str, others: str
) -> None:
    run = shared_runs.keep(tmp_path / "output" / "cat", inputs={"model": f"/m/{base}.safetensors"})
    share = plan(run, for_civitai=True, licence=typed)
    data = json.loads(share.contents["civitai.json"])
    form = share.contents["civitai.md"].decode()

    assert (data["allowCommercialUse"], data["allowDerivatives"], data["allowDifferentLicense"]) == allowed
    assert "allowNoCredit" not in data
    assert f"| Selling pictures, services or the model | `{selling}` |" in form
    assert f"| Merges | `{merges}` |" in form
    assert f"| Other permissions for merges | `{others}` |" in form
    assert "| Credit to the creator | `yours to decide` |" in form


def test_a_file_that_must_keep_its_bases_licence_is_not_silently_given_another(tmp_path: Path) -> None:
    run = shared_runs.keep(tmp_path / "output" / "cat", inputs={"model": "/m/ponyDiffusionV6XL.safetensors"})
    told = "the licence of Pony Diffusion V6 XL asks that this file is shared under the same one: modified Fair AI"

    assert plan(run).warnings == plan(run, licence="pony").warnings == ()
    [warning] = plan(run, licence="mit").warnings
    assert warning.message.startswith(told)
    assert warning.hint == "leave out --license"


def test_a_preview_is_told_to_civitai_with_the_strength_it_was_drawn_with(run: Path) -> None:
    data = json.loads(plan(run, for_civitai=True).contents["civitai.json"])

    assert data["settings"] == {"minStrength": 0.7, "maxStrength": 1.0, "strength": 0.8}
    assert data["images"][0]["parameters"].startswith("ohwx cat, garden, best quality <lora:cat:1>\n")


def test_signs_of_no_base_name_none() -> None:
    assert bases.of(BaseSigns()) == Base("")
