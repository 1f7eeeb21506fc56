"""What is learnt of an endpoint is learnt once in a run: by all of its shards together, and for all of its attempts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.endings import Server, agree, options_of, stopped_at, transport_of
from support.misbehaving import Act, Seen
from support.running import SOCIETIES, settings_of

from populace.cluster.coordinator import Coordinator
from populace.core.errors import Interrupted
from populace.data.societies import find_society
from populace.models.dialect import EndpointForm, EndpointForms, Form
from populace.runs.courses import resume_course
from populace.store.folder import ENDPOINTS, read_endpoint_forms

FORMS = st.builds(
    EndpointForm,
    st.builds(
        Form,
        st.sampled_from(["max_tokens", "max_completion_tokens"]),
        st.booleans(),
        st.booleans(),
        st.sampled_from([20, 5, 0]),
        st.sampled_from(["json_schema", "json_object", "prompt"]),
    ),
    st.dictionaries(st.sampled_from(["aa", "bb"]), st.sampled_from(["json_object", "prompt"])),
)


def joined(*forms: EndpointForm) -> EndpointForm:
    whole = EndpointForms()
    for form in forms:
        whole.join({"at": form})
    return whole.at("at")


@given(FORMS, FORMS, FORMS)
def test_what_processes_have_learnt_adds_up_in_any_order(a: EndpointForm, b: EndpointForm, c: EndpointForm) -> None:
    assert joined(a, b, c) == joined(c, a, b) == joined(joined(a, b), joined(b, c)) == joined(a, b, c, a)
    both = joined(a, b)
    for parameter in ("max_tokens", "temperature", "seed", "logprobs", "response_format"):
        assert getattr(both.form, parameter) in (getattr(a.form, parameter), getattr(b.form, parameter))
    assert joined(EndpointForm(), a) == a


@given(FORMS)
def test_what_was_learnt_comes_back_from_the_folder(form: EndpointForm) -> None:
    learnt = EndpointForms({"at": form}).learnt()
    assert msgspec.json.decode(msgspec.json.encode(learnt), type=dict[str, EndpointForm]) == learnt
    assert (learnt == {}) == (form == EndpointForm())


_REFUSES = b'{"error": {"message": "Only the default temperature (1) is supported", "param": "temperature"}}'


def without_temperature() -> Server:
    """An endpoint that takes no temperature."""

    def act(seen: Seen) -> Act | None:
        return Act(kind="status", status=400, body=_REFUSES) if seen.body and "temperature" in seen.body else None

    return Server(act)


def refused(server: Server) -> int:
    return sum(seen.status == 400 for seen in server.seen)


def stopped(out: Path, kind: str) -> Server:
    with without_temperature() as server:
        settings = settings_of(**options_of(server, 2))
        coordinator = Coordinator(find_society(SOCIETIES), settings, transport_of(kind), out)
        with pytest.raises(Interrupted):
            asyncio.run(stopped_at(coordinator, server, 150))
    assert 0 < refused(server) <= 8, "those in flight when the first was refused"
    return server


def resumed(out: Path, kind: str, server: Server, before: Server) -> int:
    """How many calls the later life was refused."""
    with server:
        file = out / ENDPOINTS
        if file.exists():  # the same endpoint, which the test begins anew at another port
            file.write_text(file.read_text().replace(before.base_url, server.base_url))
        going = resume_course(out, endpoint__base_url=server.base_url)
        asyncio.run(Coordinator(going.origin, going.settings, transport_of(kind), out, (), going.course).run())
    agree(out, before, server)
    return refused(server)


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_later_life_of_a_run_begins_with_it(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    first = stopped(tmp_path, kind)
    assert read_endpoint_forms(tmp_path) == {first.base_url: EndpointForm(Form(temperature=False))}
    assert resumed(tmp_path, kind, without_temperature(), first) == 0


def test_control_without_its_file_it_is_learnt_again(tmp_path: Path) -> None:
    first = stopped(tmp_path, "local")
    (tmp_path / ENDPOINTS).write_text("{")
    assert read_endpoint_forms(tmp_path) == {}
    assert resumed(tmp_path, "local", without_temperature(), first) > 0
