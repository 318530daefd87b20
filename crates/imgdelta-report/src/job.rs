//! The page of a job: its tasks, failures and savings.
//! Never counts by itself: figures are the document's, also the time at which it was made.

use crate::{
    document::{items, number, word},
    escape::RawHtml,
    page::page,
};
use imgdelta_core::size::Human;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Returns the page of a job, from the document of `imgdelta job status --json`.
///
/// The page is one file. It loads nothing, and its policy forbids every request.
pub fn job_page(document: &Value) -> String {
    let registry = word(&document["registry"]);
    let now = number(&document["now_ms"]);
    let mut body =
        String::from("<main>\n<header>\n<p class=\"kind\">Deltas for the registry</p>\n");
    let _ = writeln!(body, "<h1><span>{}</span></h1>", RawHtml(registry));
    headline(&mut body, document, now);
    body.push_str("</header>\n");
    savings(&mut body, document);
    reasons(&mut body, document);
    let lists: [(&str, &str, &str); 4] = [
        ("failed", "Failed", "`imgdelta job retry --failed` retries these."),
        ("running", "Running now", ""),
        ("waiting", "Next", ""),
        ("done", "Done last", ""),
    ];
    for (field, title, note) in lists {
        tasks(&mut body, document, field, title, note, now);
    }
    body.push_str(
        "<footer>Made by imgdelta. This page loads nothing, and is renewed once a minute.</footer>\n\
         </main>\n",
    );
    page(registry, &body, &json!({}))
}

fn headline(out: &mut String, document: &Value, now: u64) {
    let counts = &document["tasks"];
    let parts = ["waiting", "running", "failed", "done"].map(|state| {
        let count = number(&counts[state]);
        if count == 0 {
            format!("{count} {state}")
        } else {
            format!("<strong>{count}</strong> {state}")
        }
    });
    let _ = write!(out, "<p class=\"lead\">Tasks: {}.", parts.join(", "));
    if let Some(seconds) = document["oldest_waiting_seconds"].as_u64() {
        let _ = write!(out, " The oldest has waited for {}.", Span(seconds));
    }
    out.push_str("</p>\n");
    let paused = &document["paused"];
    if paused.is_object() {
        let since = now.saturating_sub(number(&paused["since_ms"])) / 1000;
        let _ = write!(
            out,
            "<p class=\"lead\"><strong>Paused</strong> by {} for {}",
            RawHtml(word(&paused["who"])),
            Span(since)
        );
        match word(&paused["reason"]) {
            "" => out.push('.'),
            reason => drop(write!(out, ": {}", RawHtml(reason))),
        }
        out.push_str("</p>\n");
    }
}

/// Draws a bar for each day: the bytes that its deltas save each receiver.
fn savings(out: &mut String, document: &Value) {
    let days = items(&document["days"]);
    let saved = |day: &Value| number(&day["saved_bytes"]);
    let most = days.iter().map(saved).max().unwrap_or_default();
    if most == 0 {
        return;
    }
    let sum = days.iter().map(saved).fold(0, u64::saturating_add);
    let deltas = days.iter().map(|day| number(&day["published"])).fold(0, u64::saturating_add);
    let _ = write!(
        out,
        "<section id=\"savings\">\n<h2>Saved for each receiver <small>{} by {deltas} deltas in {} days\
         </small></h2>\n<p class=\"note\">{} on the best day</p>\n<svg class=\"days\" viewBox=\"0 0 {} {HEIGHT}\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Bytes saved on each day\">",
        Human(sum),
        days.len(),
        Human(most),
        days.len() * STEP
    );
    for (at, day) in days.iter().enumerate() {
        let height = u128::from(saved(day)) * HEIGHT as u128 / u128::from(most);
        // A day with savings is visible.
        let height = if saved(day) > 0 { height.max(1) } else { 0 };
        let _ = write!(
            out,
            "<rect class=\"delta\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{height}\"><title>{}: {} by {} \
             deltas</title></rect>",
            at * STEP + 1,
            HEIGHT as u128 - height,
            STEP - 2,
            RawHtml(word(&day["day"])),
            Human(saved(day)),
            number(&day["published"])
        );
    }
    let ends = [days.first(), days.last()].map(|day| day.map_or("", |day| word(&day["day"])));
    let _ = writeln!(
        out,
        "</svg>\n<p class=\"ends note\"><span>{}</span><span>{}</span></p>\n</section>",
        RawHtml(ends[0]),
        RawHtml(ends[1])
    );
}

fn reasons(out: &mut String, document: &Value) {
    let failures = items(&document["failures"]);
    if failures.is_empty() {
        return;
    }
    out.push_str(
        "<section id=\"reasons\">\n<h2>Failed, by reason</h2>\n<table>\n<thead><tr><th>reason</th>\
         <th class=\"num\">tasks</th></tr></thead>\n<tbody>\n",
    );
    for failure in failures {
        let (reason, count) = (word(&failure["reason"]), number(&failure["tasks"]));
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"num\">{count}</td></tr>",
            RawHtml(if reason.is_empty() { "unknown" } else { reason })
        );
    }
    out.push_str("</tbody></table>\n</section>\n");
}

fn tasks(out: &mut String, document: &Value, field: &str, title: &str, note: &str, now: u64) {
    let tasks = items(&document["lists"][field]);
    if tasks.is_empty() {
        return;
    }
    let total = number(&document["tasks"][field]);
    let more = if total > tasks.len() as u64 { format!(" of {total}") } else { String::new() };
    let _ = writeln!(
        out,
        "<section id=\"{field}\">\n<h2>{title} <small>{}{more}</small></h2>",
        tasks.len()
    );
    if !note.is_empty() {
        let note: String = note
            .split('`')
            .enumerate()
            .map(
                |(at, part)| if at % 2 == 1 { format!("<code>{part}</code>") } else { part.into() },
            )
            .collect();
        let _ = writeln!(out, "<p class=\"note\">{note}</p>");
    }
    out.push_str(
        "<table class=\"tasks\">\n<thead><tr><th>delta</th><th class=\"hide\">platform</th><th class=\"hide\">id</th>\
         <th class=\"num hide\">attempts</th><th class=\"num\">for</th><th>result</th></tr></thead>\n<tbody>\n",
    );
    for task in tasks {
        let since = if field == "waiting" { &task["added_ms"] } else { &task["changed_ms"] };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{} <small>{} &rarr; {}</small></th><td class=\"hide\">{}</td>\
             <td class=\"hide\"><code>{}</code></td><td class=\"num hide\">{}</td><td class=\"num\">{}</td>\
             <td class=\"long\">{}</td></tr>",
            RawHtml(word(&task["repository"])),
            RawHtml(word(&task["base_tag"])),
            RawHtml(word(&task["target_tag"])),
            RawHtml(word(&task["platform"])),
            RawHtml(word(&task["id"])),
            number(&task["tries"]),
            Span(now.saturating_sub(number(since)) / 1000),
            result(task)
        );
    }
    out.push_str("</tbody></table>\n</section>\n");
}

/// Returns the result of a task: its bytes, its error, or the worker that has it.
fn result(task: &Value) -> String {
    if let Some(error) = task["error"].as_str() {
        let reason = word(&task["reason"]);
        let colon = if reason.is_empty() { "" } else { ": " };
        return format!("{}{colon}{}", RawHtml(reason), RawHtml(error));
    }
    match (task["delta_bytes"].as_u64(), task["pull_bytes"].as_u64()) {
        (Some(delta), Some(pull)) if pull > 0 => {
            format!("{} instead of {}", Human(delta), Human(pull))
        }
        _ => match task["outcome"].as_str() {
            Some(outcome) => RawHtml(outcome).to_string(),
            None if task["state"] == "waiting" => RawHtml(word(&task["urgency"])).to_string(),
            None => RawHtml(word(&task["worker"])).to_string(),
        },
    }
}

/// Seconds as people say them.
struct Span(u64);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0..100 => write!(f, "{} s", self.0),
            100..6000 => write!(f, "{} min", self.0 / 60),
            6000..172_800 => write!(f, "{} h", self.0 / 3600),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// Height of the picture of the days.
const HEIGHT: usize = 100;
/// Width of a day in it.
const STEP: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_a_bar_and_no_text_becomes_markup() {
        let hostile = "<img src=x onerror=alert(1)>";
        let task = json!({
            "id": hostile, "repository": hostile, "base_tag": hostile, "target_tag": hostile,
            "platform": hostile, "state": "failed", "tries": 5, "reason": hostile, "error": hostile,
            "worker": hostile, "added_ms": 0, "changed_ms": 1000,
        });
        let day = |saved: u64| json!({"day": hostile, "published": 1, "saved_bytes": saved});
        let page = job_page(&json!({
            "registry": hostile, "now_ms": 61_000, "tasks": {"failed": 7},
            "paused": {"who": hostile, "reason": hostile, "since_ms": 1000},
            "failures": [{"reason": hostile, "tasks": 7}],
            "lists": {"failed": [task], "running": [task], "done": [task]},
            "days": [day(0), day(1), day(1_000_000)],
        }));
        assert!(!page.contains("<img"), "{page}");
        assert_eq!(page.matches("<rect class=\"delta\"").count(), 3);
        let heights = ["height=\"0\"", "height=\"1\"", "height=\"100\""];
        assert!(heights.iter().all(|height| page.contains(height)), "{page}");
        assert!(page.contains("<strong>7</strong> failed") && page.contains("1 of 7"), "{page}");
        assert!(page.contains("for 60 s"), "{page}");
        // A document without anything is a page, too.
        assert!(job_page(&json!({})).contains("0 waiting"));
    }
}
