//! The page of `report --html` in a headless Chromium: what is drawn, in light and in dark, and
//! that nothing is asked for outside.
//!
//! `make pages` runs it, as root. Every browser runs in a network namespace of its own, in which
//! there is nothing. The pictures stay in target/pages, for people to see.

#[path = "../support/mod.rs"]
mod support;

mod browser;

use browser::{Browser, Scheme};
use support::clock::FRESH;
use support::page;

/// Colors of page.css: the bar of what is fine, in light and in dark.
const FINE: [[u8; 3]; 2] = [[0x2c, 0x9c, 0x78], [0x2f, 0x9f, 0x7b]];

fn every_state(name: &str) -> Browser {
    let ran = page::every_state().run(FRESH, &["report", "--html", "-"]).exits(0);
    Browser::with(name, &ran.stdout)
}

#[test]
fn the_page_is_valid_html() {
    let browser = every_state("valid");
    browser.is_valid();
    let broken = Browser::with("invalid", "<!DOCTYPE html><title>x</title><p><b></p>");
    assert!(
        std::panic::catch_unwind(|| broken.is_valid()).is_err(),
        "the judge finds nothing"
    );
}

#[test]
fn the_document_shows_every_name_as_text_and_runs_nothing() {
    let document = every_state("document").document();
    for (name, _) in page::ROWS.iter().filter(|(name, _)| *name != page::HOSTILE) {
        assert!(
            document.contains(&format!("<th scope=\"row\">{name}</th>")),
            "no {name} in {document}"
        );
    }
    assert!(
        document.contains("own-&lt;img src=x onerror=alert(1)&gt;&amp;amp;"),
        "{document}"
    );
    assert!(
        !document.contains("<img") && !document.contains("<script"),
        "{document}"
    );
    assert!(
        document.contains("1 certificate has expired, 4 more require operator action."),
        "{document}"
    );
}

#[test]
fn nothing_is_asked_for_outside() {
    assert_eq!(every_state("requests").requests(), Vec::<String>::new());
    let asks = Browser::with(
        "asks",
        "<!DOCTYPE html><title>x</title><img src=\"http://127.0.0.1:9/x\" alt=\"\">",
    );
    assert_eq!(asks.requests(), ["http://127.0.0.1:9/x"], "the judge hears nothing");
}

/// Reads the bars of valid rows from the picture, from the top.
#[test]
fn bars_are_as_long_as_the_time_that_is_left() {
    let browser = every_state("bars");
    for (scheme, fine) in [Scheme::Light, Scheme::Dark].into_iter().zip(FINE) {
        let picture = browser.picture(scheme);
        let bars = picture.runs(fine, 20);
        // etcd-peer and admin.conf until they are due, then five of a year (the kubelet's is never
        // due here), then three CAs.
        let lengths: Vec<_> = bars.iter().map(|(_, length)| *length as f64).collect();
        assert_eq!(lengths.len(), 10, "{scheme:?}: {bars:?}");
        let ratio = lengths[1] / lengths[0];
        assert!(
            (ratio - 110.0 / 40.0).abs() < 0.1,
            "{scheme:?}: 110 days and 40 until due: {lengths:?}"
        );
        assert!(
            lengths[..3].is_sorted() && lengths[1] < lengths[2],
            "{scheme:?}: {lengths:?}"
        );
        assert!(
            lengths[5] > lengths[4] && lengths[7] > lengths[5],
            "{scheme:?}: kubelet.conf and the CAs: {lengths:?}"
        );
        assert!(
            bars.windows(2).all(|two| two[0].0 == two[1].0),
            "{scheme:?}: all begin now: {bars:?}"
        );
    }
}

#[test]
fn light_and_dark_pages_have_the_colors_of_the_states() {
    let browser = every_state("schemes");
    let [light, dark] = [Scheme::Light, Scheme::Dark].map(|scheme| browser.picture(scheme));
    assert_eq!(
        (light.at(2, 2), dark.at(2, 2)),
        ([0xf4, 0xf6, 0xf8], [0x0e, 0x13, 0x19])
    );
    for (picture, colours) in [
        (
            &light,
            [
                [0xcf, 0x1f, 0x41],
                [0xdd, 0x5a, 0x22],
                [0xd9, 0x8e, 0x15],
                [0x8a, 0x5b, 0xd0],
            ],
        ),
        (
            &dark,
            [
                [0xe0, 0x3f, 0x5d],
                [0xe0, 0x66, 0x2f],
                [0xd9, 0x98, 0x2b],
                [0x95, 0x69, 0xdb],
            ],
        ),
    ] {
        for colour in colours {
            assert!(picture.count(colour) > 20, "{colour:02x?} is not drawn");
        }
    }
}

/// WCAG 2.1, 1.4.3: 4.5 to 1 for text.
#[test]
fn text_has_contrast_in_light_and_in_dark() {
    let style = include_str!("../../src/report/html/page.css");
    let (light, rest) = style
        .split_once("@media (prefers-color-scheme: dark)")
        .expect("two schemes");
    let dark = rest.split_once(".fine {").expect("the end of the colours").0;
    for scheme in [light, dark] {
        for text in [
            "text", "quiet", "fine", "due", "urgent", "expired", "blocked", "missing",
        ] {
            for ground in ["card", "page"] {
                let (text_colour, ground_colour) = (browser::colour(scheme, text), browser::colour(scheme, ground));
                let contrast = browser::contrast(text_colour, ground_colour);
                assert!(contrast >= 4.5, "--{text} on --{ground}: {contrast:.2}");
            }
        }
    }
}
