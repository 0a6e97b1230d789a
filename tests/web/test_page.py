"""The demo's page in headless Chromium as phones are: answers, deferrals, networks, no stall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from web_site import PAGE, Site, ask, ready

pytestmark = pytest.mark.web

AXE = Path(__file__).resolve().parents[2] / "edge/web/node_modules/axe-core/axe.min.js"

PHONES = ("Pixel 7", "iPhone 13", "iPhone SE")


def choose(page: Any, network: str, *, airplane: bool = False) -> None:
    page.select_option("#profile", label=network)
    page.set_checked("#airplane", airplane)


@pytest.mark.parametrize("phone", PHONES)
def test_a_phone_answers_by_itself_and_asks_where_it_must(
    opened: Any, clouded: Site, phone: str, tmp_path: Path
) -> None:
    with opened(clouded.url, phone) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        assert "parameters" in ready(page)
        choose(page, "free")
        assert "Answered by this device" in ask(page, "cascade")
        assert page.inner_text("#answer") == "K AE S K EY D"
        tokens = page.locator("#tokens li").all_inner_texts()
        assert [one.split("\n")[0] for one in tokens] == ["K", "AE", "S", "K", "EY", "D", "(end)"]
        assert all(one.endswith("%") for one in tokens)
        assert "the answer stands" in page.get_attribute("#gauge", "aria-label")
        assert "Answered by large" in ask(page, "queue")
        assert "goes up" in page.get_attribute("#gauge", "aria-label")
        assert page.inner_text("#count-asked") == "2"
        assert page.inner_text("#count-calls") == "1"
        assert page.locator("#history tr").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        small = page.evaluate(
            "[...document.querySelectorAll('button, select, input[type=text]')]"
            ".filter(e => e.getBoundingClientRect().height < 44).map(e => e.id)"
        )
        assert small == []
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        origins = {url.split("/")[2] for url in asked}
        assert len(origins) <= 2, "the page, the cloud and nobody else"


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_can_be_used_without_seeing_it_well(opened: Any, clouded: Site, colours: str) -> None:
    """WCAG 2.2 AA as far as axe finds out by itself: names, roles, contrast, sizes, order."""
    with opened(clouded.url, "Pixel 7", color_scheme=colours) as page:
        ready(page)
        choose(page, "free")
        ask(page, "cascade")
        ask(page, "queue")
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 20
        faults = [
            (one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]
        ]
        assert faults == []


def test_the_page_is_light_and_its_policy_strict(opened: Any, site: Site) -> None:
    compressed = [path.stat().st_size for path in PAGE.rglob("*.gz") if "asyncify" not in path.name]
    assert len(compressed) > 10
    assert sum(compressed) < 8e6
    with opened(site.url, complains=True) as page:
        ready(page)
        page.evaluate(
            "window.refused = []; addEventListener('securitypolicyviolation',"
            " one => refused.push(one.effectiveDirective));"
        )
        page.evaluate(
            "for (const [kind, at] of [['script', 'src'], ['img', 'src'], ['iframe', 'src']]) {"
            " const one = document.createElement(kind); one[at] = 'https://other.example/x';"
            " document.body.append(one); }"
            "const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
            "document.body.append(one); fetch('https://other.example/').catch(() => 0); 0"
        )
        page.wait_for_function("() => refused.length >= 5")
        assert set(page.evaluate("refused")) == {
            "script-src-elem", "img-src", "frame-src", "connect-src",
        }  # fmt: skip
        assert page.evaluate("window.ran") is None


def test_a_network_takes_its_time_and_an_airplane_takes_none(opened: Any, clouded: Site) -> None:
    with opened(clouded.url) as page:
        ready(page)
        choose(page, "free")
        ask(page, "queue")  # who is there is asked once
        choose(page, "coe-1s")
        assert "Answered by large" in ask(page, "chihuahua")
        assert int(page.inner_text("#above").split()[3]) >= 1000
        choose(page, "coe-1s", airplane=True)
        who = ask(page, "chihuahua")
        assert "did not answer" in who
        assert "airplane" in who
        assert page.inner_text("#answer") == "CH IH HH Y UW AH"
        choose(page, "free")
        assert "Answered by large" in ask(page, "chihuahua")
        page.fill("#threshold", page.get_attribute("#threshold", "max"))
        assert "Answered by this device" in ask(page, "chihuahua")
        page.fill("#threshold", "0")
        assert "Answered by large" in ask(page, "cascade")


def test_what_cannot_be_asked_is_said_in_a_line(opened: Any, site: Site) -> None:
    with opened(site.url) as page:
        ready(page)
        page.evaluate("document.querySelector('#prompt').removeAttribute('maxlength')")
        assert "tokens; this model takes 1 to 95" in ask(page, "x" * 200)
        assert "Answered by this device" in ask(page, "cascade")


def test_the_page_never_stalls(opened: Any, site: Site) -> None:
    with opened(f"{site.url}/demo.json") as page:
        page.add_init_script(
            "window.longest = 0; new PerformanceObserver(list => { for (const one of"
            " list.getEntries()) longest = Math.max(longest, one.duration); })"
            ".observe({type: 'longtask', buffered: true});"
        )
        page.goto(site.url)
        ready(page)
        before = page.evaluate("longest")
        for word in ("cascade", "encyclopedia", "photographer"):
            ask(page, word)
        # A frame that is late is one of 50 ms and more; what it drew took no model.
        assert page.evaluate("longest") - before < 100


@pytest.mark.parametrize("phone", PHONES[:2])
def test_a_slow_phone_still_answers(opened: Any, site: Site, phone: str) -> None:
    with opened(site.url, phone) as page:
        devtools = page.context.new_cdp_session(page)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        ready(page)
        assert "Answered by this device" in ask(page, "cascade")


def test_a_phone_on_slow_4g_shows_how_far_it_is(opened: Any, site: Site) -> None:
    with opened(f"{site.url}/demo.json") as page:
        devtools = page.context.new_cdp_session(page)
        devtools.send("Network.enable")
        # Lighthouse's slow 4G.
        slow = {"latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8}
        devtools.send("Network.emulateNetworkConditions", {"offline": False, **slow})
        page.goto(site.url)
        assert page.locator("#progress").is_visible()
        assert page.is_disabled("#ask")
        assert "parameters" in ready(page)
        assert "Answered by this device" in ask(page, "cascade")
