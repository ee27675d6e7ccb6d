"""Objects that whoever installs adds to the release."""

import helm_python
import pytest

from chart_renderer import render

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}, "data": {"key": "value"}}


def test_by_default_there_is_none() -> None:
    assert "more" not in render().names("ConfigMap")


def test_every_object_is_part_of_the_release() -> None:
    other = {**CONFIG_MAP, "metadata": {"name": "still-more"}}
    release = render({"extraObjects": [CONFIG_MAP, other]})

    assert release.find("ConfigMap", "more") == CONFIG_MAP
    assert release.find("ConfigMap", "still-more") == other


def test_an_object_may_use_the_charts_templates() -> None:
    templated = {**CONFIG_MAP, "metadata": {"name": '{{ include "freeze-bench.fullname" . }}-more'}}

    assert "bench-freeze-bench-more" in render({"extraObjects": [templated]}).names("ConfigMap")


def test_a_template_that_does_not_exist_is_named() -> None:
    with pytest.raises(helm_python.HelmError, match="no-such-template"):
        render({"extraObjects": [{**CONFIG_MAP, "data": {"key": '{{ include "no-such-template" . }}'}}]})
